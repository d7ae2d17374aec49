//! The built-in emotion model: a lexicon of Korean and English stems with negation and intensity.
//! It needs no weights, knows no context beyond a few words, and says so by modest confidence.

mod hangul;
mod table;

use std::sync::Arc;

use async_trait::async_trait;
use shiori_sdk::{Distribution, Emotion};

use self::{
    hangul::letters,
    table::{Feeling, Hit, Table},
};
use super::{EmotionError, EmotionModel, Judgement};

/// The model's name and edition.
const ENGINE: &str = "lexicon/1";

/// What every emotion has before anything is read: the more is found, the less it counts.
const PRIOR: f64 = 0.15;

/// What calm has before anything is read, so that one weak word does not settle a text.
const CALM: f64 = 0.35;

/// The built-in emotion model (`lexicon/1`).
///
/// It finds stems at the beginnings of words. A booster before one (너무, very) makes it count one
/// and a half times, a downtoner (조금, slightly) half. A negated happy word leans to sadness, a
/// negated sorry word counts little. What it finds is smoothed into a distribution: one weak word
/// gives modest confidence, many strong ones a high one, and none at all
/// [`Distribution::UNIFORM`] with evidence 0. Its time grows linearly with the text.
#[derive(Debug, Clone)]
pub struct LexiconModel {
    table: Arc<Table>,
}

impl LexiconModel {
    /// The model. Its table is read once per process.
    pub fn new() -> Self {
        Self { table: Table::builtin() }
    }

    fn judge_one(&self, text: &str) -> Judgement {
        let mut scores = [0.0; 7];
        for line in text.split(['\n', '.', '!', '?', '。']) {
            self.read_sentence(&letters(line), &mut scores);
        }
        let evidence: f64 = scores.iter().sum();
        if evidence <= 0.0 {
            return Judgement { distribution: Distribution::UNIFORM, evidence: 0.0 };
        }
        let mut weights = scores.map(|score| score + PRIOR);
        weights[Emotion::Neutral.index()] += CALM;
        Judgement { distribution: Distribution::from_weights(weights), evidence }
    }

    /// Adds what a sentence says.
    fn read_sentence(&self, text: &[char], scores: &mut [f64; 7]) {
        let mut words = Words::default();
        let mut at = 0;
        while at < text.len() {
            if !begins_word(text, at) {
                at += 1;
                continue;
            }
            let Some(hit) = self.table.longest(text, at) else {
                words.pass(word_at(text, at));
                at += 1;
                continue;
            };
            let end = at + hit.length;
            if let Feeling::Of(emotion) = hit.feeling {
                let negated = words.negate() || negated_after(&text[end..]);
                add(scores, emotion, hit, words.intensity(), negated);
            }
            words.pass(word_at(text, at));
            at = end.max(at + 1);
        }
    }
}

impl Default for LexiconModel {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EmotionModel for LexiconModel {
    fn engine(&self) -> &str {
        ENGINE
    }

    async fn judge(&self, texts: Vec<String>) -> Result<Vec<Judgement>, EmotionError> {
        let model = self.clone();
        let judge = move || texts.iter().map(|text| model.judge_one(text)).collect();
        tokio::task::spawn_blocking(judge)
            .await
            .map_err(|_| EmotionError { message: "the lexicon panicked".into(), retryable: false })
    }
}

/// Adds a word to the scores. Of a negated word little is left, and not of the same: "not happy"
/// leans to sadness, "not sad" to calm.
fn add(scores: &mut [f64; 7], emotion: Emotion, hit: Hit, intensity: f64, negated: bool) {
    let weight = hit.weight * intensity;
    let (emotion, weight) = match (negated, emotion) {
        (false, _) => (emotion, weight),
        (true, Emotion::Happiness) => (Emotion::Sadness, weight * 0.6),
        (true, _) => (Emotion::Neutral, weight * 0.4),
    };
    scores[emotion.index()] += weight;
}

/// The last words before a place, newest last.
#[derive(Default)]
struct Words {
    last: [String; 3],
}

impl Words {
    fn pass(&mut self, word: String) {
        if !word.is_empty() {
            self.last.rotate_left(1);
            self.last[2] = word;
        }
    }

    /// Whether the words before negate what follows: 안 and 못 right before it, English ones
    /// within three words.
    fn negate(&self) -> bool {
        let right_before = ["안", "못"].iter().any(|not| self.last[2] == *not);
        let near = self.last.iter().any(|word| {
            matches!(word.as_str(), "not" | "no" | "never" | "without" | "hardly" | "cannot")
                || word.ends_with("n't")
                || word.ends_with("n’t")
        });
        right_before || near
    }

    /// How strongly the word before makes what follows count.
    fn intensity(&self) -> f64 {
        const BOOSTERS: [&str; 25] = [
            "너무",
            "너무나",
            "정말",
            "정말로",
            "진짜",
            "아주",
            "매우",
            "무척",
            "몹시",
            "굉장히",
            "엄청",
            "엄청나게",
            "참",
            "제일",
            "가장",
            "더없이",
            "얼마나",
            "완전",
            "very",
            "really",
            "so",
            "extremely",
            "absolutely",
            "totally",
            "deeply",
        ];
        const DOWNTONERS: [&str; 10] = [
            "조금",
            "약간",
            "살짝",
            "좀",
            "그다지",
            "별로",
            "slightly",
            "somewhat",
            "little",
            "bit",
        ];
        let last = self.last[2].as_str();
        if BOOSTERS.contains(&last) {
            1.5
        } else if DOWNTONERS.contains(&last) {
            0.5
        } else {
            1.0
        }
    }
}

/// Whether what follows a stem negates it: 슬프지 않다, 좋지는 못하다, 걱정이 없다, 행복이 아니다.
fn negated_after(rest: &[char]) -> bool {
    /// Letters to look at: the rest of the word and the next one.
    const WINDOW: usize = 14;
    let near: String = rest.iter().take(WINDOW).collect();
    let spelt = |text: &str| letters(text).into_iter().collect::<String>();
    let after_ji = ["지 않", "지는 않", "지도 않", "지가 않", "지 못", "지는 못", "지 말", "지않"]
        .iter()
        .any(|ending| near.contains(&spelt(ending)));
    // A noun and its particle, then that there is none of it.
    let mut words = near.splitn(2, ' ');
    let particle = words.next().unwrap_or_default();
    let next = words.next().unwrap_or_default();
    let is_noun = ["", "이", "가", "은", "는", "도", "할 일이", "스러운 일은"]
        .iter()
        .any(|text| particle == spelt(text));
    let lacks = ["없", "아니"].iter().any(|stem| next.starts_with(&spelt(stem)));
    after_ji || (is_noun && lacks)
}

/// Whether a word begins here. Marks such as emoji are words of their own.
fn begins_word(text: &[char], at: usize) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '\'' || c == '’';
    at == 0 || !is_part(text[at]) || !is_part(text[at - 1])
}

/// The word that begins here, composed again so that it compares with plain text.
fn word_at(text: &[char], at: usize) -> String {
    let end = text[at..].iter().position(|c| !c.is_alphanumeric() && *c != '\'' && *c != '’');
    let end = end.map_or(text.len(), |length| at + length);
    // No word that is asked for is longer than this.
    hangul::composed(&text[at..end.min(at + 32)])
}

#[cfg(test)]
mod tests;
