use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use shiori_worker::{
    Pipeline,
    summarize::{SummarizeError, Summarizer, WeekText, Writing, WritingProgress, Written},
};
use uuid::Uuid;

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

/// A fake language model that writes another text each time, so that two runs of one summary can be
/// distinguished.
#[derive(Debug)]
pub struct DistinctModel {
    max_latency: Duration,
}

impl DistinctModel {
    /// Parts in which a text is written.
    const PARTS: u32 = 10;

    /// A model that takes a random time, at most this.
    pub fn new(max_latency: Duration) -> Self {
        Self { max_latency }
    }
}

#[async_trait]
impl Summarizer for DistinctModel {
    fn engine(&self) -> &'static str {
        "distinct/1"
    }

    async fn summarize(
        &self,
        _week: WeekText,
        progress: WritingProgress<'_>,
    ) -> Result<Written, SummarizeError> {
        let latency = self.max_latency.mul_f64(rand::rng().random());
        for part in 1..=Self::PARTS {
            tokio::time::sleep(latency / Self::PARTS).await;
            progress(Writing::characters(part));
        }
        Ok(Written::new(Uuid::new_v4().to_string(), self.engine()))
    }
}
