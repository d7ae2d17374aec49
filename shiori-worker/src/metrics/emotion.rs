//! The time and the number of texts of an emotion model.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use shiori_sdk::{Date, DayEmotion};

use super::WorkerMetrics;
use crate::emotion::{EmotionError, EmotionModel, Judgement};

/// An emotion model whose calls are counted.
#[derive(Debug)]
pub(crate) struct ObservedEmotionModel {
    pub(crate) model: Arc<dyn EmotionModel>,
    pub(crate) metrics: WorkerMetrics,
}

#[async_trait]
impl EmotionModel for ObservedEmotionModel {
    fn engine(&self) -> &str {
        self.model.engine()
    }

    async fn judge(&self, texts: Vec<String>) -> Result<Vec<Judgement>, EmotionError> {
        let (count, started) = (texts.len(), Instant::now());
        let judged = self.model.judge(texts).await;
        match &judged {
            Ok(_) => self.metrics.classified(count, started.elapsed()),
            Err(_) => self.metrics.classification_failed(),
        }
        judged
    }

    fn day(&self, date: Date, judgements: &[Judgement]) -> DayEmotion {
        self.model.day(date, judgements)
    }
}
