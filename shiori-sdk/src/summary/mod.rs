//! Weekly summaries: request, wait, watch, cancel; and their reflections.

mod handle;
mod pacing;
mod watch;

use reqwest::StatusCode;

use crate::{
    client::Client,
    transport::{
        error::{Error, ErrorKind, Result},
        request::Request,
    },
    types::{Date, MissingDates, Reflection, SummaryId, SummaryReceipt, SummaryRequest, Week},
};
pub use handle::SummaryHandle;
pub use watch::{SummaryStep, SummaryWatch};

impl Client {
    /// Weekly summaries.
    pub fn summaries(&self) -> Summaries {
        Summaries { client: self.clone() }
    }

    /// The reflections of completed summaries.
    pub fn reflections(&self) -> Reflections {
        Reflections { client: self.clone() }
    }
}

/// Weekly summaries. Created by [`Client::summaries`].
#[derive(Debug, Clone)]
pub struct Summaries {
    client: Client,
}

impl Summaries {
    /// Requests a week's summary. Returns without waiting for the summary; use the handle for that.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::RateLimited`] if the user has too many unfinished summaries;
    /// any other kind if the request fails.
    pub async fn request(&self, week: Week) -> Result<Requested> {
        self.request_with(week, false).await
    }

    /// As [`request`](Self::request). With `force`, requests a new summary even if no diary has
    /// changed since the last one.
    ///
    /// # Errors
    ///
    /// As [`Summaries::request`].
    pub async fn request_with(&self, week: Week, force: bool) -> Result<Requested> {
        let body = SummaryRequest { start: week.start(), end: week.end(), force };
        let mut request = Request::post("/api/diary/summary").json(&body)?;
        // The server returns an existing summary of the same week, unless a new one is forced.
        if !force {
            request = request.idempotent();
        }
        let response = match self.client.send(&request).await {
            Ok(response) => response,
            Err(failed) => {
                return match failed.data::<MissingDates>() {
                    Some(MissingDates { missing_dates })
                        if failed.error.kind() == ErrorKind::WeekIncomplete =>
                    {
                        Ok(Requested::Incomplete { missing: missing_dates })
                    }
                    _ => Err(failed.into()),
                };
            }
        };
        let receipt: SummaryReceipt = response.data()?;
        let handle = self.handle(receipt.id);
        Ok(if response.status == StatusCode::ACCEPTED {
            Requested::Accepted(handle)
        } else {
            Requested::AlreadyDone(handle)
        })
    }

    /// The handle of a summary that was requested before, possibly by another process. Sends
    /// nothing.
    pub fn handle(&self, id: SummaryId) -> SummaryHandle {
        SummaryHandle::new(self.client.clone(), id)
    }
}

/// The result of a summary request.
#[derive(Debug, Clone)]
pub enum Requested {
    /// The summary is queued or running.
    Accepted(SummaryHandle),
    /// The summary is completed, and no diary has changed since.
    AlreadyDone(SummaryHandle),
    /// Some days of the week have no diary.
    Incomplete {
        /// Those days.
        missing: Vec<Date>,
    },
}

impl Requested {
    /// The summary's handle, whether it is completed or not.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::WeekIncomplete`] if days have no diary.
    pub fn into_handle(self) -> Result<SummaryHandle> {
        match self {
            Self::Accepted(handle) | Self::AlreadyDone(handle) => Ok(handle),
            Self::Incomplete { missing } => Err(Error::week_incomplete(missing)),
        }
    }
}

/// The reflections of completed summaries. Created by [`Client::reflections`].
#[derive(Debug, Clone)]
pub struct Reflections {
    client: Client,
}

impl Reflections {
    /// The newest reflection on a week; `None` if no summary of the week is completed. Its `stale`
    /// field is true if a diary was changed afterwards.
    ///
    /// # Errors
    ///
    /// [`Error`] if the request fails or the client is not signed in.
    pub async fn get(&self, week: Week) -> Result<Option<Reflection>> {
        let request = Request::get("/api/diary/reflections")
            .query("start", &week.start())
            .query("end", &week.end());
        self.client.send(&request).await?.optional_data()
    }
}
