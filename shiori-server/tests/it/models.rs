//! Summarisers that stand in for a language model and its moods.

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
    summarize::{SummarizeError, Summarizer, WeekText, Written},
};

/// What a model does with each request.
#[derive(Debug, Clone, Copy)]
pub enum Mood {
    /// Answers after a while.
    Slow(Duration),
    /// Never answers.
    Hung,
    /// Panics.
    Mad,
}

/// A model in some mood, and what it has seen.
#[derive(Debug)]
pub struct Model {
    mood: Mood,
    /// Requests so far.
    pub calls: AtomicU32,
    /// Requests that are neither answered nor given up.
    pub open: AtomicU32,
    /// The most requests that were open at once.
    pub most: AtomicU32,
}

impl Model {
    pub fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood,
            calls: AtomicU32::new(0),
            open: AtomicU32::new(0),
            most: AtomicU32::new(0),
        })
    }

    /// The built-in emotion model with this one as the summariser.
    pub fn pipeline(self: &Arc<Self>) -> Pipeline {
        Pipeline { summarizer: self.clone(), ..Pipeline::builtin() }
    }
}

/// A pipeline whose summariser never answers.
pub fn hung() -> Pipeline {
    Model::new(Mood::Hung).pipeline()
}

/// Counts a request as open until it is dropped.
struct Open<'a>(&'a Model);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Summarizer for Model {
    fn engine(&self) -> &'static str {
        "moody/1"
    }

    async fn summarize(
        &self,
        _week: WeekText,
        progress: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<Written, SummarizeError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        let _open = Open(self);
        progress(1);
        match self.mood {
            Mood::Slow(pause) => tokio::time::sleep(pause).await,
            Mood::Hung => pending().await,
            Mood::Mad => panic!("the model lost its mind"),
        }
        let reflection = "천천히 쓴 글이에요.".to_owned();
        Ok(Written::new(reflection, self.engine()))
    }
}
