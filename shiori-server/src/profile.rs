//! Chooses the stores by their URLs. Nothing else asks which profile runs.

use std::{path::PathBuf, sync::Arc};

use shiori_worker::{JobQueue, queue::InProcessQueue};

use crate::{
    config::Config,
    store::{AccountStore, DiaryStore, SessionStore, StoreError, SummaryStore},
};

/// Hints that the in-process queue holds; the dispatcher offers those beyond again.
const QUEUE_CAPACITY: usize = 10_000;

/// The stores and the queue that the configuration names.
pub(crate) struct Profile {
    pub(crate) accounts: Arc<dyn AccountStore>,
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) diaries: Arc<dyn DiaryStore>,
    pub(crate) summaries: Arc<dyn SummaryStore>,
    pub(crate) queue: Arc<dyn JobQueue>,
    #[cfg(feature = "embedded")]
    sqlite: crate::store::sqlite::SqliteStore,
}

/// A store cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The URL names an engine that this build does not have.
    #[error("no store for the scheme of {setting}")]
    UnknownScheme {
        /// The setting that holds the URL.
        setting: &'static str,
    },
    /// The store does not answer.
    #[error("cannot open the store of {setting}")]
    Open {
        /// The setting that holds the URL.
        setting: &'static str,
        /// Why.
        source: StoreError,
    },
}

impl Profile {
    /// Opens everything.
    #[cfg(feature = "embedded")]
    pub(crate) async fn open(config: &Config) -> Result<Self, ProfileError> {
        use crate::store::sqlite::SqliteStore;

        let setting = "SHIORI_DATABASE_URL";
        let path = config
            .database_url
            .strip_prefix("sqlite:")
            .map(|path| PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
            .ok_or(ProfileError::UnknownScheme { setting })?;
        let store = SqliteStore::open(&path)
            .await
            .map_err(|source| ProfileError::Open { setting, source })?;
        let shared = Arc::new(store.clone());
        Ok(Self {
            accounts: shared.clone(),
            sessions: shared.clone(),
            diaries: shared.clone(),
            summaries: shared,
            queue: Arc::new(InProcessQueue::new(QUEUE_CAPACITY, config.clock.clone())),
            sqlite: store,
        })
    }

    /// Closes what was opened.
    pub(crate) async fn close(self) {
        #[cfg(feature = "embedded")]
        self.sqlite.close().await;
    }
}
