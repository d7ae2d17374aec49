//! Trains the built-in emotion model of `shiori-worker` and evaluates it by cross-validation.
//! `docs/emotion-model.md` has the command that created the weights.
//!
//! ```console
//! $ cargo run --release -p shiori-worker --no-default-features --features models --example train_emotion -- \
//!       WEIGHTS.bin FILE.tsv:WEIGHT:BALANCE[:ACCURACY:MACRO_F1]…
//! ```
//!
//! A line of a file is a label, a tab and a text. WEIGHT is the weight of each sentence of the
//! file. BALANCE is the compensation for rare labels, from 0 (none) to 1 (full). ACCURACY and
//! `MACRO_F1` are the targets for the file.
//!
//! It is softmax regression by stochastic gradient descent with `AdaGrad` steps. Each file is
//! divided into [`FOLDS`]. The sentences of a fold are scored with quantized weights that were
//! trained on the other folds of all files. These scores select the bias of each emotion (to exceed
//! the targets) and the sharpness of the distribution, and are the basis of the report. Then the
//! weights are trained on all sentences. The same files yield the same bytes.
#![allow(clippy::print_stdout)] // the program prints a report
#![allow(clippy::cast_precision_loss)] // counts of sentences are small

use std::{array, env, error::Error, fs};

use shiori_sdk::Emotion;
use shiori_worker::emotion::{
    evaluation::{Evaluation, labelled},
    linear::{
        features::{BUCKETS, Features, HINTS},
        weights::{Scores, Weights},
    },
};

const EMOTIONS: usize = Emotion::ALL.len();
const FOLDS: usize = 16;
const EPOCHS: usize = 6;
/// The initial learning rate. It decreases linearly to 0 over all epochs.
const RATE: f32 = 0.1;
/// Weight decay.
const DECAY: f32 = 1e-3;
/// The seed of the order of the sentences.
const SEED: u64 = 7;

/// A labelled sentence.
struct Row {
    features: Features,
    label: Emotion,
    /// Its weight; the mean over all sentences is 1.
    weight: f32,
    fold: usize,
}

/// A file of labelled sentences.
struct Source {
    name: String,
    rows: Vec<Row>,
    /// The target accuracy and macro-F1.
    goals: Option<[f64; 2]>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (out, sources) = (arguments.next(), arguments.map(|source| read(&source)));
    let out =
        out.ok_or("usage: train_emotion WEIGHTS.bin FILE.tsv:WEIGHT:BALANCE[:ACCURACY:MACRO_F1]…")?;
    let mut sources: Vec<Source> = sources.collect::<Result<_, _>>()?;
    let total: f32 = rows(&sources).map(|row| row.weight).sum();
    let count = rows(&sources).fold(0.0, |count, _| count + 1.0);
    for row in sources.iter_mut().flat_map(|source| &mut source.rows) {
        row.weight *= count / total;
    }

    let mut unseen: Vec<Vec<(Scores, Emotion)>> = sources.iter().map(|_| Vec::new()).collect();
    for fold in 0..FOLDS {
        let seen: Vec<&Row> = rows(&sources).filter(|row| row.fold != fold).collect();
        let (learnt, bias) = learn(&seen);
        let weights = Weights::quantize(&learnt, bias, 1.0);
        for (source, scored) in sources.iter().zip(&mut unseen) {
            let rows = source.rows.iter().filter(|row| row.fold == fold);
            scored.extend(rows.map(|row| (weights.scores(&row.features), row.label)));
        }
        println!("fold {} of {FOLDS}", fold + 1);
    }

    println!("\nwithout adjustment");
    report(&sources, &unseen, [0.0; EMOTIONS]);
    let added = choose_bias(&sources, &unseen);
    println!("\nwith bias {added:.2?}");
    report(&sources, &unseen, added);
    let sharpness = choose_sharpness(&unseen, added);
    println!("\nsharpness {sharpness:.2}");

