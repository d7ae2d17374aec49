//! Diaries: compare-and-swap saves; a repeated save is recognised by its `save_id`.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use hyper::{StatusCode, header::ETAG};
use serde_json::{json, value::RawValue};

use super::{
    request::ApiRequest,
    response::{ApiError, ApiResponse},
    revisions::{Revisions, TextSource},
    sessions::Caller,
    summaries::Summaries,
};
use crate::types::{
    ArchiveReceipt, ArchiveRequest, ConflictBody, Date, DateRange, DateVersion, DayView, Diary,
    DiaryEntry, DiaryId, DiarySummaryStatus, Document, DocumentError, DocumentLimits, Draft,
    Emotion, EmotionHistory, ErrorCode, ExportedDiary, InvalidTitle, SaveId, SaveReceipt,
    SaveRequest, Timestamp, UserId, Version, check_title,
    limits::{MAX_BYTES_PER_CHAR, MAX_TITLE_CHARS, REMEMBERED_SAVES},
};

/// The paragraph that the other device of
/// [`FakeShiori::inject_conflicts`](super::FakeShiori::inject_conflicts) writes.
pub const CONFLICTING_LINE: &str = "다른 기기에서 먼저 쓴 줄";

#[derive(Default)]
pub(super) struct Diaries {
    slots: BTreeMap<(UserId, Date), Slot>,
    /// Number of further saves that a save of another device precedes.
    pub(super) injected_conflicts: u32,
}

/// The stored data of one date. It remains after the diary is deleted, so that versions keep
/// growing and repeated saves are recognised.
struct Slot {
    id: DiaryId,
    version: Version,
    diary: Option<StoredDiary>,
    applied_saves: VecDeque<(SaveId, AppliedSave)>,
    revisions: Revisions,
}

pub(super) struct StoredDiary {
    pub(super) date: Date,
    pub(super) draft: Draft,
    pub(super) text: TextSource,
    is_archived: bool,
    updated_at: Timestamp,
}

/// The result of a save.
#[derive(Clone, Copy)]
struct AppliedSave {
    version: Version,
    updated_at: Timestamp,
    created: bool,
}

impl Diaries {
    /// Deletes everything of a user whose account was deleted.
    pub(super) fn erase(&mut self, user: UserId) {
        self.slots.retain(|(owner, _), _| *owner != user);
    }

    /// The revisions of a date; `None` if it never had a diary.
    pub(super) fn revisions_of(&self, user: UserId, date: Date) -> Option<&Revisions> {
        self.slots.get(&(user, date)).map(|slot| &slot.revisions)
    }

    /// The revisions of this date or of all dates of a user.
    pub(super) fn revisions_of_all(
        &mut self,
        user: UserId,
        date: Option<Date>,
    ) -> impl Iterator<Item = &mut Revisions> {
        let matches = move |(owner, day): &(UserId, Date)| {
            *owner == user && date.is_none_or(|date| date == *day)
        };
        let slots = self.slots.iter_mut().filter(move |(key, _)| matches(key));
        slots.map(|(_, slot)| &mut slot.revisions)
    }

    pub(super) fn get(
        &self,
        user: UserId,
        request: &ApiRequest,
        summaries: &Summaries,
    ) -> Result<ApiResponse, ApiError> {
        let date = request.date()?;
        let Some(diary) = self.view(user, date, summaries) else {
            return Ok(ApiResponse::ok(&DayView::absent(date)));
        };
        let etag = diary.etag.clone();
        let response = if request.knows(etag.as_deref()) {
            ApiResponse::empty(StatusCode::NOT_MODIFIED)
        } else {
            ApiResponse::ok(&DayView::from(diary))
        };
        Ok(match etag {
            Some(etag) => response.with_header(ETAG, &etag),
            None => response,
        })
    }

    pub(super) fn list(
        &self,
        user: UserId,
        range: DateRange,
        summaries: &Summaries,
    ) -> Vec<DiaryEntry> {
        let diaries = range.dates().filter_map(|date| self.view(user, date, summaries));
        diaries.map(entry).collect()
    }

    pub(super) fn emotions(
        &self,
        user: UserId,
        range: DateRange,
        summaries: &Summaries,
    ) -> EmotionHistory {
        let first = (user, range.start());
        let slots = self.slots.range(first..=(user, range.end()));
        let dates = slots.filter(|(_, slot)| slot.diary.is_some()).map(|((_, date), _)| *date);
        EmotionHistory::of(dates.filter_map(|date| summaries.tag(user, date)).collect())
    }

