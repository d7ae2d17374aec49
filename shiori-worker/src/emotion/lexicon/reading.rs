//! Evaluates a sentence: its hits in the table, weighted by the words around them.

use std::{collections::HashSet, sync::LazyLock};

use shiori_sdk::Emotion;

use super::{
    table::{Hit, Sense, TABLE, is_nominal, is_particle},
    words::{PAUSE, Sentence, decomposed},
};

/// The emotions of a sentence.
#[derive(Debug, Default)]
pub(in crate::emotion) struct Reading {
    /// The weight of each emotion, in the order of [`Emotion::ALL`].
    pub(in crate::emotion) weights: [f64; Emotion::ALL.len()],
    /// Indices of the words whose emotion is negated.
    pub(in crate::emotion) negated: Vec<usize>,
}

/// Evaluates a sentence.
pub(in crate::emotion) fn read(sentence: &Sentence) -> Reading {
    let mut reading = Reading::default();
    let words = &sentence.words;
    let mut found = Vec::new();
    // ㅠㅠ and ㅋㅋ intensify the emotion of the words. They count by themselves only in a sentence
    // without other hits, because people also cry for joy and laugh at bad luck.
    let mut tones = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == PAUSE {
            at += 1;
            continue;
        }
        let from = prefixed_intensifier(word);
        let hit = TABLE.find(&words[at..], 0).map(|hit| (hit, 0));
        let hit = hit.or_else(|| TABLE.find(&words[at..], from).map(|hit| (hit, from)));
        let Some((hit, from)) = hit else {
            at += 1;
            continue;
        };
        if let Some(finding) = evaluate(words, at, from, hit) {
            let tone = word.starts_with(|letter| matches!(letter, '\u{3131}'..='\u{318e}'));
            if tone { &mut tones } else { &mut found }.push((finding.emotion, finding.weight));
            if finding.negated {
                reading.negated.extend(at..at + hit.words);
            }
        }
        at += hit.words;
    }
    let mut emphasis = 1.0 + 0.15 * f64::from(sentence.exclamations.min(3));
    if found.is_empty() {
        found = tones;
    } else if !tones.is_empty() {
        emphasis += 0.25;
    }
    for (emotion, weight) in found {
        reading.weights[emotion.index()] += weight * emphasis;
    }
    reading
}

/// The emotion of a hit in its context.
struct Finding {
    emotion: Emotion,
    weight: f64,
    /// Whether it results from the negation of another emotion.
    negated: bool,
}

/// Evaluates a hit in its context; `from` is the byte at which it starts in its first word.
fn evaluate(words: &[String], at: usize, from: usize, hit: Hit) -> Option<Finding> {
    let Sense { emotion, weight } = hit.sense;
    let emotion = emotion?;
    let after = &words[at + hit.words..];
    let ending = &words[at + hit.words - 1][hit.bytes..];
    let mut factor = strength(&words[..at]);
    if from > 0 {
        factor *= INTENSIFIED;
    }
    if is_superlative(&words[..at], after) {
        return Some(Finding { emotion, weight: weight * INTENSIFIED, negated: false });
    }
    if !is_negated(&words[..at], ending, after) {
        return Some(Finding { emotion, weight: weight * factor, negated: false });
    }
    match emotion {
        Emotion::Happiness => {
            Some(Finding { emotion: Emotion::Sadness, weight: weight * 0.5, negated: true })
        }
        Emotion::Neutral => None,
        _ => Some(Finding { emotion: Emotion::Neutral, weight: weight * 0.25, negated: true }),
    }
}

const INTENSIFIED: f64 = 1.5;
const DIMINISHED: f64 = 0.6;

/// The factor of the two words before a hit.
fn strength(before: &[String]) -> f64 {
    let near = before.iter().rev().take(2).take_while(|word| *word != PAUSE);
    let factor: f64 = near
        .map(|word| {
            if INTENSIFIERS.contains(word) {
                INTENSIFIED
            } else if DIMINISHERS.contains(word) {
                DIMINISHED
            } else {
                1.0
            }
        })
        .product();
    factor.min(2.0)
}

/// Bytes of an intensifier that is written together with the word after it, as in 너무무서워.
fn prefixed_intensifier(word: &str) -> usize {
    PREFIX_INTENSIFIERS.iter().find(|more| word.starts_with(more.as_str())).map_or(0, String::len)
}

/// Whether this is 그렇게 즐거울 수가 없다, a superlative in the form of a negation.
fn is_superlative(before: &[String], after: &[String]) -> bool {
    let compared = before.iter().rev().take(2).any(|word| COMPARISONS.contains(word));
    compared && follows(after, &WAY) && after.get(1).is_some_and(|word| starts(word, &LACKING))
}

