//! What the fake remembers, and what each request does to it. Nothing here waits or knows HTTP's
//! connections.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use hyper::{
    StatusCode,
    header::{AUTHORIZATION, COOKIE, ETAG, IF_NONE_MATCH, SET_COOKIE, USER_AGENT},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use uuid::Uuid;

use super::{
    summaries::Summaries,
    wire::{Asked, Refusal, Reply, Route},
};
use crate::{
    AccessToken, ArchiveRequest, ConflictBody, Credentials, Date, DayView, Diary, DiaryEntry,
    DiaryId, Document, DocumentError, DocumentLimits, Draft, ErrorCode, MAX_TITLE_CHARS,
    NewAccount, Password, REMEMBERED_SAVES, RefreshRequest, SaveId, SaveReceipt, SessionId,
    SessionInfo, SignedUp, Timestamp, UserId, VerifyRequest, Version,
};

/// How long an access token is good for.
pub(super) const ACCESS_TTL: Duration = Duration::from_secs(15 * 60);

/// How long a session lasts unless it is refreshed.
const REFRESH_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long the answer of a rotation may be asked for again.
const REFRESH_GRACE: Duration = Duration::from_secs(10);

/// Failed logins within this time that are taken.
const LOGIN_WINDOW: (u32, Duration) = (10, Duration::from_secs(300));

/// The paragraph that the other device of
/// [`FakeShiori::inject_conflicts`](super::FakeShiori::inject_conflicts) writes.
pub const RIVAL_LINE: &str = "다른 기기에서 먼저 쓴 줄";

pub(super) struct State {
    /// The fake's clock. It stands still until it is moved.
    pub(super) now: Timestamp,
    accounts: HashMap<String, Account>,
    sessions: BTreeMap<SessionId, Session>,
    tokens: HashMap<String, Token>,
    attempts: HashMap<String, (u32, Timestamp)>,
    slots: BTreeMap<(UserId, Date), Slot>,
    pub(super) summaries: Summaries,
    /// How many saves another device is still to forestall.
    pub(super) rivals: u32,
}

struct Account {
    user: UserId,
    /// As it was sent: this is no place for a real one.
    password: Password,
}

struct Session {
    user: UserId,
    generation: u64,
    rotated_at: Timestamp,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    user_agent: Option<String>,
}

/// An access token that was given out.
struct Token {
    session: SessionId,
    expires_at: Timestamp,
}

/// The place of one date's diary. It outlives the diary, so that versions go on counting.
struct Slot {
    id: DiaryId,
    version: Version,
    diary: Option<Standing>,
    saves: VecDeque<(SaveId, Stored)>,
}

struct Standing {
    draft: Draft,
    is_archived: bool,
    updated_at: Timestamp,
}

/// What a save became.
#[derive(Clone, Copy)]
struct Stored {
    version: Version,
    updated_at: Timestamp,
    created: bool,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) user: UserId,
    session: SessionId,
}

