//! A fake summariser with configurable behaviour.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use shiori_worker::{
    Pipeline,
    summarize::{SummarizeError, Summarizer, WeekText, Writing, WritingProgress, Written},
};

/// The behaviour of the model.
#[derive(Debug, Clone, Copy)]
pub enum Behavior {
    /// Responds after this time.
    Slow(Duration),
    /// Never responds.
    Hang,
    /// Panics.
    Panic,
}

/// A summariser that counts its calls.
#[derive(Debug)]
pub struct FakeModel {
    behavior: Behavior,
    /// The number of all requests.
    pub calls: AtomicU32,
    /// The number of requests in progress.
    pub open: AtomicU32,
    /// The maximum number of concurrent requests.
    pub max_open: AtomicU32,
}

impl FakeModel {
    pub fn new(behavior: Behavior) -> Arc<Self> {
        Arc::new(Self {
            behavior,
            calls: AtomicU32::new(0),
            open: AtomicU32::new(0),
            max_open: AtomicU32::new(0),
        })
    }

    /// The built-in pipeline with this summariser.
    pub fn pipeline(self: &Arc<Self>) -> Pipeline {
        Pipeline { summarizer: self.clone(), ..Pipeline::builtin() }
    }
}

/// A pipeline whose summariser never responds.
pub fn hanging_pipeline() -> Pipeline {
    FakeModel::new(Behavior::Hang).pipeline()
}

/// Counts a request as open until it is dropped.
struct Open<'a>(&'a FakeModel);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Summarizer for FakeModel {
    fn engine(&self) -> &'static str {
        "fake/1"
    }

    async fn summarize(
        &self,
        _week: WeekText,
        progress: WritingProgress<'_>,
    ) -> Result<Written, SummarizeError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.max_open.fetch_max(open, Ordering::SeqCst);
        let _open = Open(self);
        progress(Writing::characters(1));
        match self.behavior {
            Behavior::Slow(pause) => tokio::time::sleep(pause).await,
            Behavior::Hang => pending().await,
            Behavior::Panic => panic!("the model panics"),
        }
        let reflection = "천천히 쓴 글이에요.".to_owned();
        Ok(Written::new(reflection, self.engine()))
    }
}
