//! Summarisers write a reflection on a week of diaries and their emotions.

mod extractive;
mod language;
#[cfg(feature = "openai")]
pub mod openai;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use shiori_sdk::{Date, DayEmotion, FailureKind};

use crate::{MetricsRegistry, TraceParent, protocol::TokenUsage};

pub use extractive::ExtractiveSummarizer;
#[cfg(feature = "openai")]
pub use openai::{OpenAiConfig, OpenAiSummarizer};

/// Maximum characters of a reflection.
pub const MAX_REFLECTION_CHARS: usize = 500;

/// Writes the reflection on a week.
#[async_trait]
pub trait Summarizer: Send + Sync + fmt::Debug {
    /// The name and version of the summariser, e.g. `extractive/1`.
    fn engine(&self) -> &str;

    /// Whether a request would be sent now. Default [`Availability::Ready`].
    fn availability(&self) -> Availability {
        Availability::Ready
    }

    /// Registers the metrics of this summariser. Default none.
    fn register_metrics(&self, _registry: &mut MetricsRegistry<'_>) {}

    /// Writes the reflection. Implementations may call `progress` at any rate, and must not block
    /// the async threads.
    ///
    /// # Errors
    ///
    /// [`SummarizeError`], which contains whether another attempt may succeed.
    async fn summarize(
        &self,
        week: WeekText,
        progress: WritingProgress<'_>,
    ) -> Result<Written, SummarizeError>;
}

/// What a summariser has written so far. `Debug` does not show the text.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Writing<'a> {
    /// The characters that the model has written, including those that are not shown.
    pub characters: u32,
    /// The text that can be shown to the user: a beginning of the reflection, as far as can be known.
    /// Empty while there is none. It replaces the text of the last call.
    pub text: &'a str,
}

/// Receives what a summariser has written so far.
pub type WritingProgress<'a> = &'a (dyn Fn(Writing<'_>) + Send + Sync);

impl Writing<'_> {
    /// This many characters, and no text that can be shown.
    pub fn characters(characters: u32) -> Self {
        Self { characters, text: "" }
    }
}

impl fmt::Debug for Writing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing").field("characters", &self.characters).finish_non_exhaustive()
    }
}

/// Whether a summariser sends requests to its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Every request is sent.
    Ready,
    /// The model kept failing; one request is sent to find out whether it has recovered.
    Probe,
    /// The model keeps failing; requests fail without being sent for about this long.
    Suspended(Duration),
}

/// A reflection and its origin. `Debug` does not show the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    /// The reflection, at most [`MAX_REFLECTION_CHARS`] characters.
    pub reflection: String,
    /// The engine that wrote it. Differs from [`Summarizer::engine`] if a fallback was used.
    pub engine: String,
    /// The days whose text was shortened because it was too long.
    pub truncated: Vec<Date>,
    /// Token usage, if a language model reported it.
    pub usage: Option<TokenUsage>,
}

impl Written {
    /// A reflection on a week that was not shortened, without usage.
    pub fn new(reflection: impl Into<String>, engine: impl Into<String>) -> Self {
        Self {
            reflection: reflection.into(),
            engine: engine.into(),
            truncated: Vec::new(),
            usage: None,
        }
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// A week to be summarised, in the order of its days.
#[derive(Debug, Clone)]
pub struct WeekText {
    /// The days that have a diary, in order.
    pub days: Vec<DayText>,
    /// The trace of the request for the summary, for the requests of a language model. `None` without
    /// one.
    pub trace: Option<TraceParent>,
}

/// One day to be summarised. `Debug` shows no text.
#[derive(Clone)]
pub struct DayText {
    /// The day.
    pub date: Date,
    /// The diary's title; may be empty.
    pub title: String,
    /// The text of each block, in reading order.
    pub blocks: Vec<String>,
    /// The day's emotion.
    pub emotion: DayEmotion,
}

impl fmt::Debug for DayText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DayText")
            .field("date", &self.date)
            .field("blocks", &self.blocks.len())
            .field("emotion", &self.emotion.label)
            .finish_non_exhaustive()
    }
}

/// The summariser failed. The message contains no diary text and no secret.
#[derive(Debug, thiserror::Error)]
#[error("the summariser failed: {message}")]
pub struct SummarizeError {
    /// The kind of failure, for programs.
    pub kind: FailureKind,
    /// A description, for people.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// The provider's `Retry-After`: the time to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// Whether the attempt counts towards the server's maximum. It does not if the model was not
    /// reached, or rejected the request because of its rate limit.
    pub costs_attempt: bool,
}
