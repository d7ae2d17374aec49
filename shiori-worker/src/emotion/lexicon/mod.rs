//! The built-in model: a hand-written table of stems and a few rules of grammar.

mod reading;
mod table;
#[cfg(test)]
mod tests;
mod words;

use async_trait::async_trait;
use shiori_sdk::{Distribution, Emotion};

use super::{EmotionError, EmotionModel, Judgement};
pub(super) use reading::read;
pub(super) use words::{Sentence, sentences};

/// Detects emotions by the Korean and English words of a text. It needs no weights and no network,
/// and is deterministic.
///
/// It looks up the stems and expressions of its table, and weights each hit by its context:
///
/// - Intensifiers (너무, 정말, very) increase the weight, diminishers (조금, slightly) decrease it.
///   Exclamation marks, ㅠㅠ and ㅋㅋ increase the weight of their whole sentence.
/// - Negated happiness (안 기쁘다, not happy) counts as mild sadness. Any other negated emotion (무섭지
///   않다, no fear) counts as neutral with a quarter of its weight.
///
/// A text without hits is [`Distribution::UNIFORM`] with evidence 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct LexiconModel;

impl LexiconModel {
    /// The model with its built-in table.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl EmotionModel for LexiconModel {
    fn engine(&self) -> &'static str {
        "lexicon/1"
    }

    async fn judge(&self, texts: Vec<String>) -> Result<Vec<Judgement>, EmotionError> {
        let all = move || texts.iter().map(|text| judge(text)).collect();
        tokio::task::spawn_blocking(all).await.map_err(|_| EmotionError {
            message: "the lexicon was interrupted".to_owned(),
            retryable: true,
        })
    }
}

/// The prior weight of every emotion. With it, one hit of weight 1 has a probability of about 0.4, and
/// ten of them of more than 0.8.
const PRIOR: f64 = 0.3;

fn judge(text: &str) -> Judgement {
    let mut weights = [0.0; Emotion::ALL.len()];
    for sentence in sentences(text) {
        for (total, weight) in weights.iter_mut().zip(read(&sentence).weights) {
            *total += weight;
        }
    }
    let evidence: f64 = weights.iter().sum();
    if evidence <= 0.0 {
        return Judgement { distribution: Distribution::UNIFORM, evidence: 0.0 };
    }
    Judgement { distribution: Distribution::from_weights(weights.map(|w| w + PRIOR)), evidence }
}
