//! Emotion models estimate the probability of each of the seven emotions for a text.

#[cfg(feature = "bert")]
mod bert;
mod day;
mod engine;
pub mod evaluation;
mod lexicon;
pub mod linear;

use async_trait::async_trait;
use shiori_sdk::{Date, DayEmotion, Distribution};

#[cfg(feature = "bert")]
pub use bert::{BertError, BertModel, BertOptions};
pub use day::{day_emotion, majority_emotion};
pub use engine::{EmotionEngine, EngineError, EngineOptions, UnknownEngine};
pub use lexicon::LexiconModel;
pub use linear::LinearModel;

/// Detects emotions in texts.
#[async_trait]
pub trait EmotionModel: Send + Sync + std::fmt::Debug {
    /// The name and version of the model, e.g. `lexicon/1`.
    fn engine(&self) -> &str;

    /// Returns one [`Judgement`] for each text, in the same order. Implementations must not block the
    /// async threads.
    ///
    /// # Errors
    ///
    /// [`EmotionError`] if the model fails.
    async fn judge(&self, texts: Vec<String>) -> Result<Vec<Judgement>, EmotionError>;

    /// The emotion of a day, from the judgements of its texts. Default: [`day_emotion`].
    fn day(&self, date: Date, judgements: &[Judgement]) -> DayEmotion {
        day_emotion(date, judgements)
    }
}

/// The emotion of one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// The probability of each emotion.
    pub distribution: Distribution,
    /// The weight of this text within its day: 0 if it contains no evidence, without upper bound.
    pub evidence: f64,
}

/// The emotion model failed. The message contains no diary text.
#[derive(Debug, thiserror::Error)]
#[error("the emotion model failed: {message}")]
pub struct EmotionError {
    /// A description, for people.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
}
