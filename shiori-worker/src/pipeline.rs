use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use shiori_sdk::{DayEmotion, FailureKind, Progress, ProgressPhase};

use crate::{
    TraceParent,
    emotion::{EmotionModel, LinearModel},
    protocol::ClaimedDay,
    summarize::{
        DayText, ExtractiveSummarizer, SummarizeError, Summarizer, WeekText, Writing,
        WritingProgress, Written,
    },
};

/// The models that process a week of texts: first the emotions, then the reflection.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Detects the emotions of texts.
    pub emotion: Arc<dyn EmotionModel>,
    /// Writes the reflection.
    pub summarizer: Arc<dyn Summarizer>,
    /// Writes the reflection after a failure of `summarizer` that is not retryable, or on the last
    /// attempt. Default none: the summary fails.
    pub fallback: Option<Arc<dyn Summarizer>>,
}

/// The result of the pipeline.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) written: Written,
    pub(crate) emotion_engine: String,
    pub(crate) emotions: Vec<DayEmotion>,
}

/// What the pipeline reports while it runs: the progress, and the text so far, which is empty until
/// there is one.
pub(crate) type Report<'a> = &'a (dyn Fn(Progress, &str) + Send + Sync);

/// Whether further attempts follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// Whether the server counts no further attempt.
    pub(crate) is_last: bool,
    /// Whether no attempt follows even if this one is not counted; `None` if the server counts all.
    pub(crate) is_overdue: Option<bool>,
}

impl Attempt {
    /// Whether a failure with this error is final, because no attempt follows.
    fn is_final(self, error: &SummarizeError) -> bool {
        match self.is_overdue {
            Some(is_overdue) => is_overdue || (self.is_last && error.costs_attempt),
            None => self.is_last,
        }
    }
}

/// The pipeline failed. The message contains no diary text and no secret.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PipelineError {
    /// The kind of failure, for programs.
    pub kind: FailureKind,
    /// A description, for people.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// How long to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// Whether the attempt counts towards the server's maximum.
    pub costs_attempt: bool,
}

impl Pipeline {
    /// The built-in models, which need neither a network nor files.
    pub fn builtin() -> Self {
        Self {
            emotion: Arc::new(LinearModel::new()),
            summarizer: Arc::new(ExtractiveSummarizer::new()),
            fallback: None,
        }
    }

    /// Runs both models. `trace` is passed to the summariser. A panic of a model is returned as an
    /// error.
    pub(crate) async fn run(
        &self,
        days: Vec<ClaimedDay>,
        trace: Option<TraceParent>,
        attempt: Attempt,
        report: Report<'_>,
    ) -> Result<Outcome, PipelineError> {
        let run = AssertUnwindSafe(self.run_models(days, trace, attempt, report));
        run.catch_unwind().await.unwrap_or_else(|_| {
            Err(PipelineError {
                kind: FailureKind::Internal,
                message: "a model panicked".to_owned(),
                retryable: true,
                retry_after: None,
                costs_attempt: true,
            })
        })
    }

    async fn run_models(
        &self,
        days: Vec<ClaimedDay>,
        trace: Option<TraceParent>,
        attempt: Attempt,
        report: Report<'_>,
    ) -> Result<Outcome, PipelineError> {
        if days.iter().all(|day| texts(day).next().is_none()) {
            return Err(PipelineError {
                kind: FailureKind::NoText,
                message: "the week's diaries contain no text".to_owned(),
                retryable: false,
                retry_after: None,
                costs_attempt: true,
            });
        }
        report(Progress { phase: ProgressPhase::Emotions, characters: 0 }, "");
        let emotions = self.judge(&days).await?;
        report(Progress { phase: ProgressPhase::Writing, characters: 0 }, "");
        let week = WeekText {
            days: days
                .into_iter()
                .zip(&emotions)
                .map(|(day, emotion)| DayText {
                    date: day.date,
                    title: day.title,
                    blocks: day.texts,
                    emotion: *emotion,
                })
                .collect(),
            trace,
        };
        let writing = |Writing { characters, text }: Writing<'_>| {
            report(Progress { phase: ProgressPhase::Writing, characters }, text);
        };
        let written = self.write(week, attempt, &writing).await.map_err(|error| PipelineError {
            kind: error.kind,
            message: error.message,
            retryable: error.retryable,
            retry_after: error.retry_after,
            costs_attempt: error.costs_attempt,
        })?;
        Ok(Outcome { written, emotion_engine: self.emotion.engine().to_owned(), emotions })
    }

    /// Writes the reflection. Uses the fallback if the summariser fails and no attempt follows.
    async fn write(
        &self,
        week: WeekText,
        attempt: Attempt,
        progress: WritingProgress<'_>,
    ) -> Result<Written, SummarizeError> {
        let Some(fallback) = &self.fallback else {
            let written = self.summarizer.summarize(week, progress).await;
            return written.map_err(|error| SummarizeError {
                retryable: error.retryable && !attempt.is_final(&error),
                ..error
            });
        };
        match self.summarizer.summarize(week.clone(), progress).await {
            Err(error) if attempt.is_final(&error) || !error.retryable => {
                let (kind, engine) = (error.kind.as_str(), fallback.engine());
                tracing::warn!(kind, %error, engine, "the summariser failed, using the fallback");
                progress(Writing::default());
                fallback.summarize(week, progress).await
            }
            other => other,
        }
    }

    /// The emotion of each day. The model receives the whole week in one call, so that it can
    /// batch.
    async fn judge(&self, days: &[ClaimedDay]) -> Result<Vec<DayEmotion>, PipelineError> {
        let all: Vec<String> = days.iter().flat_map(texts).map(str::to_owned).collect();
        let expected = all.len();
        let failed = |message, retryable| PipelineError {
            kind: FailureKind::EmotionModel,
            message,
            retryable,
            retry_after: None,
            costs_attempt: true,
        };
        let judged = self.emotion.judge(all).await;
        let judgements = judged.map_err(|error| failed(error.message, error.retryable))?;
        if judgements.len() != expected {
            return Err(failed("the emotion model returned too few results".to_owned(), false));
        }
        let mut rest = judgements.as_slice();
        let emotion = |day: &ClaimedDay| {
            let (own, others) = rest.split_at(texts(day).count());
            rest = others;
            self.emotion.day(day.date, own)
        };
        Ok(days.iter().map(emotion).collect())
    }
}

/// The texts of a day: its title, then its blocks.
fn texts(day: &ClaimedDay) -> impl Iterator<Item = &str> {
    let title = Some(day.title.as_str());
    title.into_iter().chain(day.texts.iter().map(String::as_str)).filter(|t| !t.trim().is_empty())
}