/// Whether a hit is negated: in Korean before or after it, in English before it.
fn is_negated(before: &[String], ending: &str, after: &[String]) -> bool {
    if before.last().is_some_and(|word| NEGATIONS.contains(word)) {
        return true;
    }
    let near = before.iter().rev().take(3).take_while(|word| *word != PAUSE);
    if near.into_iter().any(|word| ENGLISH_NEGATIONS.contains(word) || word.ends_with("n't")) {
        return true;
    }
    let Some(next) = after.first() else { return ending_negates(ending) };
    // 무섭지 않다, 무섭지는 않다, 웃지 못하다.
    if NEGATABLE_ENDINGS.iter().any(|suffix| ending.ends_with(suffix.as_str()))
        && starts(next, &NEGATIVE_VERBS)
    {
        return true;
    }
    // 걱정이 없다, 화가 아니다, and 슬픈 것은 아니다, 무서울 게 없다.
    let noun = is_nominal(ending) && starts(next, &LACKING);
    let fact = follows(after, &FACT) && after.get(1).is_some_and(|word| starts(word, &LACKING));
    noun || fact || ending_negates(ending)
}

/// Whether the ending itself negates: 무섭지않다, 걱정없이.
fn ending_negates(ending: &str) -> bool {
    /// Bytes of an ending that are searched, which bounds the time for a text without spaces.
    const NEAR: usize = 60;
    let near = ending.char_indices().take_while(|(at, _)| *at < NEAR).last();
    let near = &ending[..near.map_or(0, |(at, letter)| at + letter.len_utf8())];
    NEGATIVE_ENDINGS.iter().any(|negation| near.contains(negation.as_str()))
}

/// Whether the first word is one of these nouns, with or without a particle.
fn follows(words: &[String], nouns: &[String]) -> bool {
    let Some(word) = words.first() else { return false };
    nouns.iter().any(|noun| word.strip_prefix(noun.as_str()).is_some_and(is_particle))
}

fn starts(word: &str, stems: &[String]) -> bool {
    stems.iter().any(|stem| word.starts_with(stem.as_str()))
}

/// Words that match as a whole.
type Words = LazyLock<HashSet<String>>;
/// Stems that match with any ending, or endings.
type Parts = LazyLock<Vec<String>>;

fn listed<C: FromIterator<String>>(words: &str) -> C {
    words.split_whitespace().map(decomposed).collect()
}

static INTENSIFIERS: Words = LazyLock::new(|| {
    listed(
        "너무 너무너무 너무나 너무나도 정말 정말로 진짜 진짜로 아주 매우 엄청 엄청나게 무척 몹시 굉장히 \
         훨씬 완전 되게 무지 참 참으로 워낙 한없이 더없이 얼마나 온통 대단히 유난히 심하게 \
         very really so extremely incredibly absolutely totally too deeply utterly terribly",
    )
});
// Without 참 and similar ones, which are prefixes of too many other words.
static PREFIX_INTENSIFIERS: Parts =
    LazyLock::new(|| listed("너무 정말 진짜 아주 매우 엄청 무척 몹시 굉장히 완전 되게"));
static DIMINISHERS: Words = LazyLock::new(|| {
    listed(
        "조금 조금은 약간 약간은 좀 살짝 다소 덜 은근 은근히 그다지 별로 \
         slightly somewhat bit little fairly mildly",
    )
});
static COMPARISONS: Words = LazyLock::new(|| listed("그렇게 이렇게 이보다 그보다 더"));
static WAY: Parts = LazyLock::new(|| listed("수"));
static FACT: Parts = LazyLock::new(|| listed("것 거 건 게 일 적 줄 수 데 까닭 이유 필요"));
static NEGATIONS: Words = LazyLock::new(|| listed("안 못 별로 그다지"));
static NEGATABLE_ENDINGS: Parts = LazyLock::new(|| listed("지 지는 지도 지를 지가 진 질"));
static NEGATIVE_VERBS: Parts =
    LazyLock::new(|| listed("않 못하 못했 못해 못한 말고 말자 말아 말라 마라 마세요 마요 안"));
static LACKING: Parts = LazyLock::new(|| listed("없 아니 아닌 아닐 아닙"));
static NEGATIVE_ENDINGS: Parts = LazyLock::new(|| listed("지않 지못 없 지는않 지안"));
static ENGLISH_NEGATIONS: Words = LazyLock::new(|| {
    listed("not never no without cannot neither nor hardly nothing dont didnt isnt wasnt")
});
