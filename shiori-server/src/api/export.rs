//! The export of everything that is stored about a user, as a stream of lines.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use shiori_sdk::{
    ErrorCode, ExportEnd, ExportHeader, ExportRecord, ExportedDiary, ExportedReflection, UserId,
    backoff::Backoff,
};
use tokio::time::sleep;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{caller::Caller, error::ApiError, openapi::errors};
use crate::{
    app::App,
    slots::{Full, Slot, Slots},
    store::{Account, DiaryPlace, DiaryRecord, Page, ResultPlace, StoreError, StoredResult},
};

/// Maximum exports of one user in progress. A second one is useful after a lost connection, which the
/// server notices late.
const MAX_PER_USER: usize = 2;

/// Maximum exports in progress. Each has one page of diaries in memory.
const MAX_TOTAL: usize = 64;

/// The limits of exports in progress.
pub(crate) fn export_slots() -> Slots<UserId> {
    Slots::new(MAX_TOTAL, MAX_PER_USER)
}

/// `Retry-After` if too many exports are in progress.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Attempts of reading a page while a store is unavailable. The time between them is shorter than the
/// time for which clients wait for bytes.
const PAGE_ATTEMPTS: u32 = 6;

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export))
}

errors!(ExportErrors: ANY | AUTHENTICATED, TooManyExports);

/// Everything that is stored about the user.
///
/// A stream of JSON objects, one on each line: the header, the account, the diaries by date, the
/// reflections by week, and the end with the counts. A response without an end is incomplete. Each
/// diary is one version of it; the export as a whole is not a snapshot. It contains no revisions.
#[utoipa::path(
    get, path = "/api/user/export", tag = "account", security(("access_token" = [])),
    responses(
        (status = 200, description = "The lines of the export. Each is an object of this schema.",
         body = ExportRecord, content_type = "application/x-ndjson",
         headers(
            ("Cache-Control" = String, description = "`no-store`"),
            ("Content-Disposition" = String, description = "The name of a file."),
         ),
         example = json!({"header": {
            "format": "shiori-export", "version": 1, "exported_at": "2026-02-16T21:04:05.678Z",
         }})),
        ExportErrors,
    )
)]
async fn export(State(app): State<App>, caller: Caller) -> Result<Response, ApiError> {
    let slot = app.exports.take(caller.user).map_err(|full| {
        let code = match full {
            Full::Key => ErrorCode::TooManyExports,
            Full::Total => ErrorCode::Unavailable,
        };
        ApiError::new(code).with_retry_after(RETRY_AFTER)
    })?;
    // Read before the stream begins, so that an unavailable store is a 503.
    let account = app.accounts.find(caller.user).await?;
    let account = account.ok_or_else(|| ApiError::invalid_token(ErrorCode::SessionExpired))?;
    let export = Export {
        app,
        caller,
        next: Next::Start(Box::new(account)),
        counted: ExportEnd::default(),
        _slot: slot,
    };
    let lines = stream::try_unfold(export, |mut export| async move {
        let lines = export.next_lines().await.inspect_err(|error| {
            tracing::warn!(%error, "an export was cut off");
        })?;
        Ok::<_, CutOff>(lines.map(|lines| (lines, export)))
    });
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_DISPOSITION, "attachment; filename=\"shiori-export.ndjson\""),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// Why an export ends without its last line. The connection is then closed.
#[derive(Debug, thiserror::Error)]
enum CutOff {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the session has ended")]
    SignedOut,
    #[error("the server is stopping")]
    Stopping,
    #[error("a record could not be serialised")]
    Serialise(#[from] serde_json::Error),
}

/// An export in progress. It has at most one page in memory: the next one is read when the client
/// has received enough of it.
struct Export {
    app: App,
    caller: Caller,
    next: Next,
    counted: ExportEnd,
    _slot: Slot<UserId>,
}

/// What is written next.
enum Next {
    Start(Box<Account>),
    Diaries(DiaryPlace),
    Results(ResultPlace),
    End,
    Nothing,
}

impl Export {
    /// The next lines; `None` after the last one.
    async fn next_lines(&mut self) -> Result<Option<Bytes>, CutOff> {
        let (app, caller, mut lines) = (self.app.clone(), self.caller, Vec::new());
        // A page can be empty if none of its rows can be read.
        while lines.is_empty() {
            match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::Start(account) => {
                    let header = ExportHeader::new(self.app.clock.now());
                    self.write(&mut lines, &ExportRecord::Header(header))?;
                    self.write(&mut lines, &ExportRecord::Account((*account).into()))?;
                    self.next = Next::Diaries(DiaryPlace::first());
                }
                Next::Diaries(after) => {
                    let page = || app.diaries.page(caller.user, after);
                    let Page { items, unreadable, next } = read(&app, caller, page).await?;
                    self.counted.unreadable += unreadable;
                    for diary in items {
                        self.write(&mut lines, &diary.into())?;
                    }
                    let first_result = || Next::Results(ResultPlace::first());
                    self.next = next.map_or_else(first_result, Next::Diaries);
                }
                Next::Results(after) => {
                    let page = || app.summaries.results_page(caller.user, &after);
                    let Page { items, unreadable, next } = read(&app, caller, page).await?;
                    self.counted.unreadable += unreadable;
                    for result in items {
                        self.write(&mut lines, &result.into())?;
                    }
                    self.next = next.map_or(Next::End, Next::Results);
                }
                Next::End => {
                    self.write(&mut lines, &ExportRecord::End(self.counted))?;
                    if self.counted.unreadable > 0 {
                        let unreadable = self.counted.unreadable;
                        tracing::error!(unreadable, "an export lacks rows that cannot be read");
                    }
                }
                Next::Nothing => return Ok(None),
            }
        }
        Ok(Some(lines.into()))
    }

    fn write(&mut self, lines: &mut Vec<u8>, record: &ExportRecord) -> Result<(), CutOff> {
        self.counted.count(record);
        serde_json::to_writer(&mut *lines, record)?;
        lines.push(b'\n');
        Ok(())
    }
}

/// Reads a page, if the session is still active. Repeats it while a store is unavailable.
async fn read<T, F>(app: &App, caller: Caller, page: impl Fn() -> F) -> Result<T, CutOff>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut attempt = 1;
    loop {
        if app.stopping.is_cancelled() {
            return Err(CutOff::Stopping);
        }
        let read = async {
            let session = app.sessions.get(caller.user, caller.session, app.clock.now()).await?;
            if session.is_some() { page().await.map(Some) } else { Ok(None) }
        };
        match read.await {
            Ok(page) => return page.ok_or(CutOff::SignedOut),
            Err(StoreError::Unavailable(_) | StoreError::Overloaded) if attempt < PAGE_ATTEMPTS => {
                sleep(BACKOFF.pause(attempt, rand::random())).await;
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl From<DiaryRecord> for ExportRecord {
    fn from(DiaryRecord { head, content }: DiaryRecord) -> Self {
        Self::Diary(ExportedDiary {
            id: head.id,
            date: head.date,
            title: head.title,
            content,
            version: head.version,
            is_archived: head.is_archived,
            updated_at: head.updated_at,
        })
    }
}

impl From<StoredResult> for ExportRecord {
    fn from(StoredResult { id, week, result }: StoredResult) -> Self {
        Self::Reflection(ExportedReflection {
            summary_id: id,
            start: week.start(),
            end: week.end(),
            reflection: result.reflection,
            engine: result.engine,
            emotion_engine: result.emotion_engine,
            emotions: result.emotions,
            truncated: result.truncated,
            generated_at: result.generated_at,
        })
    }
}
