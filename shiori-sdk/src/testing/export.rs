//! The export of a user's data.

use hyper::{
    HeaderMap, StatusCode,
    header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
};

use super::{
    response::{ApiError, ApiResponse},
    state::State,
};
use crate::types::{ExportEnd, ExportHeader, ExportRecord, UserId};

impl State {
    /// Everything that is stored about the user, one record on each line.
    pub(super) fn export(&self, user: UserId) -> Result<ApiResponse, ApiError> {
        let account = self.accounts.info(user)?;
        let records =
            [ExportRecord::Header(ExportHeader::new(self.now)), ExportRecord::Account(account)];
        let records = records
            .into_iter()
            .chain(self.diaries.exported(user).map(ExportRecord::Diary))
            .chain(self.summaries.exported(user).into_iter().map(ExportRecord::Reflection));
        let (mut counted, mut body) = (ExportEnd::default(), Vec::new());
        for record in records {
            counted.count(&record);
            add_line(&mut body, &record);
        }
        add_line(&mut body, &ExportRecord::End(counted));
        let response = ApiResponse { status: StatusCode::OK, headers: HeaderMap::new(), body };
        Ok(response
            .with_header(CONTENT_TYPE, "application/x-ndjson")
            .with_header(CACHE_CONTROL, "no-store")
            .with_header(CONTENT_DISPOSITION, "attachment; filename=\"shiori-export.ndjson\""))
    }
}

fn add_line(body: &mut Vec<u8>, record: &ExportRecord) {
    body.extend(serde_json::to_vec(record).unwrap_or_default());
    body.push(b'\n');
}
