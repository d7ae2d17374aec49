use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use shiori_worker::{
    Pipeline,
    summarize::{SummarizeError, Summarizer, WeekText, Written},
};

/// How fast a language model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    AtOnce,
    /// After ten seconds, as a real one may.
    TenSeconds,
    /// Never.
    Never,
}

impl Pace {
    /// The pace in a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::TenSeconds => "after 10 s",
            Self::Never => "never",
        }
    }
}

/// Stands in for a language model of a given pace.
#[derive(Debug)]
pub struct Model(Pace);

impl Model {
    /// The built-in emotion model, and a language model of this pace.
    pub fn pipeline(pace: Pace) -> Pipeline {
        Pipeline { summarizer: Arc::new(Self(pace)), ..Pipeline::builtin() }
    }
}

#[async_trait]
impl Summarizer for Model {
    fn engine(&self) -> &'static str {
        "bench/1"
    }

    async fn summarize(
        &self,
        _week: WeekText,
        _progress: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<Written, SummarizeError> {
        match self.0 {
            Pace::AtOnce => {}
            Pace::TenSeconds => tokio::time::sleep(Duration::from_secs(10)).await,
            Pace::Never => pending().await,
        }
        let reflection = "잘 지낸 한 주였어요.".to_owned();
        Ok(Written::new(reflection, self.engine()))
    }
}