    pub(super) fn save(
        &mut self,
        Caller { user, session }: Caller,
        request: &ApiRequest,
        summaries: &Summaries,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let date = request.date()?;
        let body: SaveRequest<Box<RawValue>> = request.body()?;
        check_title(&body.title.0, MAX_TITLE_CHARS).map_err(|error| match error {
            InvalidTitle::TooManyCharacters => {
                let limit = json!({ "limit": MAX_TITLE_CHARS });
                ApiError::new(400, ErrorCode::TitleTooLong).with_data(&limit)
            }
            InvalidTitle::TooManyBytes => {
                let limit = json!({ "limit_bytes": MAX_TITLE_CHARS * MAX_BYTES_PER_CHAR });
                ApiError::new(400, ErrorCode::TitleTooLong).with_data(&limit)
            }
            InvalidTitle::ControlCharacter => {
                ApiError::invalid_field("title", "no_control_characters")
            }
        })?;
        let content = Document::from_json_within(body.content.get(), &DocumentLimits::default())?;
        let draft = Draft { title: body.title.0, content };
        let slot = self.slots.entry((user, date)).or_insert_with(Slot::vacant);
        let replayed = body.save_id.and_then(|id| slot.applied_save(id));
        let saved = match replayed {
            Some(saved) => saved,
            None if slot.current_version() != body.version => {
                return Err(self.conflict(user, date, summaries));
            }
            None if self.injected_conflicts > 0 => {
                self.injected_conflicts -= 1;
                let rival = slot.diary.as_ref().map(|diary| diary.draft.clone());
                let mut rival = rival.unwrap_or_default();
                rival.content.push_paragraph(CONFLICTING_LINE);
                let text = TextSource { by: None, at: now };
                slot.store(date, rival, None, text, false);
                return Err(self.conflict(user, date, summaries));
            }
            None => {
                let text = TextSource { by: Some(session), at: now };
                slot.store(date, draft, body.save_id, text, body.keep_replaced)
            }
        };
        let receipt = SaveReceipt {
            id: slot.id,
            version: saved.version,
            updated_at: saved.updated_at,
            replayed: replayed.is_some(),
        };
        let status = if saved.created { StatusCode::CREATED } else { StatusCode::OK };
        Ok(ApiResponse::with_status(status, &receipt))
    }

    pub(super) fn delete(
        &mut self,
        user: UserId,
        request: &ApiRequest,
        summaries: &Summaries,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let date = request.date()?;
        let version = request.query_parameter::<u64>("version")?.map(Version::new);
        let version = version.ok_or_else(|| ApiError::invalid_field("version", "required"))?;
        let slot = self.expect_version(user, date, version, summaries)?;
        if let Some(deleted) = slot.diary.take() {
            slot.revisions.keep(&deleted, slot.version, now);
        }
        slot.version = slot.version.next();
        Ok(ApiResponse::done())
    }

    pub(super) fn archive(
        &mut self,
        user: UserId,
        request: &ApiRequest,
        summaries: &Summaries,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let date = request.date()?;
        let body: ArchiveRequest = request.body()?;
        let slot = self.expect_version(user, date, body.version, summaries)?;
        slot.version = slot.version.next();
        let version = slot.version;
        if let Some(diary) = &mut slot.diary {
            diary.is_archived = body.archived;
            diary.updated_at = now;
        }
        Ok(ApiResponse::ok(&ArchiveReceipt { version }))
    }

    /// The slot of a diary if it has this version.
    fn expect_version(
        &mut self,
        user: UserId,
        date: Date,
        version: Version,
        summaries: &Summaries,
    ) -> Result<&mut Slot, ApiError> {
        match self.slots.get(&(user, date)).and_then(Slot::current_version) {
            None => Err(ApiError::not_found()),
            Some(current) if current != version => Err(self.conflict(user, date, summaries)),
            Some(_) => self.slots.get_mut(&(user, date)).ok_or_else(ApiError::not_found),
        }
    }

    fn conflict(&self, user: UserId, date: Date, summaries: &Summaries) -> ApiError {
        let body = ConflictBody { current: self.view(user, date, summaries) };
        ApiError::new(409, ErrorCode::DiaryConflict).with_data(&body)
    }

    /// The diary of a date with its emotion and summary status.
    pub(super) fn view(&self, user: UserId, date: Date, summaries: &Summaries) -> Option<Diary> {
        let slot = self.slots.get(&(user, date))?;
        let diary = slot.diary.as_ref()?;
        let (emotion, summary_status) = if summaries.are_unavailable {
            (None, None)
        } else {
            let status = summaries.diary_status(user, date, slot.version);
            (summaries.emotion(user, date), Some(status))
        };
        Some(Diary {
            id: slot.id,
            date,
            title: diary.draft.title.clone(),
            content: diary.draft.content.clone(),
            version: slot.version,
            is_archived: diary.is_archived,
            updated_at: diary.updated_at,
            emotion,
            summary_status,
            etag: summary_status.map(|status| etag(slot.id, slot.version, status, emotion)),
        })
    }

