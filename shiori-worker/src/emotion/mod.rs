//! Emotion models: from a block of text to how likely each of the seven emotions is.

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

/// Reads emotions from text.
#[async_trait]
pub trait EmotionModel: Send + Sync + std::fmt::Debug {
    /// What the model is, with its edition, e.g. `lexicon/1`.
    fn engine(&self) -> &str;

    /// Judges each text; the answer has one [`Judgement`] for each, in the same order.
    /// Implementations keep CPU work off the async threads.
    ///
    /// # Errors
    ///
    /// [`EmotionError`] when the model cannot judge.
    async fn judge(&self, texts: Vec<String>) -> Result<Vec<Judgement>, EmotionError>;

    /// The emotion of a day, from the judgements of its texts: [`day_emotion`], unless the model
    /// has a rule of its own.
    fn day(&self, date: Date, judgements: &[Judgement]) -> DayEmotion {
        day_emotion(date, judgements)
    }
}

/// What a model makes of one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// How likely each emotion is. Its label is the text's emotion.
    pub distribution: Distribution,
    /// How much there was to go by: 0 for none at all, growing without bound. It weighs a block
    /// against the others of its day.
    pub evidence: f64,
}

/// The emotion model cannot judge. The message holds no diary text.
#[derive(Debug, thiserror::Error)]
#[error("the emotion model failed: {message}")]
pub struct EmotionError {
    /// What failed.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
}
