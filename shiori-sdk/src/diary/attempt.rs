//! One save on the wire.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use super::{Precondition, conflicting, path};
use crate::{
    Client, ConflictBody, Date, Diary, Draft, Error, REMEMBERED_SAVES, Result, SaveId, SaveReceipt,
    SaveRequest, Title, Version,
    transport::{Call, Replay},
};

/// What one save became.
pub(super) enum Attempt {
    Stored(Stored),
    Lost(Lost),
}

pub(super) struct Stored {
    pub(super) receipt: SaveReceipt,
    pub(super) created: bool,
}

/// A save that met a conflict.
pub(super) struct Lost {
    pub(super) expected: Option<Version>,
    pub(super) current: Option<Diary>,
    /// How long the answer took, repeated requests included.
    pub(super) round_trip: Duration,
    /// Whether it is certain that no request of this save was applied.
    pub(super) is_settled: bool,
    pub(super) refusal: Error,
}

impl Lost {
    fn new(
        expected: Option<Version>,
        current: Option<Diary>,
        repeated: bool,
        round_trip: Duration,
        refusal: Error,
    ) -> Self {
        let behind = behind(expected, current.as_ref());
        // The server recognises a repeated save until as many others came after it.
        let is_settled = !repeated || (current.is_some() && behind <= REMEMBERED_SAVES as u64);
        Self { expected, current, round_trip, is_settled, refusal }
    }

    /// By how many versions the save was late.
    pub(super) fn behind(&self) -> u64 {
        behind(self.expected, self.current.as_ref())
    }
}

fn behind(expected: Option<Version>, current: Option<&Diary>) -> u64 {
    let expected = expected.map_or(0, Version::get);
    current.map_or(1, |diary| diary.version.get().saturating_sub(expected))
}

impl Client {
    /// Sends one save, under one id over all its repeated requests.
    pub(super) async fn attempt(
        &self,
        date: Date,
        draft: &Draft,
        precondition: Precondition,
        save_id: SaveId,
    ) -> Result<Attempt> {
        let expected = precondition.version();
        let body = SaveRequest {
            title: Title(draft.title.clone()),
            content: draft.content.clone(),
            version: expected,
            save_id: Some(save_id),
        };
        let call = Call::new(Method::POST, path(date), Replay::Safe).json(&body);
        let sent = Instant::now();
        match self.send(&call).await {
            Ok(answer) => Ok(Attempt::Stored(Stored {
                receipt: answer.data()?,
                created: answer.status == StatusCode::CREATED,
            })),
            Err(refusal) => match conflicting(&refusal) {
                Some(ConflictBody { current }) => Ok(Attempt::Lost(Lost::new(
                    expected,
                    current,
                    refusal.repeated,
                    sent.elapsed(),
                    refusal.error,
                ))),
                None => Err(refusal.into()),
            },
        }
    }
}
