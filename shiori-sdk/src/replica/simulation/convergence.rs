//! The end of a history, when nothing fails any more.

use super::{
    super::{
        exchange::Seen,
        record::{DateStatus, LocalChange},
    },
    history::{History, Result, SYLLABLES},
};
use crate::types::Document;

/// Rounds until nothing is pending. In each round, each device sends or reads once if it needs to.
const QUIET_ROUNDS: usize = 40;

impl History<'_> {
    /// Everyone is online, nothing is lost, until nothing is pending.
    pub(super) fn quiet(&mut self) -> Result {
        for device in &mut self.devices {
            device.is_online = true;
        }
        self.server.max_bytes =
            if self.late.is_empty() { self.server.max_bytes } else { usize::MAX };
        for _ in 0..QUIET_ROUNDS {
            let mut is_busy = false;
            for device in 0..self.devices.len() {
                is_busy |= self.exchange(device)?;
                let stored = &self.devices[device].stored;
                if stored.record.status() == DateStatus::Rejected {
                    // The user saves again, under a larger limit.
                    let draft = stored.draft().ok_or("a rejected text is lost")?;
                    self.server.max_bytes = usize::MAX;
                    self.keep(device, |record, _| record.write(LocalChange::Save(draft)));
                    is_busy = true;
                }
            }
            if !is_busy {
                return Ok(());
            }
        }
        Err("it does not come to rest".to_owned())
    }

    /// All devices and the server have the same, with every word.
    pub(super) fn compare(&mut self) -> Result {
        let current = self.server.diary();
        for (device, name) in self.devices.iter().zip(SYLLABLES) {
            let mut stored = device.stored.clone();
            if let Some(diary) = &current
                && stored.record.view().is_some_and(|view| view.content.is_none())
            {
                stored.record = stored.record.learn(Seen::Diary(diary.clone()));
            }
            let status = stored.record.status();
            if !matches!(status, DateStatus::Synced | DateStatus::Conflicted) {
                return Err(format!("{name} is {status:?}"));
            }
            let view = stored.record.view();
            let is_same = match (&view, &current) {
                (None, None) => true,
                (Some(view), Some(diary)) => {
                    let content = view.content.map(Document::as_json);
                    let server = view.server.map(|server| server.version);
                    view.title == diary.title
                        && content == Some(diary.content.as_json())
                        && view.is_archived == diary.is_archived
                        && server == Some(diary.version)
                }
                _ => false,
            };
            if !is_same {
                return Err(format!("{name} differs from the server"));
            }
        }
        // If only one device set the flag, it is as it set it last.
        if let Some(&(device, Some(flag))) = self.flags.last()
            && self.flags.iter().all(|(by, flag)| *by == device && flag.is_some())
            && current.as_ref().is_some_and(|diary| diary.is_archived != flag)
        {
            return Err(format!("the flag {flag} of {} is lost", SYLLABLES[device]));
        }
        let counts = match &current {
            Some(diary) => self.ledger.counts(&diary.to_draft()),
            None => <_>::default(),
        };
        let mut known = self.server.known.clone();
        for device in &self.devices {
            known.join(&device.stored.known);
        }
        self.ledger.check(&mut known, &counts, false)?;
        self.ledger.check_rewritten(&known, &counts)
    }
}
