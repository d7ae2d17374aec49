//! The stores in memory, for tests. Each step has awaits before and after its effect, at which a
//! simulation can delay it, crash its caller or make it fail, with the effect applied or not.
//!
//! The stores pass the contracts of the real ones. Their steps take the time as an argument, so that
//! it is that of the caller's clock.

mod diary;
mod revision;
mod summary;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use shiori_sdk::{Date, SummaryId, UserId, Version};

use super::{AppliedSave, NewVersion, ResultRecord, RevisionRecord, StoreError};
use crate::summary::SummaryJob;

/// What happens around the effect of each step.
#[async_trait]
pub(crate) trait Steps: Send + Sync + fmt::Debug {
    /// Runs before the effect. After an error, the step has no effect.
    async fn before(&self, step: &'static str) -> Result<(), StoreError>;

    /// Runs after the effect. After an error, the caller does not know that the step was applied.
    async fn after(&self, step: &'static str) -> Result<(), StoreError>;

    /// The effect of a step, at the moment of its effect.
    fn applied(&self, effect: Effect<'_>);
}

/// What a step has changed.
#[derive(Debug)]
pub(crate) enum Effect<'a> {
    /// A save was applied to a date with this version.
    Saved { save: &'a NewVersion, before: Version, saved: AppliedSave },
    /// The version of a date has changed without a save.
    Changed { date: Date, before: Version, after: Version },
    /// A summary was inserted.
    Inserted(&'a SummaryJob),
    /// A summary was changed, and this result was stored.
    Swapped { before: &'a SummaryJob, after: &'a SummaryJob, result: Option<&'a ResultRecord> },
}

/// A fault of the store that a simulation must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A save over the version before the current one is applied, too.
    WeakSave,
    /// The ids of saves are forgotten.
    ForgottenSaveId,
    /// A step of a summary is applied although the summary has changed in the meantime.
    WeakSwap,
}

/// Diaries, revisions and summaries in memory. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct MemoryStore {
    state: Arc<Mutex<State>>,
    steps: Arc<dyn Steps>,
    fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct State {
    diaries: BTreeMap<(UserId, Date), diary::Slot>,
    revisions: BTreeMap<(UserId, Date, Version), RevisionRecord>,
    summaries: BTreeMap<SummaryId, summary::Row>,
    /// The day of each user's last request for a summary, and the requests of that day.
    requests: BTreeMap<UserId, (i64, u32)>,
}

impl MemoryStore {
    /// An empty store.
    pub(crate) fn new(steps: Arc<dyn Steps>, fault: Option<Fault>) -> Self {
        Self { state: Arc::default(), steps, fault }
    }

    /// The same data with other steps.
    pub(crate) fn with_steps(&self, steps: Arc<dyn Steps>) -> Self {
        Self { steps, ..self.clone() }
    }

    /// Runs one atomic step.
    async fn step<T>(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut State) -> T + Send,
    ) -> Result<T, StoreError> {
        self.steps.before(name).await?;
        let outcome = effect(&mut self.lock());
        self.steps.after(name).await?;
        Ok(outcome)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Steps that only yield.
#[derive(Debug)]
pub(crate) struct Immediate;

#[async_trait]
impl Steps for Immediate {
    async fn before(&self, _: &'static str) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn after(&self, _: &'static str) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        Ok(())
    }

    fn applied(&self, _: Effect<'_>) {}
}

mod tests {
    use super::*;
    use crate::store::{DiaryStore, SummaryStore};

    fn open() -> MemoryStore {
        MemoryStore::new(Arc::new(Immediate), None)
    }

    crate::diary_contract!(async { (Arc::new(open()) as Arc<dyn DiaryStore>, ()) });

    crate::revision_contract!(async { (Arc::new(open()) as Arc<dyn DiaryStore>, ()) });

    crate::summary_contract!(async { (Arc::new(open()) as Arc<dyn SummaryStore>, ()) });
}
