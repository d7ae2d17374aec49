use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shiori_worker::{
    Pipeline,
    summarize::{SummarizeError, Summarizer, WeekText, WritingProgress, Written},
};

/// The speed of a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// It responds immediately.
    AtOnce,
    /// It responds after ten seconds, like a real model.
    TenSeconds,
    /// It never responds.
    Never,
}

impl Pace {
    /// A short description.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "immediately",
            Self::TenSeconds => "after 10 s",
            Self::Never => "never",
        }
    }
}

/// A fake language model with a given speed.
#[derive(Debug)]
pub struct Model(Pace);

impl Model {
    /// The built-in emotion model, and a language model with this speed.
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
        _progress: WritingProgress<'_>,
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
