//! Reads many diaries.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, stream};
use tokio::task::JoinHandle;

use super::Diaries;
use crate::{
    client::Client,
    transport::{
        error::{Error, ErrorKind, Result, WasSent},
        request::Request,
    },
    types::{Date, DateRange, Diary, ReadDiaries, ReadRequest, limits::MAX_READ_DATES},
};

/// Requests in progress. A response has at most 2 MiB.
const IN_FLIGHT: usize = 3;

impl Diaries {
    /// Reads the diaries of a range with their contents, as a stream by date. The range may have any
    /// length; dates without a diary cost nothing.
    ///
    /// It first lists the [`versions`](Self::versions) of the range, and then reads up to 100 diaries
    /// with each request. At most three responses are requested or held at a time; further ones are
    /// requested when the stream is polled. Nothing is sent until then.
    ///
    /// The stream is not a snapshot: a diary that is saved meanwhile is read before or after that save,
    /// and one that is deleted meanwhile may be absent. Compare the version of each diary.
    ///
    /// # Errors
    ///
    /// The stream ends after an item with an [`Error`]. A diary that the server cannot read is an
    /// item with an error of kind [`ErrorKind::InvalidResponse`], after which the stream continues.
    ///
    /// ```no_run
    /// use futures_util::StreamExt;
    /// use shiori_sdk::{Date, DateRange};
    ///
    /// # async fn example(client: shiori_sdk::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let years = DateRange::new(Date::new(2016, 1, 1)?, Date::new(2026, 12, 31)?)?;
    /// let mut diaries = client.diaries().read(years);
    /// while let Some(diary) = diaries.next().await {
    ///     let diary = diary?;
    ///     println!("{}: {}", diary.date, diary.title);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(&self, range: DateRange) -> DiaryRead {
        DiaryRead::new(&self.client, Dates::Range(range))
    }

    /// Reads the diaries of these dates, as [`read`](Self::read) does. They are read in the order of
    /// the dates, without duplicates. Dates without a diary are skipped.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_dates(&self, dates: impl IntoIterator<Item = Date>) -> DiaryRead {
        let mut dates: Vec<_> = dates.into_iter().collect();
        dates.sort_unstable();
        dates.dedup();
        DiaryRead::new(&self.client, Dates::Known(dates.into()))
    }
}

/// Diaries as they are read, as a [`Stream`]. Created by [`Diaries::read`].
#[must_use = "a stream does nothing until it is polled"]
pub struct DiaryRead(Pin<Box<dyn Stream<Item = Result<Diary>> + Send>>);

impl DiaryRead {
    fn new(client: &Client, dates: Dates) -> Self {
        let reader = Reader {
            client: client.clone(),
            dates,
            rest: Vec::new(),
            pages: VecDeque::new(),
            ready: VecDeque::new(),
        };
        Self(Box::pin(stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(item) => Some((item?, Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

impl Stream for DiaryRead {
    type Item = Result<Diary>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for DiaryRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiaryRead")
    }
}

struct Reader {
    client: Client,
    /// The dates that are not requested yet.
    dates: Dates,
    /// Those that the last response left out. They are before those of all requests.
    rest: Vec<Date>,
    /// Requests, in the order of their dates.
    pages: VecDeque<Page>,
    /// Diaries to yield.
    ready: VecDeque<Result<Diary>>,
}

enum Dates {
    /// Those of this range that have a diary. They are not listed yet.
    Range(DateRange),
    /// These, in order.
    Known(VecDeque<Date>),
}

impl Reader {
    /// The next diary; `None` after the last one. An outer error ends the stream.
    async fn next(&mut self) -> Result<Option<Result<Diary>>> {
        loop {
            if let Some(diary) = self.ready.pop_front() {
                return Ok(Some(diary));
            }
            if !self.rest.is_empty() {
                let rest = std::mem::take(&mut self.rest);
                self.pages.push_front(Page::request(&self.client, rest));
            }
            self.request_pages().await?;
            let Some(page) = self.pages.front_mut() else { return Ok(None) };
            let read = page.read().await;
            self.pages.pop_front();
            let read = read?;
            self.rest = read.rest;
            let mut items: Vec<_> =
                read.diaries.into_iter().map(|diary| (diary.date, Ok(diary))).collect();
            items.extend(read.unreadable.into_iter().map(|date| (date, Err(unreadable(date)))));
            items.sort_by_key(|(date, _)| *date);
            self.ready = items.into_iter().map(|(_, item)| item).collect();
        }
    }

    /// Requests as many pages as may be in progress.
    async fn request_pages(&mut self) -> Result<()> {
        if let Dates::Range(range) = self.dates {
            let versions = Diaries { client: self.client.clone() }.versions(range).await?;
            let live = versions.iter().filter(|version| !version.is_deleted);
            self.dates = Dates::Known(live.map(|version| version.date).collect());
        }
        let Dates::Known(dates) = &mut self.dates else { return Ok(()) };
        while self.pages.len() < IN_FLIGHT && !dates.is_empty() {
            let count = dates.len().min(MAX_READ_DATES);
            self.pages.push_back(Page::request(&self.client, dates.drain(..count).collect()));
        }
        Ok(())
    }
}

/// A request in its own task, so that its timeout does not pass while the stream is not polled.
struct Page(JoinHandle<Result<ReadDiaries>>);

impl Page {
    fn request(client: &Client, dates: Vec<Date>) -> Self {
        let client = client.clone();
        Self(tokio::spawn(async move {
            let requested = dates.len();
            // A read, so it is idempotent.
            let request =
                Request::post("/api/diary/read").idempotent().json(&ReadRequest { dates })?;
            let read: ReadDiaries = client.send(&request).await?.data()?;
            // Otherwise the stream might never end.
            if read.rest.len() >= requested {
                return Err(invalid("the response contains nothing of the request"));
            }
            Ok(read)
        }))
    }

    async fn read(&mut self) -> Result<ReadDiaries> {
        let ended = (&mut self.0).await;
        // Only if the runtime is shutting down.
        ended.unwrap_or_else(|error| Err(Error::new(ErrorKind::Disconnected).with_source(error)))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn unreadable(date: Date) -> Error {
    invalid(format!("the server cannot read the diary of {date}"))
}

fn invalid(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidResponse).with_sent(WasSent::Yes).with_source(source)
}