/// The body of a save. The content is only looked at once its limits have been checked.
#[derive(Deserialize)]
struct SaveBody {
    title: String,
    content: Box<RawValue>,
    #[serde(default)]
    version: Option<Version>,
    #[serde(default)]
    save_id: Option<SaveId>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            now: Timestamp::now(),
            accounts: HashMap::new(),
            sessions: BTreeMap::new(),
            tokens: HashMap::new(),
            attempts: HashMap::new(),
            slots: BTreeMap::new(),
            summaries: Summaries::default(),
            rivals: 0,
        }
    }

    /// Every answer that comes at once.
    pub(super) fn answer(&mut self, asked: &Asked) -> Result<Reply, Refusal> {
        match asked.route {
            Route::SignUp => {
                let user_id = self.sign_up(asked.body()?)?;
                return Ok(Reply::with_status(&SignedUp { user_id }, StatusCode::CREATED));
            }
            Route::LogIn => return self.log_in(asked),
            Route::Refresh => return self.refresh(asked),
            Route::Verify => {
                let body: VerifyRequest = asked.body()?;
                let good = self.live(&body.access_token);
                return good.map(|_| Reply::done()).map_err(|_| token_decode_error());
            }
            _ => {}
        }
        let caller = self.caller(asked)?;
        match asked.route {
            Route::LogOut => {
                self.sessions.remove(&caller.session);
                Ok(Reply::done().with_header(SET_COOKIE, &cookie("", 0)))
            }
            Route::Sessions => Ok(Reply::ok(&self.list_sessions(caller))),
            Route::Revoke => {
                let id = asked.id()?;
                let theirs = |session: &&Session| session.user == caller.user;
                self.sessions.get(&id).filter(theirs).ok_or_else(not_found)?;
                self.sessions.remove(&id);
                Ok(Reply::done())
            }
            Route::Get => self.get(caller.user, asked),
            Route::Save => self.save(caller.user, asked),
            Route::Delete => self.delete(caller.user, asked),
            Route::Archive => self.archive(caller.user, asked),
            Route::List => {
                let dates = asked.range()?.dates();
                let diaries = dates.filter_map(|date| self.view(caller.user, date));
                Ok(Reply::ok(&diaries.map(entry).collect::<Vec<_>>()))
            }
            _ => self.answer_about_summaries(caller.user, asked),
        }
    }

    /// Makes an account.
    pub(super) fn sign_up(&mut self, account: NewAccount) -> Result<UserId, Refusal> {
        let is_address = account.email.is_ascii()
            && !account.email.contains(char::is_whitespace)
            && account.email.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty() && domain.contains('.') && !domain.contains('@')
            });
        if !is_address {
            return Err(Refusal::field("email", "email"));
        }
        if let Some(rule) = weakness(account.password.reveal()) {
            return Err(Refusal::field("password", rule));
        }
        let nickname = &account.nickname;
        match nickname.chars().count() {
            1..=30 if nickname.contains(char::is_control) => {
                return Err(Refusal::field("nickname", "no_control_characters"));
            }
            1..=30 if nickname.trim().is_empty() => {
                return Err(Refusal::field("nickname", "not_blank"));
            }
            1..=30 => {}
            _ => return Err(Refusal::field("nickname", "1_to_30_characters")),
        }
        let email = account.email.to_ascii_lowercase();
        if self.accounts.contains_key(&email) {
            return Err(Refusal::new(409, ErrorCode::EmailTaken));
        }
        let user = UserId::new();
        self.accounts.insert(email, Account { user, password: account.password });
        Ok(user)
    }

    fn log_in(&mut self, asked: &Asked) -> Result<Reply, Refusal> {
        let body: Credentials = asked.body()?;
        let email = body.email.to_lowercase();
        let (limit, window) = LOGIN_WINDOW;
        let attempts = self.attempts.entry(email.clone()).or_insert((0, self.now));
        if self.now.duration_since(attempts.1) >= window {
            *attempts = (0, self.now);
        }
        if attempts.0 >= limit {
            let wait = (attempts.1 + window).duration_since(self.now);
            return Err(Refusal::new(429, ErrorCode::TooManyAttempts).with_retry_after(wait));
        }
        attempts.0 += 1;
        let account = self.accounts.get(&email).filter(|found| found.password == body.password);
        let account = account.ok_or_else(|| Refusal::new(401, ErrorCode::BadCredentials))?;
        self.attempts.remove(&email);
        let session = Session {
            user: account.user,
            generation: 1,
            rotated_at: self.now,
            created_at: self.now,
            last_seen_at: self.now,
            expires_at: self.now + REFRESH_TTL,
            user_agent: asked.header(USER_AGENT).map(str::to_owned),
        };
        let id = SessionId::new();
        self.sessions.insert(id, session);
        Ok(self.grant(id, 1))
    }

    /// Rotates the refresh token. An older one ends the session, unless the rotation was just now
    /// and its answer may have been lost.
    fn refresh(&mut self, asked: &Asked) -> Result<Reply, Refusal> {
        let body: RefreshRequest = asked.body()?;
        let token = self.tokens.get(&body.access_token).ok_or_else(token_decode_error)?;
        let id = token.session;
        let cookies = asked.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let presented = cookies
            .flat_map(|cookies| cookies.split(';'))
            .find_map(|pair| pair.trim().strip_prefix("refresh_token="))
            .and_then(|token| token.strip_prefix(&format!("{id}.")))
            .and_then(|generation| generation.parse::<u64>().ok());
        let now = self.now;
        let session = self.sessions.get_mut(&id).filter(|session| now < session.expires_at);
        let (Some(presented), Some(session)) = (presented, session) else {
            return Err(session_expired());
        };
        if presented == session.generation {
            session.generation += 1;
            session.rotated_at = now;
            session.last_seen_at = now;
            session.expires_at = now + REFRESH_TTL;
        } else if presented + 1 != session.generation
            || now.duration_since(session.rotated_at) > REFRESH_GRACE
        {
            self.sessions.remove(&id);
            return Err(Refusal::new(401, ErrorCode::RefreshReused));
        }
        let generation = session.generation;
        Ok(self.grant(id, generation))
    }

    /// Hands over a session's tokens.
    fn grant(&mut self, session: SessionId, generation: u64) -> Reply {
        let token = Uuid::new_v4().to_string();
        let expires_at = self.now + ACCESS_TTL;
        self.tokens.insert(token.clone(), Token { session, expires_at });
        let ends_at = self.sessions.get(&session).map_or(self.now, |session| session.expires_at);
        let max_age = ends_at.duration_since(self.now).as_secs();
        let cookie = cookie(&format!("{session}.{generation}"), max_age);
        Reply::ok(&AccessToken { token, expires_in: ACCESS_TTL.as_secs() })
            .with_header(SET_COOKIE, &cookie)
    }

    /// Who asks, by the access token.
    pub(super) fn caller(&mut self, asked: &Asked) -> Result<Caller, Refusal> {
        let bearer = asked.header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let caller = self.live(bearer.unwrap_or_default())?;
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(&caller.session)
            && now.duration_since(session.last_seen_at) >= Duration::from_secs(60)
        {
            session.last_seen_at = now;
        }
        Ok(caller)
    }

    fn live(&self, token: &str) -> Result<Caller, Refusal> {
        let token = self.tokens.get(token).filter(|token| self.now < token.expires_at);
        let token = token.ok_or_else(|| Refusal::new(401, ErrorCode::Unauthorized))?;
        let session = self.sessions.get(&token.session);
        let session = session.filter(|session| self.now < session.expires_at);
        let session = session.ok_or_else(session_expired)?;
        Ok(Caller { user: session.user, session: token.session })
    }

    fn list_sessions(&self, caller: Caller) -> Vec<SessionInfo> {
        let live =
            self.sessions.iter().rev().filter(|(_, session)| {
                session.user == caller.user && self.now < session.expires_at
            });
        let info = |(id, session): (&SessionId, &Session)| SessionInfo {
            id: *id,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            user_agent: session.user_agent.clone(),
            current: *id == caller.session,
        };
        let mut infos: Vec<_> = live.map(info).collect();
        // Stable: of those seen at the same moment the newest stays first.
        infos.sort_by_key(|info| std::cmp::Reverse(info.last_seen_at));
        infos
    }

    fn get(&self, user: UserId, asked: &Asked) -> Result<Reply, Refusal> {
        let date = asked.date()?;
        let Some(diary) = self.view(user, date) else {
            return Ok(Reply::ok(&DayView::absent(date)));
        };
        let etag = etag(diary.version);
        let known = asked.header(IF_NONE_MATCH).unwrap_or_default().split(',').map(str::trim);
        let mut known = known.map(|tag| tag.strip_prefix("W/").unwrap_or(tag));
        let reply = if known.any(|tag| tag == "*" || tag == etag) {
            Reply::bare(StatusCode::NOT_MODIFIED)
        } else {
            Reply::ok(&DayView::from(diary))
        };
        Ok(reply.with_header(ETAG, &etag))
    }

    fn save(&mut self, user: UserId, asked: &Asked) -> Result<Reply, Refusal> {
        let date = asked.date()?;
        let body: SaveBody = asked.body()?;
        if body.title.chars().count() > MAX_TITLE_CHARS {
            let limit = json!({ "limit": MAX_TITLE_CHARS });
            return Err(Refusal::new(400, ErrorCode::TitleTooLong).with_data(&limit));
        }
        let content = Document::from_json_within(body.content.get(), &DocumentLimits::default())?;
        let slot = self.slots.entry((user, date)).or_insert_with(Slot::vacant);
        let applied = body.save_id.and_then(|id| slot.applied(id));
        let stored = match applied {
            Some(stored) => stored,
            None if slot.standing() != body.version => return Err(self.conflict(user, date)),
            None if self.rivals > 0 => {
                self.rivals -= 1;
                let mut draft =
                    slot.diary.as_ref().map_or_else(Draft::default, |diary| diary.draft.clone());
                draft.content.push_paragraph(RIVAL_LINE);
                slot.store(draft, None, self.now);
                return Err(self.conflict(user, date));
            }
            None => slot.store(Draft { title: body.title, content }, body.save_id, self.now),
        };
        let receipt = SaveReceipt {
            id: slot.id,
            version: stored.version,
            updated_at: stored.updated_at,
            replayed: applied.is_some(),
        };
        let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
        Ok(Reply::with_status(&receipt, status).with_header(ETAG, &etag(stored.version)))
    }

    fn delete(&mut self, user: UserId, asked: &Asked) -> Result<Reply, Refusal> {
        let date = asked.date()?;
        let version = asked.param::<u64>("version")?.map(Version::new);
        let version = version.ok_or_else(|| Refusal::field("version", "required"))?;
        let slot = self.named(user, date, version)?;
        slot.diary = None;
        slot.version = slot.version.next();
        slot.saves.clear();
        Ok(Reply::done())
    }

    fn archive(&mut self, user: UserId, asked: &Asked) -> Result<Reply, Refusal> {
        let date = asked.date()?;
        let body: ArchiveRequest = asked.body()?;
        let now = self.now;
        let slot = self.named(user, date, body.version)?;
        slot.version = slot.version.next();
        let version = slot.version;
        if let Some(diary) = &mut slot.diary {
            diary.is_archived = body.archived;
            diary.updated_at = now;
        }
        Ok(Reply::ok(&json!({ "version": version })))
    }

    /// The slot whose diary has this version.
    fn named(&mut self, user: UserId, date: Date, version: Version) -> Result<&mut Slot, Refusal> {
        match self.slots.get(&(user, date)).map(Slot::standing) {
            None | Some(None) => Err(not_found()),
            Some(Some(standing)) if standing != version => Err(self.conflict(user, date)),
            Some(Some(_)) => self.slots.get_mut(&(user, date)).ok_or_else(not_found),
        }
    }

    fn conflict(&self, user: UserId, date: Date) -> Refusal {
        let body = ConflictBody { current: self.view(user, date) };
        Refusal::new(409, ErrorCode::DiaryConflict).with_data(&body)
    }

    /// The diary of a date, with what the summaries say of it.
    fn view(&self, user: UserId, date: Date) -> Option<Diary> {
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
            emotion: self.summaries.emotion(user, date),
            summary_status: self.summaries.status(user, date, slot.version),
        })
    }

    /// The versions of the diaries of these dates.
    pub(super) fn versions(
        &self,
        user: UserId,
        dates: impl Iterator<Item = Date>,
    ) -> BTreeMap<Date, Version> {
        let standing = |date| Some((date, self.slots.get(&(user, date))?.standing()?));
        dates.filter_map(standing).collect()
    }
}