    let all: Vec<&Row> = rows(&sources).collect();
    let (learnt, bias) = learn(&all);
    let bias = array::from_fn(|emotion| bias[emotion] + added[emotion]);
    fs::write(&out, Weights::quantize(&learnt, bias, sharpness).to_bytes())?;
    println!("{out}: trained on {} sentences", all.len());
    Ok(())
}

fn rows(sources: &[Source]) -> impl Iterator<Item = &Row> {
    sources.iter().flat_map(|source| &source.rows)
}

/// Reads `FILE.tsv:WEIGHT:BALANCE[:ACCURACY:MACRO_F1]`.
fn read(argument: &str) -> Result<Source, Box<dyn Error>> {
    let usage = || format!("{argument} is not FILE.tsv:WEIGHT:BALANCE[:ACCURACY:MACRO_F1]");
    let (path, numbers) = argument.split_once(".tsv:").ok_or_else(usage)?;
    let path = format!("{path}.tsv");
    let numbers: Vec<f32> = numbers.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let (weight, balance, goals) = match numbers[..] {
        [weight, balance] => (weight, balance, None),
        [weight, balance, accuracy, macro_f1] => {
            (weight, balance, Some([accuracy, macro_f1].map(f64::from)))
        }
        _ => return Err(usage().into()),
    };
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let texts = labelled(&text).map_err(|error| format!("{path}: {error}"))?;
    // Each label is distributed evenly over the folds.
    let mut counts = [0_usize; EMOTIONS];
    let mut rows = Vec::new();
    for (label, text) in &texts {
        let count = &mut counts[label.index()];
        rows.push(Row {
            features: Features::of(text),
            label: *label,
            weight: 0.0,
            fold: *count % FOLDS,
        });
        *count += 1;
    }
    let rarity = |row: &Row| (rows.len() as f32 / counts[row.label.index()] as f32).powf(balance);
    let rarities: Vec<f32> = rows.iter().map(rarity).collect();
    let mean = rarities.iter().sum::<f32>() / rows.len() as f32;
    for (row, rarity) in rows.iter_mut().zip(rarities) {
        row.weight = weight * rarity / mean;
    }
    let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    Ok(Source { name, rows, goals })
}

/// Trains a weight for each bucket, hint and emotion, and a bias for each emotion.
fn learn(rows: &[&Row]) -> (Vec<Scores>, Scores) {
    /// Bounds the first steps.
    const SMOOTHING: f32 = 1e-3;
    let mut weights = vec![[0.0; EMOTIONS]; BUCKETS + HINTS];
    let mut squares = vec![[SMOOTHING; EMOTIONS]; BUCKETS + HINTS];
    let mut bias = [0.0; EMOTIONS];
    let mut order: Vec<&Row> = rows.to_vec();
    let mut random = SEED;
    let steps = (EPOCHS * rows.len()) as f32;
    let mut step = 0.0;
    for _ in 0..EPOCHS {
        shuffle(&mut order, &mut random);
        for row in &order {
            let rate = RATE * (1.0 - step / steps);
            step += 1.0;
            let share = row.features.share();
            let pieces = row.features.buckets.iter().map(|bucket| (*bucket as usize, share));
            let hints = (BUCKETS..).zip(row.features.hints).filter(|(_, hint)| *hint > 0.0);
            let inputs = || pieces.clone().chain(hints.clone());

            let mut scores = bias;
            for (input, value) in inputs() {
                for (score, weight) in scores.iter_mut().zip(&weights[input]) {
                    *score += weight * value;
                }
            }
            let mut slopes = softmax(scores);
            slopes[row.label.index()] -= 1.0;
            let slopes = slopes.map(|slope| slope * row.weight);
            for (bias, slope) in bias.iter_mut().zip(slopes) {
                *bias -= RATE * rate * slope;
            }
            for (input, value) in inputs() {
                for emotion in 0..EMOTIONS {
                    let weight = &mut weights[input][emotion];
                    let square = &mut squares[input][emotion];
                    let slope = slopes[emotion] * value + DECAY * *weight;
                    *square += slope * slope;
                    *weight -= rate * slope / square.sqrt();
                }
            }
        }
    }
    (weights, bias)
}

