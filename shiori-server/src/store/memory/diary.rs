use async_trait::async_trait;
use shiori_sdk::{
    Date, DateRange, DateVersion, DiaryId, Document, REMEMBERED_SAVES, SaveId, Timestamp, UserId,
    Version, limits::MAX_READ_BYTES,
};

use super::{Effect, Fault, MemoryStore, State};
use crate::store::{
    AppliedSave, ArchiveOutcome, DeleteOutcome, DiaryHead, DiaryPlace, DiaryRecord, DiaryStore,
    DiaryUsage, HistoryPolicy, ManyDiaries, NewVersion, PAGE_BYTES, PAGE_DIARIES, Page,
    SaveOutcome, StoreError, TextSource, keeps,
};

/// The record of a date that has or had a diary.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    id: DiaryId,
    pub(super) version: Version,
    /// Whether the diary was deleted.
    pub(super) is_vacant: bool,
    pub(super) title: String,
    pub(super) content: Document,
    is_archived: bool,
    pub(super) updated_at: Timestamp,
    pub(super) text: TextSource,
    saves: Vec<(SaveId, AppliedSave)>,
}

impl Slot {
    fn empty() -> Self {
        Self {
            id: DiaryId::new(),
            version: Version::new(0),
            is_vacant: true,
            title: String::new(),
            content: Document::empty(),
            is_archived: false,
            updated_at: Timestamp::UNIX_EPOCH,
            text: TextSource { by: None, at: None },
            saves: Vec::new(),
        }
    }

    fn bytes(&self) -> u64 {
        self.content.as_json().len() as u64
    }

    fn record(&self, date: Date) -> DiaryRecord {
        let head = DiaryHead {
            id: self.id,
            date,
            title: self.title.clone(),
            version: self.version,
            is_archived: self.is_archived,
            updated_at: self.updated_at,
        };
        DiaryRecord { head, content: self.content.clone() }
    }

    fn has_version(&self, version: Version) -> bool {
        !self.is_vacant && self.version == version
    }
}

impl State {
    /// The diaries of the user, by date.
    fn live(&self, user: UserId) -> impl Iterator<Item = (Date, &Slot)> {
        self.slots(user).filter(|(_, slot)| !slot.is_vacant)
    }

    fn slots(&self, user: UserId) -> impl Iterator<Item = (Date, &Slot)> {
        let rows = self.diaries.iter().filter(move |((of, _), _)| *of == user);
        rows.map(|((_, date), slot)| (*date, slot))
    }

    fn record(&self, user: UserId, date: Date) -> Option<DiaryRecord> {
        let slot = self.diaries.get(&(user, date)).filter(|slot| !slot.is_vacant)?;
        Some(slot.record(date))
    }

    fn records(&self, user: UserId, range: DateRange) -> Vec<DiaryRecord> {
        let live = self.live(user).filter(|(date, _)| range.contains(*date));
        live.map(|(date, slot)| slot.record(date)).collect()
    }

    fn usage(&self, user: UserId) -> DiaryUsage {
        let mut usage = DiaryUsage { diaries: 0, bytes: 0 };
        for (_, slot) in self.live(user) {
            usage.diaries += 1;
            usage.bytes += slot.bytes();
        }
        usage
    }

    fn save(&mut self, save: &NewVersion, fault: Option<Fault>) -> SaveOutcome {
        let key = (save.user, save.date);
        let mut slot = self.diaries.get(&key).cloned().unwrap_or_else(Slot::empty);
        let applied = slot.saves.iter().find(|(id, _)| Some(*id) == save.save_id);
        if let Some((_, applied)) = applied {
            return SaveOutcome::Replayed(*applied);
        }
        let current = (!slot.is_vacant).then_some(slot.version);
        let is_weak = fault == Some(Fault::WeakSave)
            && save.expected.is_some_and(|version| slot.has_version(version.next()));
        if current != save.expected && !is_weak {
            return SaveOutcome::Conflict(self.record(save.user, save.date));
        }
        let bytes = save.content.as_json().len() as u64;
        let before = (!slot.is_vacant).then(|| slot.bytes());
        if save.quota.is_checked(before, bytes)
            && let Some(exceeded) = save.quota.exceeded(self.usage(save.user), before, bytes)
        {
            return SaveOutcome::QuotaExceeded(exceeded);
        }
        if !slot.is_vacant && keeps(save, slot.text) {
            self.keep(save.user, save.date, save.history, save.now);
        }
        let saved = AppliedSave {
            id: slot.id,
            version: slot.version.next(),
            updated_at: save.now,
            created: slot.is_vacant,
        };
        if fault != Some(Fault::ForgottenSaveId) {
            slot.saves.extend(save.save_id.map(|id| (id, saved)));
        }
        let surplus = slot.saves.len().saturating_sub(REMEMBERED_SAVES);
        slot.saves.drain(..surplus);
        (slot.version, slot.is_vacant, slot.updated_at) = (saved.version, false, save.now);
        (slot.title, slot.content) = (save.title.clone(), save.content.clone());
        slot.text = TextSource { by: Some(save.session), at: Some(save.now) };
        self.diaries.insert(key, slot);
        SaveOutcome::Saved(saved)
    }

