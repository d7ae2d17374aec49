//! Clients that write diaries at the same time, and one that follows the hints of changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shiori_sdk::{ChangeHint, Date, DateRange, Document, SaveId, SessionId, UserId, Version};
use shiori_worker::Clock;
use tokio::time::sleep;

use super::{
    ledger::Word,
    network::{Network, Server},
    schedule::{below, index, millis, note},
};
use crate::store::{
    DeleteOutcome, DiaryQuota, DiaryRecord, DiaryStore, HistoryPolicy, NewVersion, SaveOutcome,
    StoreError,
};

/// The pause before a request is repeated, at most, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// The words of a diary; none without one.
pub(super) fn words(diary: Option<&DiaryRecord>) -> Vec<Word> {
    let texts = diary.map(|diary| diary.content.block_texts()).unwrap_or_default();
    texts.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

/// A client. It adds words to texts, each of them once.
#[derive(Debug)]
pub(super) struct Diarist {
    pub(super) network: Network,
    pub(super) user: UserId,
    pub(super) nth: usize,
    pub(super) dates: Vec<Date>,
    /// Whether it also deletes and archives.
    pub(super) deletes: bool,
}

impl Diarist {
    /// Makes this many changes.
    pub(super) async fn write(self, changes: usize) {
        let session = SessionId::new();
        for number in 1..=changes {
            sleep(millis(800)).await;
            let date = self.dates[index(self.dates.len())];
            let current = self.read(date).await;
            match (below(8), &current) {
                (0, Some(diary)) if self.deletes => self.delete(date, diary).await,
                (1, Some(diary)) if self.deletes => self.archive(date, diary.head.version).await,
                _ => self.add(date, current, format!("{}.{number}", self.nth), session).await,
            }
        }
    }

    /// Repeats a request until it is answered.
    async fn repeat<T, F>(&self, name: &'static str, request: impl Fn(Server) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        loop {
            if let Some(Ok(answer)) = self.network.call(name, &request).await {
                return answer;
            }
            sleep(millis(RETRY_MS)).await;
        }
    }

    async fn read(&self, date: Date) -> Option<DiaryRecord> {
        let user = self.user;
        let read = move |server: Server| async move { server.store.get(user, date).await };
        self.repeat("read", read).await
    }

    /// Adds a word to the text of a date. After a conflict, adds it to the current text.
    async fn add(
        &self,
        date: Date,
        mut current: Option<DiaryRecord>,
        word: Word,
        session: SessionId,
    ) {
        loop {
            let (id, expected) = (SaveId::new(), current.map(|diary| (words(Some(&diary)), diary)));
            let (mut text, version) = match expected {
                Some((words, diary)) => (words, Some(diary.head.version)),
                None => (Vec::new(), None),
            };
            text.push(word.clone());
            let save = Arc::new((Document::from_text(&text.join(" ")), self.user));
            let request = |server: Server| {
                let save = save.clone();
                async move {
                    let save = NewVersion {
                        user: save.1,
                        date,
                        title: String::new(),
                        content: save.0.clone(),
                        expected: version,
                        save_id: Some(id),
                        quota: DiaryQuota::default(),
                        session,
                        history: HistoryPolicy::default(),
                        keep_replaced: false,
                        now: server.clock.now(),
                    };
                    server.diaries().save(&save).await
                }
            };
            note(|| format!("client {}: adds {word} to {version:?} of {date}", self.nth));
            match self.repeat("save", request).await {
                SaveOutcome::Saved(saved) | SaveOutcome::Replayed(saved) => {
                    note(|| format!("client {}: {word} is in {}", self.nth, saved.version));
                    let ledger = &self.network.ledger;
                    return ledger.acknowledged(date, version, (id, &word), saved);
                }
                SaveOutcome::Conflict(diary) => current = diary,
                SaveOutcome::QuotaExceeded(_) => return,
            }
        }
    }

    /// Deletes this diary. The ledger permits that its words are lost.
    async fn delete(&self, date: Date, diary: &DiaryRecord) {
        let (user, version) = (self.user, diary.head.version);
        self.network.ledger.deletes(date, &words(Some(diary)));
        let delete = move |server: Server| async move {
            let now = server.clock.now();
            server.diaries().delete(user, date, version, HistoryPolicy::default(), now).await
        };
        let is_deleted = self.repeat("delete", delete).await == DeleteOutcome::Deleted;
        note(|| format!("client {}: deletes {version} of {date}: {is_deleted}", self.nth));
    }

    async fn archive(&self, date: Date, version: Version) {
        let user = self.user;
        let archive = move |server: Server| async move {
            let now = server.clock.now();
            server.diaries().archive(user, date, version, true, now).await
        };
        self.repeat("archive", archive).await;
    }
}

/// A client that follows the hints of one server, and what it knows.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    pub(super) network: Network,
    pub(super) user: UserId,
    pub(super) range: DateRange,
    pub(super) known: Arc<Mutex<BTreeMap<Date, Version>>>,
}

impl Follower {
    /// Follows the hints for ever.
    pub(super) async fn follow(self) {
        loop {
            let Server { changes, process, .. } = self.network.server(0);
            let mut stream = changes.subscribe(self.user);
            while !process.is_cancelled() {
                let hint = tokio::select! {
                    biased;
                    () = process.cancelled() => break,
                    hint = stream.next() => hint,
                };
                note(|| format!("follower: {}", hint.kind()));
                match hint {
                    ChangeHint::Diary(hint) => self.learn(hint.date, hint.version),
                    ChangeHint::Resync => self.compare().await,
                    _ => {}
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Reads the versions until they are answered.
    async fn compare(&self) {
        let (user, range) = (self.user, self.range);
        let read =
            move |server: Server| async move { server.store.versions(user, range, 100).await };
        loop {
            if let Some(Ok(versions)) = self.network.call("versions", read).await {
                return versions.into_iter().for_each(|of| self.learn(of.date, of.version));
            }
            sleep(millis(RETRY_MS)).await;
        }
    }

    fn learn(&self, date: Date, version: Version) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let last = known.entry(date).or_insert(version);
        *last = version.max(*last);
    }

    /// Whether it knows the current versions.
    pub(super) fn is_current(&self) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known == self.network.ledger.versions()
    }
}
