//! Sends a request of a record, and reads the answer from the response.

use super::{
    exchange::{Answer, Request},
    record::Rejection,
};
use crate::{
    client::Client,
    diary::Attempt,
    transport::error::{Error, ErrorKind, Result},
    types::{Date, ErrorCode},
};

/// Sends the request. Without an answer, the error is the reason.
pub(super) async fn send(client: &Client, date: Date, request: Request) -> Result<Answer> {
    let result = match request {
        Request::Save { draft, precondition, save_id } => {
            match client.attempt_save(date, &draft, precondition, save_id, false).await {
                Ok(Attempt::Saved { receipt, .. }) => Ok(Answer::Saved(receipt)),
                Ok(Attempt::Conflict(rejected)) => Ok(Answer::Conflict(rejected.current)),
                Err(error) => Err(error),
            }
        }
        Request::Delete { version } => {
            client.diaries().delete(date, version).await.map(|()| Answer::Deleted)
        }
        Request::Archive { version, archived } => {
            client.diaries().archive(date, version, archived).await.map(Answer::Archived)
        }
    };
    result.or_else(answer_in)
}

/// The answer in an error; without one, the error.
fn answer_in(error: Error) -> Result<Answer> {
    if let Some(conflict) = error.as_conflict() {
        return Ok(Answer::Conflict(conflict.current.clone()));
    }
    match (error.kind(), error.status_code(), error.code()) {
        (ErrorKind::NotFound, _, Some(_)) => Ok(Answer::Conflict(None)),
        (ErrorKind::Rejected | ErrorKind::QuotaExceeded, Some(400..=499), Some(code)) => {
            Ok(Answer::Rejected(Rejection { code: code.clone() }))
        }
        // From a proxy whose limit is lower than that of the server.
        (_, Some(413), None) => Ok(Answer::Rejected(Rejection { code: ErrorCode::BodyTooLarge })),
        _ => Err(error),
    }
}
