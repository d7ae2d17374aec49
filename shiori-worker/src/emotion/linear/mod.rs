//! The built-in model: a linear classifier over n-grams of letters and the hits of the lexicon,
//! trained on labelled sentences. `docs/emotion-model.md` documents the data and the training.

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

/// A linear classifier over the letters of a text and the hits of
/// [`LexiconModel`](super::LexiconModel). It needs no network and is deterministic.
///
/// The weights are part of the program (384 KiB). They were trained on everyday Korean; for English
/// they add little to the lexicon.
///
/// The evidence is the lexicon's plus the relative entropy of the distribution to the uniform one, at
/// most ln 7 ≈ 1.95 nats. A text without a letter or an emoji is [`Distribution::UNIFORM`] with
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

/// The built-in weights, parsed on first use.
static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| {
    Weights::from_bytes(include_bytes!("weights.bin"))
        .expect("a test reads the same built-in weights")
});

fn judge(text: &str) -> Judgement {
    let features = Features::of(text);
    if features.is_empty() {
        return Judgement { distribution: Distribution::UNIFORM, evidence: 0.0 };
    }
    let scores = WEIGHTS.scores(&features).map(f64::from);
    let highest = scores.iter().copied().fold(f64::MIN, f64::max);
    let distribution = Distribution::from_weights(scores.map(|score| (score - highest).exp()));
    Judgement { distribution, evidence: features.evidence + relative_entropy(&distribution) }
}

/// The relative entropy of a distribution to the uniform one, in nats.
fn relative_entropy(distribution: &Distribution) -> f64 {
    let probabilities = distribution.probabilities().into_iter().filter(|p| *p > 0.0);
    let kinds = Emotion::ALL.iter().map(|_| 1.0).sum::<f64>();
    probabilities.map(|p| p * (p * kinds).ln()).sum::<f64>().max(0.0)
}
