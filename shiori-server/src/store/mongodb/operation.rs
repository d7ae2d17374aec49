//! The timeout, retries and errors of an operation.

use std::{future::Future, time::Duration};

use mongodb::error::{Error, ErrorKind, RETRYABLE_ERROR, RETRYABLE_WRITE_ERROR, WriteFailure};
use shiori_sdk::backoff::Backoff;
use tokio::time::{sleep, timeout};

use super::document::corrupt;
use crate::store::{StoreError, engine::FailureCounts};

/// The timeout of an operation, including the driver's own retry.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Attempts of an operation whose error is retryable.
const MAX_ATTEMPTS: u32 = 3;

/// The pauses between attempts. Contention on one document ends within milliseconds.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(200));

/// Runs operations, and counts those that fail. Clones share the counts.
#[derive(Clone, Default)]
pub(super) struct Operations {
    failures: FailureCounts,
}

impl Operations {
    pub(super) fn failures(&self) -> &FailureCounts {
        &self.failures
    }

    /// Runs an operation with a timeout.
    pub(super) async fn run<T, F>(&self, operation: impl FnOnce() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let outcome = timeout(OPERATION_TIMEOUT, operation()).await;
        self.failures.counted(match outcome {
            Ok(result) => result.map_err(StoreError::from),
            Err(_) => Err(timed_out()),
        })
    }

    /// Runs an idempotent operation, and repeats it if the error is retryable.
    pub(super) async fn run_with_retry<T, F>(
        &self,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut attempt = 1;
        let outcome = loop {
            match timeout(OPERATION_TIMEOUT, operation()).await {
                Ok(Err(error)) if attempt < MAX_ATTEMPTS && is_retryable(&error) => {
                    back_off(attempt).await;
                    attempt += 1;
                }
                Ok(result) => break result.map_err(StoreError::from),
                Err(_) => break Err(timed_out()),
            }
        };
        self.failures.counted(outcome)
    }

    /// Every attempt of a compare-and-swap failed because of concurrent writes.
    pub(super) fn contended<T>(&self) -> Result<T, StoreError> {
        let error = StoreError::Unavailable("too many concurrent writes".into());
        self.failures.counted(Err(error))
    }
}

/// Waits before the attempt after this one, counted from 1.
pub(super) async fn back_off(attempt: u32) {
    sleep(BACKOFF.pause(attempt, rand::random())).await;
}

fn is_retryable(error: &Error) -> bool {
    /// The engine aborted one of two concurrent writes.
    const WRITE_CONFLICT: i32 = 112;
    let conflicted =
        matches!(&*error.kind, ErrorKind::Command(command) if command.code == WRITE_CONFLICT);
    conflicted
        || error.contains_label(RETRYABLE_WRITE_ERROR)
        || error.contains_label(RETRYABLE_ERROR)
}

pub(super) fn is_duplicate(error: &Error) -> bool {
    const DUPLICATE_KEY: i32 = 11_000;
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == DUPLICATE_KEY)
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        // The driver's messages may quote stored values.
        let kind = match &*error.kind {
            ErrorKind::BsonDeserialization(_) | ErrorKind::Bson(_) => return corrupt(),
            ErrorKind::Command(command) => {
                format!("the command failed with {} ({})", command.code_name, command.code)
            }
            ErrorKind::Write(WriteFailure::WriteError(write)) => {
                format!("the write failed with code {}", write.code)
            }
            ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
                format!("the write was not acknowledged: {} ({})", concern.code_name, concern.code)
            }
            ErrorKind::Io(io) => format!("the connection failed: {}", io.kind()),
            ErrorKind::ServerSelection { .. } => "no primary found".to_owned(),
            ErrorKind::Authentication { .. } => "authentication failed".to_owned(),
            ErrorKind::InvalidArgument { .. } => "invalid URL or argument".to_owned(),
            ErrorKind::DnsResolve { .. } => "could not resolve the host name".to_owned(),
            _ => "the driver failed".to_owned(),
        };
        Self::Unavailable(kind.into())
    }
}

pub(super) fn timed_out() -> StoreError {
    StoreError::Unavailable("timed out".into())
}
