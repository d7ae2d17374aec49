//! Selects the sentences that represent the week.

use std::collections::{BTreeMap, BTreeSet};

use super::sentence::Sentence;

/// Maximum number of quoted sentences.
const MAX_CHOSEN: usize = 4;

/// Iterations of TextRank. It converges earlier.
const ROUNDS: usize = 30;

/// The damping factor of the random walk (Brin and Page, 1998).
const DAMPING: f64 = 0.85;

/// The weight of a sentence's score, relative to its similarity to the sentences that are already
/// chosen.
const RELEVANCE: f64 = 0.7;

/// The sentences to quote, in reading order.
pub(super) fn choose(sentences: &[Sentence]) -> Vec<Sentence> {
    let grams: Vec<_> = sentences.iter().map(|sentence| bigrams(&sentence.text)).collect();
    let worth = worth(sentences, &grams);
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < MAX_CHOSEN {
        let days: BTreeSet<_> = chosen.iter().map(|at| sentences[*at].date).collect();
        let candidates = (0..sentences.len()).filter(|at| !days.contains(&sentences[*at].date));
        let gain = |at: usize| {
            let likeness = |other: &usize| similarity(&grams[at], &grams[*other]);
            let likest = chosen.iter().map(likeness).fold(0.0, f64::max);
            RELEVANCE * worth[at] - (1.0 - RELEVANCE) * likest
        };
        // In a tie, the earlier one: `max_by` returns the last, so the order is reversed.
        let best = candidates.rev().max_by(|a, b| gain(*a).total_cmp(&gain(*b)));
        let Some(best) = best else { break };
        chosen.push(best);
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|at| sentences[at].clone()).collect()
}

/// The score of each sentence, 0 to 1, from its `TextRank`, the emotion of its day, and whether its
/// length is suitable for a quote.
fn worth(sentences: &[Sentence], grams: &[BTreeSet<[char; 2]>]) -> Vec<f64> {
    let central = text_rank(grams);
    let most = central.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut place: BTreeMap<_, usize> = BTreeMap::new();
    let weigh = |(sentence, rank): (&Sentence, &f64)| {
        let nth = place.entry(sentence.date).and_modify(|nth| *nth += 1).or_insert(0);
        let chars = sentence.text.chars().count();
        let length = match chars {
            0..6 => 0.0,
            6..12 => 0.5,
            12..=60 => 1.0,
            61..=100 => 0.6,
            _ => 0.2,
        };
        // A sentence that only introduces direct speech has no meaning without it.
        let announces = ["말했다.", "물었다.", "대답했다.", " said."]
            .iter()
            .any(|ending| sentence.text.ends_with(ending));
        let finished = sentence.text.ends_with(['.', '!', '?', '…', '~']) && !announces;
        // The first sentence often states the topic of the day.
        let first = if *nth == 0 { 1.0 } else { 0.0 };
        let prose = if finished && sentence.in_body { 1.0 } else { 0.0 };
        0.3 * rank / most + 0.2 * sentence.salience + 0.2 * length + 0.2 * prose + 0.1 * first
    };
    sentences.iter().zip(&central).map(weigh).collect()
}

/// `TextRank`: a sentence is central if it shares much with central sentences.
fn text_rank(grams: &[BTreeSet<[char; 2]>]) -> Vec<f64> {
    let count = grams.len();
    let mut edges: Vec<Vec<(usize, f64)>> = vec![Vec::new(); count];
    for a in 0..count {
        for b in a + 1..count {
            let weight = similarity(&grams[a], &grams[b]);
            if weight > 0.0 {
                edges[a].push((b, weight));
                edges[b].push((a, weight));
            }
        }
    }
    let out: Vec<f64> =
        edges.iter().map(|edges| edges.iter().map(|(_, weight)| weight).sum()).collect();
    let mut rank = vec![1.0; count];
    for _ in 0..ROUNDS {
        rank = edges
            .iter()
            .map(|edges| {
                let given = edges.iter().map(|(from, weight)| rank[*from] * weight / out[*from]);
                (1.0 - DAMPING) + DAMPING * given.sum::<f64>()
            })
            .collect();
    }
    rank
}

/// Pairs of adjacent letters within words. They do not depend on Korean endings and need no
/// dictionary.
fn bigrams(text: &str) -> BTreeSet<[char; 2]> {
    let mut grams = BTreeSet::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        let letters: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
        grams.extend(letters.windows(2).map(|pair| [pair[0], pair[1]]));
    }
    grams
}

/// The similarity of two sentences (Dice's coefficient), 0 to 1.
#[allow(clippy::cast_precision_loss)] // a sentence has a few hundred letters
fn similarity(a: &BTreeSet<[char; 2]>, b: &BTreeSet<[char; 2]>) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let shared = a.intersection(b).count();
    2.0 * shared as f64 / (a.len() + b.len()) as f64
}
