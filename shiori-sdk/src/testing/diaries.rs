//! Diaries of the fake: compare-and-swap on versions.

use std::collections::{BTreeMap, VecDeque};

use hyper::{
    StatusCode,
    header::{ETAG, IF_NONE_MATCH},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    summaries::Summaries,
    wire::{ApiError, ApiRequest, ApiResponse, not_found},
};
use crate::{
    ArchiveRequest, ConflictBody, Date, DayView, Diary, DiaryEntry, DiaryId, Document,
    DocumentError, DocumentLimits, Draft, ErrorCode, MAX_TITLE_CHARS, REMEMBERED_SAVES, SaveId,
    SaveReceipt, Timestamp, UserId, Version,
};

/// The paragraph that the other device of
/// [`FakeShiori::inject_conflicts`](super::FakeShiori::inject_conflicts) adds.
pub const CONFLICTING_LINE: &str = "다른 기기에서 먼저 쓴 줄";

#[derive(Default)]
pub(super) struct Diaries {
    slots: BTreeMap<(UserId, Date), Slot>,
    /// How many of the next saves conflict with another device.
    pub(super) pending_conflicts: u32,
}

/// The state of one date. It outlives the diary, so that versions keep counting.
struct Slot {
    id: DiaryId,
    version: Version,
    diary: Option<LiveDiary>,
    saves: VecDeque<(SaveId, AppliedSave)>,
}

struct LiveDiary {
    draft: Draft,
    is_archived: bool,
    updated_at: Timestamp,
}

/// The result of a save, kept to answer its repetition.
#[derive(Clone, Copy)]
struct AppliedSave {
    version: Version,
    updated_at: Timestamp,
    created: bool,
}

/// The body of a save. The content is parsed only once its limits can be checked.
#[derive(Deserialize)]
struct SaveBody {
    title: String,
    content: Box<RawValue>,
    #[serde(default)]
    version: Option<Version>,
    #[serde(default)]
    save_id: Option<SaveId>,
}

