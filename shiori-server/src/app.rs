use std::{ops::Deref, sync::Arc};

use shiori_sdk::UserId;
use shiori_worker::Clock;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{PasswordHasher, TokenKeys, UserHash},
    changes::Changes,
    config::{Limits, Network, Origin, SessionPolicy, SignUpPolicy},
    diary_writes::DiaryWrites,
    metrics::Metrics,
    overload::Overload,
    slots::Slots,
    store::{AccountStore, DayStore, DiaryStore, SessionStore},
    summary::Summaries,
};

/// The shared state of all handlers.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Parts>);

/// The parts of an [`App`].
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) accounts: Arc<dyn AccountStore>,
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) diaries: Arc<dyn DiaryStore>,
    pub(crate) days: Arc<dyn DayStore>,
    pub(crate) summaries: Summaries,
    pub(crate) changes: Changes,
    pub(crate) passwords: PasswordHasher,
    pub(crate) tokens: TokenKeys,
    /// Hashes user ids for the log.
    pub(crate) user_hash: UserHash,
    pub(crate) limits: Limits,
    pub(crate) session_policy: SessionPolicy,
    pub(crate) sign_ups: SignUpPolicy,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) cors_origins: Vec<Origin>,
    /// The tokens that authenticate workers.
    pub(crate) internal_tokens: Vec<shiori_worker::Secret>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) overload: Overload,
    pub(crate) exports: Slots<UserId>,
    /// The long-polls and event streams of each user.
    pub(crate) waits_of_users: Slots<UserId>,
    /// Cancelled when the server begins to stop; waiting requests then return immediately.
    pub(crate) stopping: CancellationToken,
}

impl Parts {
    /// The changes of diaries.
    pub(crate) fn diary_writes(&self) -> DiaryWrites<'_> {
        DiaryWrites { store: &*self.diaries, changes: &self.changes }
    }
}

impl From<Parts> for App {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
