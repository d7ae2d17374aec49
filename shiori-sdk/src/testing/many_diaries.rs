//! The versions of many dates, and the diaries of chosen ones.

use hyper::{StatusCode, header::ETAG};

use super::{
    request::{ApiRequest, parse_date},
    response::{ApiError, ApiResponse},
    route::Route,
    state::State,
};
use crate::types::{
    Date, ReadDiaries, ReadRequest, UserId, VersionPage,
    limits::{MAX_READ_BYTES, MAX_READ_DATES, MAX_VERSIONS},
};

impl State {
    pub(super) fn many_diaries(&mut self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let user = self.user(request)?;
        match request.route {
            Route::Versions => self.versions(user, request),
            Route::ReadMany => self.read_many(user, request),
            // Streams have no complete response.
            _ => Err(ApiError::not_found()),
        }
    }

    fn versions(&self, user: UserId, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let range = request.any_range()?;
        let versions = self.diaries.date_versions(user);
        let in_range = versions.filter(|version| range.contains(version.date));
        let mut versions: Vec<_> = in_range.take(MAX_VERSIONS as usize + 1).collect();
        let next = versions.get(MAX_VERSIONS as usize).map(|first| first.date);
        versions.truncate(MAX_VERSIONS as usize);
        let page = VersionPage { versions, next };
        let etag = etag(&page);
        let response = if request.knows(Some(&etag)) {
            ApiResponse::empty(StatusCode::NOT_MODIFIED)
        } else {
            ApiResponse::ok(&page)
        };
        Ok(response.with_header(ETAG, &etag))
    }

    fn read_many(&self, user: UserId, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let body: ReadRequest<String> = request.body()?;
        if !(1..=MAX_READ_DATES).contains(&body.dates.len()) {
            return Err(ApiError::invalid_field("dates", "1 to 100 dates"));
        }
        let dates: Result<Vec<Date>, _> = body.dates.iter().map(|text| parse_date(text)).collect();
        let mut dates = dates?;
        dates.sort_unstable();
        if dates.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ApiError::invalid_field("dates", "distinct"));
        }
        let mut read =
            ReadDiaries { diaries: Vec::new(), unreadable: Vec::new(), rest: Vec::new() };
        let mut bytes = 0;
        for date in dates {
            if bytes >= MAX_READ_BYTES {
                read.rest.push(date);
            } else if let Some(diary) = self.diaries.view(user, date, &self.summaries) {
                bytes += diary.content.as_json().len();
                read.diaries.push(diary);
            }
        }
        Ok(ApiResponse::ok(&read))
    }
}

/// An entity tag that changes with each version.
fn etag(page: &VersionPage) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};

    let mut hasher = DefaultHasher::new();
    (&page.versions, page.next).hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