impl Diaries {
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
        let etag = etag(diary.version);
        let known = request.header(IF_NONE_MATCH).unwrap_or_default().split(',').map(str::trim);
        let mut known = known.map(|tag| tag.strip_prefix("W/").unwrap_or(tag));
        let reply = if known.any(|tag| tag == "*" || tag == etag) {
            ApiResponse::bare(StatusCode::NOT_MODIFIED)
        } else {
            ApiResponse::ok(&DayView::from(diary))
        };
        Ok(reply.with_header(ETAG, &etag))
    }

    pub(super) fn save(
        &mut self,
        user: UserId,
        request: &ApiRequest,
        summaries: &Summaries,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let date = request.date()?;
        let body: SaveBody = request.body()?;
        if body.title.chars().count() > MAX_TITLE_CHARS {
            let limit = json!({ "limit": MAX_TITLE_CHARS });
            return Err(ApiError::new(400, ErrorCode::TitleTooLong).with_data(&limit));
        }
        let content = Document::from_json_within(body.content.get(), &DocumentLimits::default())?;
        let slot = self.slots.entry((user, date)).or_insert_with(Slot::vacant);
        let replayed = body.save_id.and_then(|id| slot.applied(id));
        let applied = match replayed {
            Some(applied) => applied,
            None if slot.live_version() != body.version => {
                return Err(self.conflict(user, date, summaries));
            }
            None if self.pending_conflicts > 0 => {
                self.pending_conflicts -= 1;
                let mut draft =
                    slot.diary.as_ref().map_or_else(Draft::default, |diary| diary.draft.clone());
                draft.content.push_paragraph(CONFLICTING_LINE);
                slot.store(draft, None, now);
                return Err(self.conflict(user, date, summaries));
            }
            None => slot.store(Draft { title: body.title, content }, body.save_id, now),
        };
        let receipt = SaveReceipt {
            id: slot.id,
            version: applied.version,
            updated_at: applied.updated_at,
            replayed: replayed.is_some(),
        };
        let status = if applied.created { StatusCode::CREATED } else { StatusCode::OK };
        Ok(ApiResponse::with_status(&receipt, status).with_header(ETAG, &etag(applied.version)))
    }

    pub(super) fn list(
        &self,
        user: UserId,
        request: &ApiRequest,
        summaries: &Summaries,
    ) -> Result<ApiResponse, ApiError> {
        let dates = request.range()?.dates();
        let diaries = dates.filter_map(|date| self.view(user, date, summaries));
        Ok(ApiResponse::ok(&diaries.map(entry).collect::<Vec<_>>()))
    }

    pub(super) fn delete(
        &mut self,
        user: UserId,
        request: &ApiRequest,
        summaries: &Summaries,
    ) -> Result<ApiResponse, ApiError> {
        let date = request.date()?;
        let version = request.param::<u64>("version")?.map(Version::new);
        let version = version.ok_or_else(|| ApiError::field("version", "required"))?;
        let slot = self.live_slot(user, date, version, summaries)?;
        slot.diary = None;
        slot.version = slot.version.next();
        slot.saves.clear();
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
        let slot = self.live_slot(user, date, body.version, summaries)?;
        slot.version = slot.version.next();
        let version = slot.version;
        if let Some(diary) = &mut slot.diary {
            diary.is_archived = body.archived;
            diary.updated_at = now;
        }
        Ok(ApiResponse::ok(&json!({ "version": version })))
    }

    /// The slot whose diary has this version.
    fn live_slot(
        &mut self,
        user: UserId,
        date: Date,
        version: Version,
        summaries: &Summaries,
    ) -> Result<&mut Slot, ApiError> {
        match self.slots.get(&(user, date)).map(Slot::live_version) {
            None | Some(None) => Err(not_found()),
            Some(Some(live)) if live != version => Err(self.conflict(user, date, summaries)),
            Some(Some(_)) => self.slots.get_mut(&(user, date)).ok_or_else(not_found),
        }
    }

    fn conflict(&self, user: UserId, date: Date, summaries: &Summaries) -> ApiError {
        let body = ConflictBody { current: self.view(user, date, summaries) };
        ApiError::new(409, ErrorCode::DiaryConflict).with_data(&body)
    }

    /// The diary of a date, with its emotion and summary status.
    fn view(&self, user: UserId, date: Date, summaries: &Summaries) -> Option<Diary> {
        let slot = self.slots.get(&(user, date))?;
        let diary = slot.diary.as_ref()?;
        Some(Diary {
            id: slot.id,
            date,
            title: diary.draft.title.clone(),
            content: diary.draft.content.clone(),
            version: slot.version,
            is_archived: diary.is_archived,
            updated_at: diary.updated_at,
            emotion: summaries.emotion(user, date),
            summary_status: summaries.status(user, date, slot.version),
        })
    }

    /// The versions of the diaries of these dates.
    pub(super) fn versions(
        &self,
        user: UserId,
        dates: impl Iterator<Item = Date>,
    ) -> BTreeMap<Date, Version> {
        let version = |date| Some((date, self.slots.get(&(user, date))?.live_version()?));
        dates.filter_map(version).collect()
    }
}

impl Slot {
    fn vacant() -> Self {
        Self { id: DiaryId::new(), version: Version::new(0), diary: None, saves: VecDeque::new() }
    }

    /// The version of the diary, if there is one.
    fn live_version(&self) -> Option<Version> {
        self.diary.as_ref().map(|_| self.version)
    }

    fn applied(&self, id: SaveId) -> Option<AppliedSave> {
        self.saves.iter().find(|(known, _)| *known == id).map(|(_, applied)| *applied)
    }

    fn store(&mut self, draft: Draft, save_id: Option<SaveId>, now: Timestamp) -> AppliedSave {
        let created = self.diary.is_none();
        let is_archived = self.diary.as_ref().is_some_and(|diary| diary.is_archived);
        self.version = self.version.next();
        self.diary = Some(LiveDiary { draft, is_archived, updated_at: now });
        let applied = AppliedSave { version: self.version, updated_at: now, created };
        self.saves.extend(save_id.map(|id| (id, applied)));
        if self.saves.len() > REMEMBERED_SAVES {
            self.saves.pop_front();
        }
        applied
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

fn etag(version: Version) -> String {
    format!("\"{version}\"")
}