fn softmax(scores: Scores) -> Scores {
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    let powers = scores.map(|score| (score - highest).exp());
    let sum: f32 = powers.iter().sum();
    powers.map(|power| power / sum)
}

/// A Fisher–Yates shuffle with random numbers from `SplitMix64`.
fn shuffle<T>(items: &mut [T], random: &mut u64) {
    for last in (1..items.len()).rev() {
        *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = *random;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^= number >> 31;
        #[allow(clippy::cast_possible_truncation)] // it is at most `last`
        let other = (number % (last as u64 + 1)) as usize;
        items.swap(last, other);
    }
}

/// The evaluation of these scores with an added bias.
fn evaluate(scored: &[(Scores, Emotion)], added: Scores) -> Evaluation {
    Evaluation::of(scored.iter().map(|(scores, label)| {
        let score = |emotion: &Emotion| scores[emotion.index()] + added[emotion.index()];
        let best = Emotion::ALL.into_iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        (*label, best.unwrap_or(Emotion::Neutral))
    }))
}

/// The bias that exceeds the targets by the largest margin; the smallest margin has by far the
/// largest weight. Hill climbing from 0, with decreasing steps.
fn choose_bias(sources: &[Source], unseen: &[Vec<(Scores, Emotion)>]) -> Scores {
    /// The scale on which margins are compared.
    const MARGIN_SCALE: f64 = 0.005;
    let value = |added: Scores| -> f64 {
        let reached = sources.iter().zip(unseen).filter_map(|(source, scored)| {
            let evaluation = evaluate(scored, added);
            Some(([evaluation.accuracy(), evaluation.macro_f1()], source.goals?))
        });
        let margins =
            reached.flat_map(|(reached, goals)| [reached[0] - goals[0], reached[1] - goals[1]]);
        -margins.map(|margin| (-margin / MARGIN_SCALE).exp()).sum::<f64>()
    };
    let mut best = ([0.0; EMOTIONS], value([0.0; EMOTIONS]));
    for step in [0.4, 0.2, 0.1, 0.05] {
        for _ in 0..3 {
            for (emotion, change) in (0..EMOTIONS).flat_map(|e| [(e, -step), (e, step)]) {
                let mut added = best.0;
                added[emotion] += change;
                let value = value(added);
                if value > best.1 {
                    best = (added, value);
                }
            }
        }
    }
    best.0
}

/// The factor of the scores that maximises the likelihood of the labels, averaged over the sources.
fn choose_sharpness(unseen: &[Vec<(Scores, Emotion)>], added: Scores) -> f32 {
    let likelihood = |sharpness: f32| -> f32 {
        let mean = |scored: &Vec<(Scores, Emotion)>| {
            let logs = scored.iter().map(|(scores, label)| {
                let scores =
                    array::from_fn(|emotion| (scores[emotion] + added[emotion]) * sharpness);
                softmax(scores)[label.index()].max(f32::MIN_POSITIVE).ln()
            });
            logs.sum::<f32>() / scored.len().max(1) as f32
        };
        unseen.iter().map(mean).sum()
    };
    let choices = (1_u8..=40).map(|twentieths| f32::from(twentieths) / 20.0);
    choices.max_by(|a, b| likelihood(*a).total_cmp(&likelihood(*b))).unwrap_or(1.0)
}

fn report(sources: &[Source], unseen: &[Vec<(Scores, Emotion)>], added: Scores) {
    for (source, scored) in sources.iter().zip(unseen) {
        let evaluation = evaluate(scored, added);
        let (accuracy, macro_f1) = (evaluation.accuracy(), evaluation.macro_f1());
        print!("{:26}  accuracy {accuracy:.3}  macro-F1 {macro_f1:.3} ", source.name);
        for emotion in Emotion::ALL {
            print!("  {emotion} {:.2}", evaluation.f1(emotion));
        }
        println!();
    }
}
