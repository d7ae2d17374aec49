//! One round: sends the local changes, and reads the changes of other devices.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;

use super::{
    days::every_date,
    event::ReplicaEvent,
    exchange::{Need, Request, Seen},
    handle::Replica,
    send::send,
};
use crate::{
    client::Client,
    transport::error::{Error, ErrorKind, Result},
    types::{Date, DateVersion, Diary, SaveId, Version, limits::MAX_READ_DATES},
};

/// Passes of one round. A pass is repeated while it has more to send or to read, because other devices
/// save at the same time.
const MAX_PASSES: u32 = 16;

/// Requests for one date in one pass: a change, and its merge after a conflict.
const MAX_REQUESTS: u32 = 4;

/// Versions of the server that are not in the store yet.
#[derive(Debug, Default)]
pub(super) struct Listed(BTreeMap<Date, DateVersion>);

impl Listed {
    pub(super) fn add(&mut self, version: DateVersion) {
        self.0.insert(version.date, version);
    }
}

/// What a pass found to do.
#[derive(Debug, Default)]
struct Plan {
    send: Vec<Date>,
    read: Vec<Date>,
    deleted: Vec<(Date, Version)>,
}

impl Replica {
    /// Sends the local changes, reads the changes of other devices, and merges them. One round runs at
    /// a time; further ones wait. Local changes do not wait for it, and those made meanwhile are
    /// sent, too.
    ///
    /// When it returns, only [rejected](crate::DateStatus::Rejected) changes are
    /// [unsent](Self::unsent), and those that were made at the end of the round.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::SignedOut`] if the session has ended, and
    /// [`ErrorKind::ReplicaMismatch`] if another account has signed in: nothing was sent to it;
    /// [`ErrorKind::Conflict`] if other devices change the diaries all the time. Any other kind if a
    /// request or the store fails. What was done remains, and the next round continues.
    pub async fn sync(&self) -> Result<()> {
        let mut listed = self.shared.listed.lock().await;
        let client = self.verified().await?;
        for version in client.diaries().versions(every_date()).await? {
            listed.add(version);
        }
        self.exchange(&client, &mut listed).await
    }

    /// Sends the local changes, and reads the listed versions.
    pub(super) async fn exchange(&self, client: &Client, listed: &mut Listed) -> Result<()> {
        // Dates that failed alone. This round skips them, and they stay to be done.
        let mut failed = BTreeMap::new();
        for _ in 0..MAX_PASSES {
            let Plan { send, read, deleted } = self.plan(listed, &failed).await?;
            if send.is_empty() && read.is_empty() && deleted.is_empty() {
                let Some((_, error)) = failed.pop_first() else {
                    let _ = self.shared.events.send(ReplicaEvent::Synced);
                    return Ok(());
                };
                return Err(error);
            }
            self.learn_deletions(deleted).await?;
            for date in send {
                let sent = self.send_changes(client, date, listed.0.get(&date).copied()).await;
                match sent {
                    Err(error) if concerns_only_the_date(&error) => {
                        failed.insert(date, error);
                    }
                    sent => sent?,
                }
            }
            self.read_dates(client, read, listed, &mut failed).await?;
        }
        let error = failed.pop_first().map(|(_, error)| error);
        Err(error.unwrap_or_else(|| Error::new(ErrorKind::Conflict).with_retryable()))
    }

    /// What to do now. Forgets listed versions that are in the store.
    async fn plan(&self, listed: &mut Listed, failed: &BTreeMap<Date, Error>) -> Result<Plan> {
        listed.0.retain(|_, version| self.days().is_new(*version));
        let mut dates: BTreeMap<_, _> =
            listed.0.iter().map(|(date, version)| (*date, Some(*version))).collect();
        for date in self.days().unsent() {
            dates.entry(date).or_default();
        }
        dates.retain(|date, _| !failed.contains_key(date));
        self.blocking(move |days| {
            let mut plan = Plan::default();
            for (date, listed) in dates {
                match days.record(date)?.next(listed) {
                    Some(Need::Send) => plan.send.push(date),
                    Some(Need::Read) => plan.read.push(date),
                    Some(Need::LearnDeletion(version)) => plan.deleted.push((date, version)),
                    None => {}
                }
            }
            Ok(plan)
        })
        .await
    }

    async fn learn_deletions(&self, deleted: Vec<(Date, Version)>) -> Result<()> {
        self.blocking(move |days| {
            days.step(deleted, |record, version| record.learn(Seen::Deleted(version)))
        })
        .await
    }

    /// Sends the changes of a date, one request after another.
    async fn send_changes(
        &self,
        client: &Client,
        date: Date,
        listed: Option<DateVersion>,
    ) -> Result<()> {
        for _ in 0..MAX_REQUESTS {
            let Some((id, request)) = self.begin(date, listed).await? else { break };
            let answer = send(client, date, request).await?;
            self.blocking(move |days| {
                days.step([(date, answer)], |record, answer| record.settle(id, answer))
            })
            .await?;
        }
        Ok(())
    }

    /// The next request of a date, which is stored before it is sent.
    async fn begin(
        &self,
        date: Date,
        listed: Option<DateVersion>,
    ) -> Result<Option<(SaveId, Request)>> {
        self.blocking(move |days| {
            let mut begun = None;
            days.step([(date, SaveId::new())], |record, id| {
                if record.next(listed) != Some(Need::Send) {
                    return record;
                }
                let Some((record, request)) = record.clone().begin(id) else { return record };
                begun = record.sent_id().map(|id| (id, request));
                record
            })?;
            Ok(begun)
        })
        .await
    }

    async fn read_dates(
        &self,
        client: &Client,
        dates: Vec<Date>,
        listed: &mut Listed,
        failed: &mut BTreeMap<Date, Error>,
    ) -> Result<()> {
        let mut missing: BTreeSet<_> = dates.iter().copied().collect();
        let mut ended = Ok(());
        let mut pages = client.diaries().read_dates(dates).ready_chunks(MAX_READ_DATES);
        while let Some(page) = pages.next().await {
            let mut read: Vec<(Date, Diary)> = Vec::new();
            for diary in page {
                match diary {
                    Ok(diary) => read.push((diary.date, diary)),
                    // Of one diary that the server cannot read; the stream continues.
                    Err(error) if error.kind() == ErrorKind::InvalidResponse => {}
                    Err(error) => ended = Err(error),
                }
            }
            for (date, _) in &read {
                missing.remove(date);
            }
            self.blocking(move |days| {
                days.step(read, |record, diary| record.learn(Seen::Diary(diary)))
            })
            .await?;
        }
        ended?;
        if missing.is_empty() {
            return Ok(());
        }
        // Deleted since they were listed, or unreadable. The new list has the deletions.
        for version in client.diaries().versions(every_date()).await? {
            if missing.contains(&version.date) {
                listed.add(version);
                if !version.is_deleted {
                    failed.insert(version.date, unreadable(version.date));
                }
            }
        }
        Ok(())
    }
}

/// Whether requests for other dates may succeed.
fn concerns_only_the_date(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Rejected | ErrorKind::InvalidRequest | ErrorKind::InvalidResponse
    )
}

fn unreadable(date: Date) -> Error {
    let reason = format!("the server cannot read the diary of {date}");
    Error::new(ErrorKind::InvalidResponse).with_source(reason)
}