impl Slot {
    fn vacant() -> Self {
        Self { id: DiaryId::new(), version: Version::new(0), diary: None, saves: VecDeque::new() }
    }

    /// The version to name when saving.
    fn standing(&self) -> Option<Version> {
        self.diary.as_ref().map(|_| self.version)
    }

    fn applied(&self, id: SaveId) -> Option<Stored> {
        self.saves.iter().find(|(known, _)| *known == id).map(|(_, stored)| *stored)
    }

    fn store(&mut self, draft: Draft, save_id: Option<SaveId>, now: Timestamp) -> Stored {
        let created = self.diary.is_none();
        let is_archived = self.diary.as_ref().is_some_and(|diary| diary.is_archived);
        self.version = self.version.next();
        self.diary = Some(Standing { draft, is_archived, updated_at: now });
        let stored = Stored { version: self.version, updated_at: now, created };
        self.saves.extend(save_id.map(|id| (id, stored)));
        if self.saves.len() > REMEMBERED_SAVES {
            self.saves.pop_front();
        }
        stored
    }
}

impl From<DocumentError> for Refusal {
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

/// The rule that a new password breaks, if any.
fn weakness(password: &str) -> Option<&'static str> {
    let special = |c: char| !(c.is_alphanumeric() || c.is_whitespace() || c.is_control());
    match password.chars().count() {
        ..Password::MIN_CHARS => Some("at_least_8_characters"),
        129.. => Some("at_most_128_characters"),
        _ if !password.contains(char::is_alphabetic) => Some("a_letter"),
        _ if !password.contains(char::is_numeric) => Some("a_digit"),
        _ if !password.contains(special) => Some("a_special_character"),
        _ => None,
    }
}

fn etag(version: Version) -> String {
    format!("\"{version}\"")
}

fn cookie(token: &str, max_age: u64) -> String {
    format!("refresh_token={token}; Path=/api/auth; Max-Age={max_age}; HttpOnly; SameSite=Strict")
}

pub(super) fn not_found() -> Refusal {
    Refusal::new(404, ErrorCode::NotFound)
}

fn session_expired() -> Refusal {
    Refusal::new(401, ErrorCode::SessionExpired)
}

fn token_decode_error() -> Refusal {
    Refusal::new(400, ErrorCode::TokenDecodeError)
}
