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

/// Reads emotions off the words of a text, Korean and English. It needs no weights, no network
/// and no time to speak of, and says the same of the same text always.
///
/// It finds the stems and expressions of its table, and weighs each by what stands around it:
///
/// - 너무, 정말, very and their like strengthen it, 조금, slightly and their like weaken it.
///   Exclamation marks, ㅠㅠ and ㅋㅋ strengthen their whole sentence.
/// - Denied happiness (안 기쁘다, not happy) is mild sadness. Any other denied emotion (무섭지
///   않다, no fear) says little: it leaves a quarter of its weight, as neutral.
///
/// A text with nothing to go by is [`Distribution::UNIFORM`] with evidence 0.
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

/// What every emotion weighs before a word is read. One hint, which weighs 1, then gives its
/// emotion about four parts in ten, and ten of them more than eight.
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
