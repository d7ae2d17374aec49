//! Clients that request summaries and wait for them.

use std::{future::ready, time::Duration};

use shiori_sdk::{Revision, SummaryId, UserId, Week};
use tokio::time::sleep;

use super::{
    network::{Network, Server},
    schedule::{index, millis, note, one_in},
};
use crate::summary::{Known, Requested, SummaryError};

/// How long a request waits for a change.
const WAIT: Duration = Duration::from_secs(5);

/// The pause before a request is repeated, at most, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// A client. It may request summaries of the same weeks as others.
#[derive(Debug)]
pub(super) struct Requester {
    pub(super) network: Network,
    pub(super) user: UserId,
    pub(super) nth: usize,
    pub(super) weeks: Vec<Week>,
}

impl Requester {
    /// Requests this many summaries, one after the other.
    pub(super) async fn request(self, summaries: usize) {
        for _ in 0..summaries {
            sleep(millis(800)).await;
            let week = self.weeks[index(self.weeks.len())];
            if let Some(id) = self.accepted(week, one_in(3)).await {
                self.wait(id, one_in(6)).await;
            }
        }
    }

    /// Requests a summary until a server has accepted it.
    async fn accepted(&self, week: Week, force: bool) -> Option<SummaryId> {
        let user = self.user;
        let request = move |server: Server| async move {
            let state = server.summaries.week(user, week, force).await?;
            server.summaries.request(state, None).await
        };
        loop {
            match self.network.call("request", request).await {
                Some(Ok(Requested::Accepted(id, _) | Requested::AlreadyDone(id))) => {
                    self.network.ledger.accepted(id);
                    note(|| {
                        let number = self.network.ledger.number(id);
                        format!("client {}: summary {number} is accepted", self.nth)
                    });
                    return Some(id);
                }
                None | Some(Err(SummaryError::Store(_))) => sleep(millis(RETRY_MS)).await,
                Some(Err(_)) => return None,
            }
        }
    }

    /// Waits until a summary has a final status. May cancel it before.
    async fn wait(&self, id: SummaryId, cancels: bool) {
        let (user, ledger) = (self.user, &self.network.ledger);
        if cancels {
            sleep(millis(2_000)).await;
            let cancel =
                move |server: Server| async move { server.summaries.cancel(user, id).await };
            let cancelled = self.network.call("cancel", cancel).await;
            if matches!(cancelled, Some(Ok(()))) {
                let is_final = ledger.is_final(id);
                ledger.check(is_final, || "a cancelled summary is not final".to_owned());
            }
        }
        let mut revision = Revision::new(0);
        loop {
            let known = Known { revision, text_number: one_in(2).then_some(0) };
            let wait = move |server: Server| async move {
                let is_signed_in = || ready(true);
                server.summaries.wait(user, id, known, WAIT, is_signed_in).await
            };
            match self.network.call("wait", wait).await {
                Some(Ok(seen)) => {
                    let summary = seen.summary;
                    ledger.shown(id, summary.status, summary.revision);
                    ledger.check(summary.revision >= revision, || {
                        format!("revision {} was shown after {revision}", summary.revision)
                    });
                    revision = summary.revision;
                    if summary.status.is_final() {
                        return;
                    }
                }
                // Old finished summaries of a week are deleted.
                Some(Err(SummaryError::NotFound)) => {
                    let is_final = ledger.is_final(id);
                    return ledger.check(is_final, || "an unfinished summary is gone".to_owned());
                }
                _ => sleep(millis(RETRY_MS)).await,
            }
        }
    }
}
