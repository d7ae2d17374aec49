//! The versions of many dates.

use std::collections::BTreeMap;

use reqwest::{
    StatusCode,
    header::{ETAG, HeaderValue, IF_NONE_MATCH},
};

use super::Diaries;
use crate::{
    client::Client,
    transport::{error::Result, request::Request},
    types::{Date, DateRange, DateVersion, VersionPage},
};

impl Diaries {
    /// The current versions of the dates of a range that have or had a diary, by date. The range may
    /// have any length; the SDK sends one request for every 4,096 of these dates.
    ///
    /// A program that keeps copies compares these versions with its own: a version that differs is
    /// a change, also if the diary was deleted. [`watch`](Self::watch) does that by itself.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if a request fails or the client is not signed in.
    pub async fn versions(&self, range: DateRange) -> Result<Vec<DateVersion>> {
        Versions::new(range).changed(&self.client).await
    }
}

/// The versions of a range, of which only changed pages are transferred.
#[derive(Debug)]
pub(super) struct Versions {
    range: DateRange,
    /// The pages by the date with which they start.
    pages: BTreeMap<Date, Page>,
}

/// What is known of a page.
#[derive(Debug)]
struct Page {
    etag: HeaderValue,
    next: Option<Date>,
}

impl Versions {
    pub(super) fn new(range: DateRange) -> Self {
        Self { range, pages: BTreeMap::new() }
    }

    /// The versions of the pages that have changed since the last call that succeeded.
    pub(super) async fn changed(&mut self, client: &Client) -> Result<Vec<DateVersion>> {
        let mut versions = Vec::new();
        let mut pages = BTreeMap::new();
        let mut next = Some(self.range.start());
        while let Some(start) = next {
            let mut request = Request::get("/api/diary/versions")
                .query("start", &start)
                .query("end", &self.range.end());
            let known = self.pages.get(&start);
            if let Some(page) = known {
                request = request.header(IF_NONE_MATCH, page.etag.clone());
            }
            let response = client.send(&request).await?;
            let etag = response.headers.get(ETAG).cloned();
            next = match known {
                Some(page) if response.status == StatusCode::NOT_MODIFIED => page.next,
                _ => {
                    let page: VersionPage = response.data()?;
                    versions.extend(page.versions);
                    page.next
                }
            };
            if let Some(etag) = etag {
                pages.insert(start, Page { etag, next });
            }
            // A page always continues behind its start.
            next = next.filter(|next| *next > start && *next <= self.range.end());
        }
        // Only now, because an error discards the versions that were received.
        self.pages = pages;
        Ok(versions)
    }
}
