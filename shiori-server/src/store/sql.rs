//! The rows that both SQL engines share, and their conversion.

use serde::{Serialize, de::DeserializeOwned};
use shiori_sdk::{Date, DayEmotion, Revision, SummaryId, SummaryStatus, Timestamp, UserId, Week};
use shiori_worker::protocol::LeaseToken;
use sqlx::FromRow;

use super::{Account, ResultRecord, StoreError, WeekStatus};
use crate::{
    auth::PasswordHash,
    summary::{Lease, SummaryJob},
};

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt { what: "a row" }
            }
            // The engine's message may quote a value, such as that of a duplicate key.
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default().into_owned();
                Self::Unavailable(format!("the engine refused with code {code}").into())
            }
            // The message may quote the URL.
            sqlx::Error::Configuration(_) => Self::Unavailable("the URL is not valid".into()),
            other => Self::Unavailable(other.into()),
        }
    }
}

#[derive(FromRow)]
pub(super) struct AccountRow {
    id: Vec<u8>,
    email: String,
    nickname: String,
    password_hash: String,
    created_at: i64,
}

impl TryFrom<AccountRow> for Account {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let id = row.id.as_slice().try_into().map_err(|_| corrupt("an identifier"))?;
        Ok(Self {
            id: UserId::from_bytes(id),
            email: row.email.parse().map_err(|_| corrupt("an e-mail address"))?,
            nickname: row.nickname,
            password_hash: PasswordHash::parse(row.password_hash)
                .map_err(|_| corrupt("a password hash"))?,
            created_at: Timestamp::from_millis(row.created_at),
        })
    }
}

#[derive(FromRow)]
pub(super) struct SummaryRow {
    id: Vec<u8>,
    user_id: Vec<u8>,
    start: u32,
    status: String,
    revision: i64,
    attempts: u32,
    requested_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    not_before: i64,
    next_hint_at: i64,
    lease_token: Option<String>,
    lease_expires: Option<i64>,
    lease_worker: Option<String>,
    completed_by: Option<String>,
    versions_read: String,
    progress: Option<String>,
    failure: Option<String>,
    trace: Option<String>,
}

impl TryFrom<SummaryRow> for SummaryJob {
    type Error = StoreError;

    fn try_from(row: SummaryRow) -> Result<Self, StoreError> {
        let token = |text: String| LeaseToken::parse(&text).map_err(|_| corrupt());
        let lease = match (row.lease_token, row.lease_expires, row.lease_worker) {
            (Some(text), Some(expires), Some(worker)) => Some(Lease {
                token: token(text)?,
                expires_at: Timestamp::from_millis(expires),
                worker,
            }),
            _ => None,
        };
        Ok(Self {
            id: SummaryId::from_bytes(row.id.as_slice().try_into().map_err(|_| corrupt())?),
            user: UserId::from_bytes(row.user_id.as_slice().try_into().map_err(|_| corrupt())?),
            week: week(row.start)?,
            status: to_status(&row.status)?,
            revision: u64::try_from(row.revision).map(Revision::new).map_err(|_| corrupt())?,
            attempts: row.attempts,
            requested_at: Timestamp::from_millis(row.requested_at),
            started_at: row.started_at.map(Timestamp::from_millis),
            finished_at: row.finished_at.map(Timestamp::from_millis),
            not_before: Timestamp::from_millis(row.not_before),
            next_hint_at: Timestamp::from_millis(row.next_hint_at),
            lease,
            completed_by: row.completed_by.map(token).transpose()?,
            versions_read: parse(&row.versions_read)?,
            progress: row.progress.as_deref().map(parse).transpose()?,
            failure: row.failure.as_deref().map(parse).transpose()?,
            trace: row.trace,
        })
    }
}

/// A result without the days' emotions.
#[derive(FromRow)]
pub(super) struct ReflectionRow {
    reflection: String,
    engine: String,
    emotion_engine: String,
    truncated: String,
    token_usage: Option<String>,
    generated_at: i64,
}

impl ReflectionRow {
    pub(super) fn with_tags(self, tags: Vec<TagRow>) -> Result<ResultRecord, StoreError> {
        Ok(ResultRecord {
            reflection: self.reflection,
            engine: self.engine,
            emotion_engine: self.emotion_engine,
            emotions: tags.into_iter().map(DayEmotion::try_from).collect::<Result<_, _>>()?,
            truncated: parse(&self.truncated)?,
            usage: self.token_usage.as_deref().map(parse).transpose()?,
            generated_at: Timestamp::from_millis(self.generated_at),
        })
    }
}

#[derive(FromRow)]
pub(super) struct TagRow {
    date: u32,
    label: String,
    confidence: f64,
    distribution: String,
}

impl TryFrom<TagRow> for DayEmotion {
    type Error = StoreError;

    fn try_from(row: TagRow) -> Result<Self, StoreError> {
        Ok(Self {
            date: Date::from_number(row.date).map_err(|_| corrupt())?,
            label: row.label.parse().map_err(|_| corrupt())?,
            confidence: row.confidence,
            distribution: parse(&row.distribution)?,
        })
    }
}

fn to_status(name: &str) -> Result<SummaryStatus, StoreError> {
    use SummaryStatus::{Cancelled, Completed, Failed, Queued, Running};
    let all = [Queued, Running, Completed, Failed, Cancelled];
    all.into_iter().find(|status| status.as_str() == name).ok_or_else(corrupt)
}

fn week(start: u32) -> Result<Week, StoreError> {
    let start = Date::from_number(start).map_err(|_| corrupt())?;
    Week::starting(start).map_err(|_| corrupt())
}

pub(super) fn revision(row: &SummaryJob) -> i64 {
    i64::try_from(row.revision.get()).unwrap_or(i64::MAX)
}

pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| corrupt())
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| corrupt())
}

pub(super) fn corrupt() -> StoreError {
    StoreError::Corrupt { what: "a summary" }
}

#[derive(FromRow)]
pub(super) struct WeekStatusRow {
    start: u32,
    status: String,
    versions_read: String,
}

impl TryFrom<WeekStatusRow> for WeekStatus {
    type Error = StoreError;

    fn try_from(row: WeekStatusRow) -> Result<Self, StoreError> {
        Ok(Self {
            week: week(row.start)?,
            status: to_status(&row.status)?,
            versions_read: parse(&row.versions_read)?,
        })
    }
}