    /// Changes the diary if it has this version. Otherwise returns the current one.
    fn change(
        &mut self,
        user: UserId,
        date: Date,
        version: Version,
        now: Timestamp,
        change: impl FnOnce(&mut Slot),
    ) -> Result<Version, Option<DiaryRecord>> {
        let slot = self.diaries.get_mut(&(user, date)).filter(|slot| slot.has_version(version));
        let Some(slot) = slot else { return Err(self.record(user, date)) };
        change(slot);
        (slot.version, slot.updated_at) = (version.next(), now);
        Ok(slot.version)
    }
}

#[async_trait]
impl DiaryStore for MemoryStore {
    async fn save(&self, save: &NewVersion) -> Result<SaveOutcome, StoreError> {
        self.step("save", |state| {
            let slot = state.diaries.get(&(save.user, save.date));
            let before = slot.map_or(Version::new(0), |slot| slot.version);
            let outcome = state.save(save, self.fault);
            if let SaveOutcome::Saved(saved) = outcome {
                self.steps.applied(Effect::Saved { save, before, saved });
            }
            outcome
        })
        .await
    }

    async fn get(&self, user: UserId, date: Date) -> Result<Option<DiaryRecord>, StoreError> {
        self.step("get_diary", |state| state.record(user, date)).await
    }

    async fn list(&self, user: UserId, range: DateRange) -> Result<Vec<DiaryHead>, StoreError> {
        let heads = |state: &mut State| {
            state.records(user, range).into_iter().map(|record| record.head).collect()
        };
        self.step("list_diaries", heads).await
    }

    async fn list_with_content(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<DiaryRecord>, StoreError> {
        self.step("read_diaries", |state| state.records(user, range)).await
    }

    async fn versions(
        &self,
        user: UserId,
        range: DateRange,
        limit: u32,
    ) -> Result<Vec<DateVersion>, StoreError> {
        self.step("versions", |state| {
            let slots = state.slots(user).filter(|(date, _)| range.contains(*date));
            let version = |(date, slot): (Date, &Slot)| DateVersion {
                date,
                version: slot.version,
                is_archived: slot.is_archived,
                is_deleted: slot.is_vacant,
            };
            slots.map(version).take(limit as usize).collect()
        })
        .await
    }

    async fn read_many(&self, user: UserId, dates: &[Date]) -> Result<ManyDiaries, StoreError> {
        self.step("read_many", |state| {
            let (mut many, mut bytes) = (ManyDiaries::default(), 0);
            for (nth, date) in dates.iter().enumerate() {
                if bytes >= MAX_READ_BYTES {
                    many.rest = dates[nth..].to_vec();
                    break;
                }
                let record = state.record(user, *date);
                bytes += record.as_ref().map_or(0, |record| record.content.as_json().len());
                many.diaries.extend(record);
            }
            many
        })
        .await
    }

    async fn page(
        &self,
        user: UserId,
        after: DiaryPlace,
    ) -> Result<Page<DiaryRecord, DiaryPlace>, StoreError> {
        self.step("page", |state| {
            let mut page = Page { items: Vec::new(), unreadable: 0, next: None };
            let mut bytes = 0;
            for (date, slot) in state.live(user).filter(|(date, _)| date.as_number() > after.0) {
                bytes += slot.content.as_json().len();
                page.items.push(slot.record(date));
                if page.items.len() == PAGE_DIARIES || bytes >= PAGE_BYTES {
                    page.next = Some(DiaryPlace(date.as_number()));
                    break;
                }
            }
            page
        })
        .await
    }

    async fn delete(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        history: HistoryPolicy,
        now: Timestamp,
    ) -> Result<DeleteOutcome, StoreError> {
        self.step("delete", |state| {
            let slot = state.diaries.get(&(user, date));
            if history.is_on() && slot.is_some_and(|slot| slot.has_version(version)) {
                state.keep(user, date, history, now);
            }
            let deleted = state.change(user, date, version, now, |slot| {
                (slot.is_vacant, slot.is_archived) = (true, false);
                (slot.title, slot.content) = (String::new(), Document::empty());
            });
            match deleted {
                Ok(after) => {
                    self.steps.applied(Effect::Changed { date, before: version, after });
                    DeleteOutcome::Deleted
                }
                Err(current) => current.map_or(DeleteOutcome::NotFound, DeleteOutcome::Conflict),
            }
        })
        .await
    }

    async fn archive(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        archived: bool,
        now: Timestamp,
    ) -> Result<ArchiveOutcome, StoreError> {
        self.step("archive", |state| {
            let changed =
                state.change(user, date, version, now, |slot| slot.is_archived = archived);
            match changed {
                Ok(after) => {
                    self.steps.applied(Effect::Changed { date, before: version, after });
                    ArchiveOutcome::Archived(after)
                }
                Err(current) => current.map_or(ArchiveOutcome::NotFound, ArchiveOutcome::Conflict),
            }
        })
        .await
    }

    async fn erase(&self, user: UserId, limit: u32) -> Result<u64, StoreError> {
        self.step("erase_diaries", |state| {
            let dates: Vec<_> =
                state.slots(user).map(|(date, _)| date).take(limit as usize).collect();
            for date in &dates {
                state.diaries.remove(&(user, *date));
            }
            dates.len() as u64
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.step("ping", |_| ()).await
    }
}
