//! The weights of the linear model and their file format.
//!
//! All numbers are little-endian. Each emotion except 중립 has a row, in the order of
//! [`Emotion::ALL`]. Only differences between scores matter, so all scores are relative to 중립,
//! whose score is 0.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `shiori` and the version |
//! | 2 × 4 | [`BUCKETS`], [`HINTS`] |
//! | 4 × [`SCORES`] | the bias of each score |
//! | 4 × [`HINTS`] × [`SCORES`] | the weights of each lexicon feature |
//! | 4 × [`SCORES`] | the size of a quantization step |
//! | [`BUCKETS`] × [`SCORES`] | the steps, -127 to 127 |
//! | 8 | FNV-1a checksum of all bytes before |

use std::array;

use shiori_sdk::Emotion;

use super::features::{BUCKETS, Features, HINTS};

/// Number of emotions with a score: all except 중립.
pub const SCORES: usize = Emotion::ALL.len() - 1;

/// The first bytes of the file, which contain its version.
const MAGIC: [u8; 8] = *b"shiori\x00\x01";

/// The scores of a text, in the order of [`Emotion::ALL`]; the score of 중립 is 0.
pub type Scores = [f32; Emotion::ALL.len()];

/// The quantized weights of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    bias: [f32; SCORES],
    hints: [[f32; SCORES]; HINTS],
    step: [f32; SCORES],
    buckets: Vec<[i8; SCORES]>,
}

/// The bytes are not a complete file of this format version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the weights of a linear emotion model of this version")]
pub struct InvalidWeights;

impl Weights {
    /// Quantizes trained weights of all seven emotions, for `BUCKETS` buckets followed by `HINTS`
    /// hints. `bias` is added to the scores, and the sum is multiplied by `sharpness`.
    pub fn quantize(trained: &[Scores], bias: Scores, sharpness: f32) -> Self {
        let relative = |row: &Scores| {
            scored().map(|emotion| (row[emotion] - row[Emotion::Neutral.index()]) * sharpness)
        };
        let (buckets, hints) = trained.split_at(BUCKETS);
        let buckets: Vec<[f32; SCORES]> = buckets.iter().map(relative).collect();
        let step = array::from_fn(|score| {
            let largest = buckets.iter().map(|row| row[score].abs()).fold(0.0, f32::max);
            largest.max(f32::MIN_POSITIVE) / f32::from(i8::MAX)
        });
        #[allow(clippy::cast_possible_truncation)] // the largest is `i8::MAX` steps
        let steps =
            |row: &[f32; SCORES]| array::from_fn(|score| (row[score] / step[score]).round() as i8);
        Self {
            bias: relative(&bias),
            hints: array::from_fn(|hint| relative(&hints[hint])),
            step,
            buckets: buckets.iter().map(steps).collect(),
        }
    }

    /// The scores of a text.
    pub fn scores(&self, features: &Features) -> Scores {
        let mut steps = [0_i32; SCORES];
        for bucket in &features.buckets {
            for (sum, step) in steps.iter_mut().zip(self.buckets[*bucket as usize]) {
                *sum += i32::from(step);
            }
        }
        let share = features.share();
        let mut scores = [0.0; Emotion::ALL.len()];
        for (score, emotion) in scored().into_iter().enumerate() {
            #[allow(clippy::cast_precision_loss)] // at most 127 steps of each bucket, below 2^24
            let of_buckets = steps[score] as f32 * self.step[score] * share;
            let of_hints = self.hints.iter().zip(features.hints);
            let of_hints: f32 = of_hints.map(|(weights, hint)| weights[score] * hint).sum();
            scores[emotion] = self.bias[score] + of_buckets + of_hints;
        }
        scores
    }

    /// The weights as a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for dimension in dimensions() {
            bytes.extend(dimension.to_le_bytes());
        }
        let floats = self.bias.iter().chain(self.hints.as_flattened()).chain(&self.step);
        bytes.extend(floats.flat_map(|float| float.to_le_bytes()));
        bytes.extend(self.buckets.as_flattened().iter().map(|step| step.cast_unsigned()));
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the weights from a file.
    ///
    /// # Errors
    ///
    /// [`InvalidWeights`] if it has another version, is damaged, or contains a number that is not
    /// finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidWeights> {
        let (body, sum) = bytes.split_last_chunk().ok_or(InvalidWeights)?;
        if u64::from_le_bytes(*sum) != checksum(body) {
            return Err(InvalidWeights);
        }
        let rest = body.strip_prefix(&MAGIC).ok_or(InvalidWeights)?;
        let (found, rest) = rest.split_first_chunk::<8>().ok_or(InvalidWeights)?;
        if *found.as_chunks().0 != dimensions().map(u32::to_le_bytes) {
            return Err(InvalidWeights);
        }
        let floats = 4 * SCORES * (HINTS + 2);
        let (floats, steps) = rest.split_at_checked(floats).ok_or(InvalidWeights)?;
        if steps.len() != BUCKETS * SCORES {
            return Err(InvalidWeights);
        }
        let mut floats = floats.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let mut row = || array::from_fn(|_| floats.next().unwrap_or(f32::NAN));
        let (bias, hints, step) = (row(), array::from_fn(|_| row()), row());
        let buckets = steps.as_chunks().0.iter().map(|row| row.map(u8::cast_signed)).collect();
        let weights = Self { bias, hints, step, buckets };
        let mut all = weights.bias.iter().chain(weights.hints.as_flattened()).chain(&weights.step);
        if all.all(|weight| weight.is_finite()) { Ok(weights) } else { Err(InvalidWeights) }
    }
}

/// The indices of the emotions with a score.
fn scored() -> [usize; SCORES] {
    array::from_fn(|score| score + usize::from(score >= Emotion::Neutral.index()))
}

#[allow(clippy::cast_possible_truncation)] // neither is anywhere near `u32::MAX`
fn dimensions() -> [u32; 2] {
    [BUCKETS as u32, HINTS as u32]
}

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
