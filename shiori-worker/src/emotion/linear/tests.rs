use proptest::prelude::*;

use super::*;
use crate::emotion::evaluation::{Evaluation, labelled};

const DIARY_SENTENCES: &str = include_str!("../../../tests/fixtures/diary_emotions.tsv");

fn label(text: &str) -> Emotion {
    judge(text).distribution.label()
}

#[tokio::test]
async fn diary_sentences_outside_the_training_data_are_classified_well() {
    let sentences = labelled(DIARY_SENTENCES).expect("the fixture is valid");
    let learnt = include_str!("../../../examples/train_emotion/diary.tsv");
    let learnt = labelled(learnt).expect("the sentences are valid");
    assert!(sentences.iter().all(|(_, text)| learnt.iter().all(|(_, other)| other != text)));

    let texts = sentences.iter().map(|(_, text)| (*text).to_owned()).collect();
    let judged = LinearModel::new().judge(texts).await.expect("judges");
    let given = judged.iter().map(|judgement| judgement.distribution.label());
    let evaluation = Evaluation::of(sentences.iter().map(|(label, _)| *label).zip(given));
    assert!(Emotion::ALL.iter().all(|emotion| evaluation.meant(*emotion) == 20));
    let (accuracy, macro_f1) = (evaluation.accuracy(), evaluation.macro_f1());
    assert!(accuracy >= 0.8 && macro_f1 >= 0.8, "{accuracy} {macro_f1}");
}

#[test]
fn a_negated_emotion_is_not_the_label() {
    for (text, denied) in [
        ("하나도 안 무서웠다", Emotion::Fear),
        ("별로 슬프지 않았다", Emotion::Sadness),
        ("화가 나지 않았다", Emotion::Anger),
    ] {
        assert_ne!(label(text), denied, "{text}");
    }
    assert_eq!(label("너무 무서웠다"), Emotion::Fear);
    assert_eq!(label("정말 슬펐다"), Emotion::Sadness);
    assert_eq!(label("화가 치밀었다"), Emotion::Anger);
}

#[test]
fn a_text_without_letters_has_no_evidence() {
    for text in ["", " \n", "...", "1,234", "?!?!", "\u{fe0f}", "\0"] {
        let judgement = judge(text);
        assert_eq!(judgement.distribution, Distribution::UNIFORM, "{text:?}");
        assert_eq!(label(text), Emotion::Neutral);
        assert!(judgement.evidence.abs() < f64::EPSILON);
    }
    assert!(judge("비").evidence > 0.0);
}

#[test]
fn normal_form_and_case_make_no_difference() {
    // NFC and NFD, and upper case.
    assert_eq!(
        judge("무서웠다"),
        judge("\u{1106}\u{116e}\u{1109}\u{1165}\u{110b}\u{116f}\u{11bb}\u{1103}\u{1161}")
    );
    assert_eq!(judge("SO HAPPY"), judge("so happy"));
}

#[test]
fn long_texts_take_linear_time() {
    // In quadratic time the test would not finish.
    for piece in ["무서", "안 기쁘지 ", "a", "😱"] {
        assert!(judge(&piece.repeat((1 << 18) / piece.len())).evidence.is_finite());
    }
}

#[test]
fn the_built_in_weights_equal_their_file() {
    let file = include_bytes!("weights.bin");
    assert!(file.len() <= 400_000);
    let weights = Weights::from_bytes(file).expect("a complete file");
    assert_eq!(weights.to_bytes(), file);
}

#[test]
fn a_damaged_file_is_rejected() {
    let file = include_bytes!("weights.bin").to_vec();
    let middle = file.len() / 2;
    for (at, what) in [(0, "version"), (8, "buckets"), (20, "bias"), (middle, "weight")] {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(Weights::from_bytes(&damaged).is_err(), "{what}");
    }
    for length in [0, 7, 8, 16, middle, file.len() - 1] {
        assert!(Weights::from_bytes(&file[..length]).is_err(), "{length}");
    }
    let longer = [file, vec![0]].concat();
    assert!(Weights::from_bytes(&longer).is_err());
}

proptest! {
    #[test]
    fn results_are_deterministic_for_any_text(text in "\\PC{0,60}") {
        let judgement = judge(&text);
        prop_assert_eq!(judge(&text), judgement);
        prop_assert!(judgement.evidence.is_finite() && judgement.evidence >= 0.0);
        let sum: f64 = judgement.distribution.probabilities().iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-9);
    }

    #[test]
    fn weights_survive_quantization(
        rows in prop::collection::vec((0..features::BUCKETS, prop::array::uniform7(-3.0_f32..3.0)), 1..20),
        bias in prop::array::uniform7(-1.0_f32..1.0),
    ) {
        let mut learnt = vec![[0.0; 7]; features::BUCKETS + features::HINTS];
        for (bucket, weights) in rows {
            learnt[bucket] = weights;
        }
        let weights = Weights::quantize(&learnt, bias, 1.0);
        prop_assert_eq!(Weights::from_bytes(&weights.to_bytes()), Ok(weights.clone()));
        // The error is at most half a step: the largest difference of two weights is 6, divided
        // into 127 steps.
        let features = Features::of("비가 왔다");
        let scores = weights.scores(&features);
        let neutral = Emotion::Neutral.index();
        for emotion in 0..7 {
            let exact: f32 = features.buckets.iter().map(|bucket| {
                let row = learnt[*bucket as usize];
                (row[emotion] - row[neutral]) * features.share()
            }).sum::<f32>() + bias[emotion] - bias[neutral];
            let most = features.share() * 3.0 / 127.0 * 20.0;
            prop_assert!((scores[emotion] - exact).abs() <= most + 1e-4);
        }
    }
}
