//! The built-in model, second edition: weights for pieces of words, learnt from labelled sentences,
//! and for what the lexicon says. `docs/emotion-model.md` tells where they come from.

#[doc(hidden)]
pub mod features;
#[cfg(test)]
mod tests;
#[doc(hidden)]
pub mod weights;

use std::sync::LazyLock;

use async_trait::async_trait;
use shiori_sdk::{Distribution, Emotion};

use self::{features::Features, weights::Weights};
use super::{EmotionError, EmotionModel, Judgement};

/// Reads emotions off the letters of a text and off what [`LexiconModel`](super::LexiconModel) says
/// of it. It needs no network and next to no time, and says the same of the same text always.
///
/// The weights are part of the program (384 KiB, and as much memory). They know everyday Korean,
/// and of English what the lexicon knows and little more.
///
/// The evidence is the lexicon's, and how far the distribution is from knowing nothing: at most
/// ln 7 ≈ 1.95, in nats. A text without a letter or an emoji is [`Distribution::UNIFORM`] with
/// evidence 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinearModel;

impl LinearModel {
    /// The model with its built-in weights.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl EmotionModel for LinearModel {
    fn engine(&self) -> &'static str {
        "linear/1"
    }

    async fn judge(&self, texts: Vec<String>) -> Result<Vec<Judgement>, EmotionError> {
        let all = move || texts.iter().map(|text| judge(text)).collect();
        tokio::task::spawn_blocking(all).await.map_err(|_| EmotionError {
            message: "the linear model was interrupted".to_owned(),
            retryable: true,
        })
    }
}

/// The built-in weights, read at their first use.
static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| {
    Weights::from_bytes(include_bytes!("weights.bin"))
        .unwrap_or_else(|error| unreachable!("{error}, which the tests rule out"))
});

fn judge(text: &str) -> Judgement {
    let features = Features::of(text);
    if features.is_empty() {
        return Judgement { distribution: Distribution::UNIFORM, evidence: 0.0 };
    }
    let scores = WEIGHTS.scores(&features).map(f64::from);
    let highest = scores.iter().copied().fold(f64::MIN, f64::max);
    let distribution = Distribution::from_weights(scores.map(|score| (score - highest).exp()));
    Judgement { distribution, evidence: features.evidence + knowledge(&distribution) }
}

/// How far a distribution is from knowing nothing: its relative entropy to the uniform one, in
/// nats.
fn knowledge(distribution: &Distribution) -> f64 {
    let probabilities = distribution.probabilities().into_iter().filter(|p| *p > 0.0);
    let kinds = Emotion::ALL.iter().map(|_| 1.0).sum::<f64>();
    probabilities.map(|p| p * (p * kinds).ln()).sum::<f64>().max(0.0)
}
