//! A summariser that never ends, as a hung language model would not.

use std::{future::pending, sync::Arc};

use async_trait::async_trait;
use shiori_worker::{
    Pipeline,
    summarize::{SummarizeError, Summarizer, WeekText, Written},
};

#[derive(Debug)]
struct Hung;

#[async_trait]
impl Summarizer for Hung {
    fn engine(&self) -> &str {
        "hung/1"
    }

    async fn summarize(
        &self,
        _week: WeekText,
        _progress: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<Written, SummarizeError> {
        pending().await
    }
}

/// The built-in emotion model, and a summariser that never ends.
pub fn pipeline() -> Pipeline {
    Pipeline { summarizer: Arc::new(Hung), ..Pipeline::builtin() }
}
