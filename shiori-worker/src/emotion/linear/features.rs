//! The features of a text for the linear model.

use shiori_sdk::Emotion;

use crate::emotion::lexicon::{self, Sentence};

/// Number of hash buckets for n-grams; a power of two. N-grams in the same bucket share its weights.
pub const BUCKETS: usize = 1 << BUCKET_BITS;
const BUCKET_BITS: u32 = 16;

/// Number of lexicon features: one for each emotion, and one that is 1 if the lexicon has no hit.
pub const HINTS: usize = Emotion::ALL.len() + 1;

/// The features of a text.
///
/// N-grams are 3 to 7 letters within a word, including its boundaries, and 1 to 4 syllables across
/// words. Letters are the letters of Hangul (ㅁ ㅜ ㅅ ㅓ of 무서), so that the forms of a stem share
/// n-grams. All words whose emotion the lexicon finds negated are replaced by the same letter, so
/// that 안 무섭다 has no n-gram of 무섭다.
#[derive(Debug, Clone)]
pub struct Features {
    /// The buckets of its n-grams, without duplicates, in ascending order.
    pub buckets: Vec<u32>,
    /// The lexicon features, on a logarithmic scale.
    pub hints: [f32; HINTS],
    /// The lexicon's evidence.
    pub evidence: f64,
}

impl Features {
    /// Extracts the features of a text.
    pub fn of(text: &str) -> Self {
        let mut weights = [0.0; Emotion::ALL.len()];
        let mut buckets = Buckets::default();
        let mut letters = Vec::new();
        for sentence in lexicon::sentences(text) {
            let reading = lexicon::read(&sentence);
            for (total, weight) in weights.iter_mut().zip(reading.weights) {
                *total += weight;
            }
            spell(&sentence, &reading.negated, &mut letters);
            pieces(&letters, &mut buckets);
        }
        let evidence: f64 = weights.iter().sum();
        let mut hints = [0.0; HINTS];
        for (hint, weight) in hints.iter_mut().zip(weights) {
            #[allow(clippy::cast_possible_truncation)] // a weight needs no more digits
            let weight = weight as f32;
            *hint = weight.ln_1p();
        }
        hints[HINTS - 1] = if evidence > 0.0 { 0.0 } else { 1.0 };
        Self { buckets: buckets.into_vec(), hints, evidence }
    }

    /// Whether the text has no n-grams.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The value of each n-gram. It normalises the length of the text.
    #[allow(clippy::cast_precision_loss)] // there are at most `BUCKETS`
    pub fn share(&self) -> f32 {
        1.0 / (self.buckets.len().max(1) as f32).sqrt()
    }
}

/// Replaces a negated word.
const NEGATED: char = '¬';

/// Appends the sentence: its words and end marks, separated by spaces. Nothing for a sentence
/// without a letter or an emoji.
fn spell(sentence: &Sentence, negated: &[usize], letters: &mut Vec<char>) {
    /// Maximum number of repeated end marks.
    const MARKS: u32 = 3;
    letters.clear();
    let has_letter =
        |word: &String| word.chars().any(|letter| !letter.is_ascii() || letter.is_alphabetic());
    if !sentence.words.iter().any(has_letter) {
        return;
    }
    let mut is_negated = vec![false; sentence.words.len()];
    for at in negated {
        is_negated[*at] = true;
    }
    letters.push(' ');
    for (word, is_negated) in sentence.words.iter().zip(is_negated) {
        if is_negated {
            letters.push(NEGATED);
        } else {
            letters.extend(word.chars());
        }
        letters.push(' ');
    }
    for (mark, count) in [('!', sentence.exclamations), ('?', sentence.questions)] {
        letters.extend((0..count.min(MARKS)).map(|_| mark));
    }
    letters.push(' ');
}

/// Adds the buckets of all n-grams.
fn pieces(letters: &[char], buckets: &mut Buckets) {
    const LETTERS: std::ops::RangeInclusive<usize> = 3..=7;
    const SYLLABLES: usize = 4;
    for from in 0..letters.len() {
        let whole = begins_syllable(letters[from]);
        let mut hash = 0_u64;
        let mut syllables = 0;
        let mut within = true;
        for (count, letter) in (1..).zip(&letters[from..]) {
            if begins_syllable(*letter) {
                if whole && (1..=SYLLABLES).contains(&syllables) {
                    buckets.insert(hash);
                }
                syllables += 1;
            }
            within &= count <= *LETTERS.end();
            if !within && (!whole || syllables > SYLLABLES) {
                break;
            }
            hash = (hash.rotate_left(5) ^ u64::from(*letter)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if within && LETTERS.contains(&count) {
                buckets.insert(hash);
            }
            within &= count == 1 || *letter != ' ';
        }
    }
}

/// Whether this letter begins a syllable: it is neither a vowel nor a final consonant.
fn begins_syllable(letter: char) -> bool {
    !matches!(letter, '\u{1160}'..='\u{11ff}')
}

/// A set of buckets. Its size does not depend on the text.
struct Buckets(Vec<u64>);

impl Default for Buckets {
    fn default() -> Self {
        Self(vec![0; BUCKETS / u64::BITS as usize])
    }
}

impl Buckets {
    /// Adds the bucket of an n-gram. The upper bits of a multiplicative hash are mixed best.
    fn insert(&mut self, hash: u64) {
        #[allow(clippy::cast_possible_truncation)] // no more than `BUCKET_BITS` are left
        let bucket = (hash >> (u64::BITS - BUCKET_BITS)) as usize;
        self.0[bucket / u64::BITS as usize] |= 1 << (bucket % u64::BITS as usize);
    }

    fn into_vec(self) -> Vec<u32> {
        let mut all = Vec::new();
        for (first, mut word) in (0..).step_by(u64::BITS as usize).zip(self.0) {
            while word != 0 {
                all.push(first + word.trailing_zeros());
                word &= word - 1;
            }
        }
        all
    }
}