    /// The versions of the dates that have or had a diary, by date.
    pub(super) fn date_versions(&self, user: UserId) -> impl Iterator<Item = DateVersion> {
        let slots = self.slots.iter().filter(move |((owner, _), _)| *owner == user);
        // A date that was never saved has a slot after a rejected save.
        let slots = slots.filter(|(_, slot)| slot.version > Version::new(0));
        slots.map(|((_, date), slot)| DateVersion {
            date: *date,
            version: slot.version,
            is_archived: slot.diary.as_ref().is_some_and(|diary| diary.is_archived),
            is_deleted: slot.diary.is_none(),
        })
    }

    /// The diaries of a user for an export, by date.
    pub(super) fn exported(&self, user: UserId) -> impl Iterator<Item = ExportedDiary> {
        let slots = self.slots.iter().filter(move |((owner, _), _)| *owner == user);
        slots.filter_map(|((_, date), slot)| {
            let diary = slot.diary.as_ref()?;
            Some(ExportedDiary {
                id: slot.id,
                date: *date,
                title: diary.draft.title.clone(),
                content: diary.draft.content.clone(),
                version: slot.version,
                is_archived: diary.is_archived,
                updated_at: diary.updated_at,
            })
        })
    }

    /// The versions of the diaries of these dates.
    pub(super) fn versions(
        &self,
        user: UserId,
        dates: impl Iterator<Item = Date>,
    ) -> BTreeMap<Date, Version> {
        let current = |date| Some((date, self.slots.get(&(user, date))?.current_version()?));
        dates.filter_map(current).collect()
    }
}

impl Slot {
    fn vacant() -> Self {
        Self {
            id: DiaryId::new(),
            version: Version::new(0),
            diary: None,
            applied_saves: VecDeque::new(),
            revisions: Revisions::default(),
        }
    }

    /// The version of the diary; `None` if the date has none.
    fn current_version(&self) -> Option<Version> {
        self.diary.as_ref().map(|_| self.version)
    }

    fn applied_save(&self, id: SaveId) -> Option<AppliedSave> {
        self.applied_saves.iter().find(|(applied, _)| *applied == id).map(|(_, saved)| *saved)
    }

    fn store(
        &mut self,
        date: Date,
        draft: Draft,
        save_id: Option<SaveId>,
        text: TextSource,
        keep_replaced: bool,
    ) -> AppliedSave {
        let now = text.at;
        let replaced = self.diary.take();
        let created = replaced.is_none();
        let is_archived = replaced.as_ref().is_some_and(|diary| diary.is_archived);
        if let Some(replaced) = replaced
            && (keep_replaced || replaced.text.is_kept_by(text.by, now))
        {
            self.revisions.keep(&replaced, self.version, now);
        }
        self.version = self.version.next();
        self.diary = Some(StoredDiary { date, draft, text, is_archived, updated_at: now });
        let saved = AppliedSave { version: self.version, updated_at: now, created };
        self.applied_saves.extend(save_id.map(|id| (id, saved)));
        if self.applied_saves.len() > REMEMBERED_SAVES {
            self.applied_saves.pop_front();
        }
        saved
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::TooDeep { limit } => {
                Self::new(422, ErrorCode::DocumentTooDeep).with_data(&json!({ "limit": limit }))
            }
            DocumentError::TooManyNodes { limit } => {
                Self::new(422, ErrorCode::DocumentTooLarge).with_data(&json!({ "limit": limit }))
            }
            _ => Self::new(422, ErrorCode::InvalidDocument),
        }
    }
}

fn entry(diary: Diary) -> DiaryEntry {
    DiaryEntry {
        date: diary.date,
        title: diary.title,
        version: diary.version,
        summary_status: diary.summary_status,
        is_archived: diary.is_archived,
        updated_at: diary.updated_at,
        emotion: diary.emotion,
    }
}

/// An entity tag that changes with each of these. The keys of [`DefaultHasher::new`] are constant.
fn etag(
    id: DiaryId,
    version: Version,
    status: DiarySummaryStatus,
    emotion: Option<Emotion>,
) -> String {
    let mut hasher = DefaultHasher::new();
    (id, version, status, emotion).hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
