//! The built-in summariser: it selects sentences of the diaries and quotes them in a short text.

mod arc;
mod compose;
mod rank;
mod sentence;

use async_trait::async_trait;
use shiori_sdk::FailureKind;

use super::{
    MAX_REFLECTION_CHARS, SummarizeError, Summarizer, WeekText, Writing, WritingProgress, Written,
    language::Language,
};

/// The summariser's name and version.
const ENGINE: &str = "extractive/1";

/// The built-in summariser (`extractive/1`).
///
/// It ranks the week's sentences by TextRank (Mihalcea and Tarau, 2004) over shared bigrams, and by
/// the emotion of their days. It selects a few from different days by maximal marginal relevance
/// (Carbonell and Goldstein, 1998) and quotes them unchanged in a short reflection on how the
/// week's mood changed. The reflection is in Korean for diaries in Korean, otherwise in English.
/// The same week always yields the same text.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtractiveSummarizer;

impl ExtractiveSummarizer {
    /// The summariser. It has no state.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Summarizer for ExtractiveSummarizer {
    fn engine(&self) -> &str {
        ENGINE
    }

    async fn summarize(
        &self,
        week: WeekText,
        progress: WritingProgress<'_>,
    ) -> Result<Written, SummarizeError> {
        let reflection = tokio::task::spawn_blocking(move || reflect(&week)).await;
        let error = |kind, message: &str| SummarizeError {
            kind,
            message: message.to_owned(),
            retryable: false,
            retry_after: None,
            costs_attempt: true,
        };
        let reflection = reflection
            .map_err(|_| error(FailureKind::Internal, "the extractive summariser panicked"))?
            .ok_or_else(|| error(FailureKind::NoText, "the week's diaries contain no text"))?;
        let characters = u32::try_from(reflection.chars().count()).unwrap_or(u32::MAX);
        // The result follows at once, so the text is not sent before it.
        progress(Writing::characters(characters));
        Ok(Written::new(reflection, ENGINE))
    }
}

/// The reflection on a week; `None` if the week has no text.
fn reflect(week: &WeekText) -> Option<String> {
    let sentences = sentence::of_week(week);
    if sentences.is_empty() {
        return None;
    }
    let chosen = rank::choose(&sentences);
    let labels: Vec<_> = week.days.iter().map(|day| day.emotion.label).collect();
    let language = Language::of(sentences.iter().map(|sentence| sentence.text.as_str()));
    let reflection = compose::reflection(language.wording(), arc::MoodArc::of(&labels), &chosen);
    debug_assert!(reflection.chars().count() <= MAX_REFLECTION_CHARS);
    Some(reflection)
}

#[cfg(test)]
mod tests;
