//! Summarisers: from a week of diaries and their emotions to a reflection.

mod extractive;
mod language;
#[cfg(feature = "openai")]
pub mod openai;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use shiori_sdk::{Date, DayEmotion, FailureKind};

use crate::protocol::TokenUsage;

pub use extractive::ExtractiveSummarizer;
#[cfg(feature = "openai")]
pub use openai::{OpenAiConfig, OpenAiSummarizer};

/// Characters that a reflection has at most.
pub const MAX_REFLECTION_CHARS: usize = 500;

/// Writes the reflection on a week.
#[async_trait]
pub trait Summarizer: Send + Sync + fmt::Debug {
    /// What the summariser is, with its edition, e.g. `extractive/1`.
    fn engine(&self) -> &str;

    /// Writes the reflection. `progress` is called with the number of characters written so far,
    /// as often as the implementation likes. Implementations keep CPU work off the async
    /// threads.
    ///
    /// # Errors
    ///
    /// [`SummarizeError`] when there is none to be had now, or at all.
    async fn summarize(
        &self,
        week: WeekText,
        progress: &(dyn Fn(u32) + Send + Sync),
    ) -> Result<Written, SummarizeError>;
}

/// What a summariser wrote. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    /// The reflection, at most [`MAX_REFLECTION_CHARS`] characters.
    pub reflection: String,
    /// What wrote it; another than [`Summarizer::engine`] where a fallback stood in.
    pub engine: String,
    /// The days of which the writer was given less than all, for they were too long.
    pub truncated: Vec<Date>,
    /// What it took, where a language model tells.
    pub usage: Option<TokenUsage>,
}

impl Written {
    /// A reflection on all of a week's text.
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

/// There is no reflection to be had. The message holds no diary text and no secret.
#[derive(Debug, thiserror::Error)]
#[error("the summariser failed: {message}")]
pub struct SummarizeError {
    /// What failed, for programs.
    pub kind: FailureKind,
    /// What failed, for people.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// How long the provider asks to wait before another attempt.
    pub retry_after: Option<Duration>,
}
