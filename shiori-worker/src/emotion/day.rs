use shiori_sdk::{Date, DayEmotion, Distribution, Emotion};

use super::Judgement;

/// The emotion of a day from those of its blocks: their mean, each weighted by its evidence, so
/// that blocks that say nothing do not thin out those that do. Without any evidence it is
/// [`Distribution::UNIFORM`], and the label [`Emotion::Neutral`].
pub fn day_emotion(date: Date, blocks: &[Judgement]) -> DayEmotion {
    let mut weights = [0.0; 7];
    for block in blocks {
        let evidence = if block.evidence.is_finite() { block.evidence.max(0.0) } else { 0.0 };
        for (weight, emotion) in weights.iter_mut().zip(Emotion::ALL) {
            *weight += evidence * block.distribution.probability(emotion);
        }
    }
    let distribution = Distribution::from_weights(weights);
    let label = distribution.label();
    DayEmotion { date, label, confidence: distribution.probability(label), distribution }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judgement(emotion: Emotion, evidence: f64) -> Judgement {
        let mut weights = [1.0; 7];
        weights[emotion.index()] = 6.0;
        Judgement { distribution: Distribution::from_weights(weights), evidence }
    }

    fn date() -> Date {
        Date::new(2026, 2, 16).expect("real")
    }

    #[test]
    fn a_day_without_evidence_is_neutral() {
        let nothing = Judgement { distribution: Distribution::UNIFORM, evidence: 0.0 };
        for blocks in [vec![], vec![nothing; 3]] {
            let day = day_emotion(date(), &blocks);
            assert_eq!(day.label, Emotion::Neutral);
            assert_eq!(day.distribution, Distribution::UNIFORM);
        }
    }

    #[test]
    fn silent_blocks_do_not_thin_out_the_others() {
        let glad = judgement(Emotion::Happiness, 2.0);
        let silent = Judgement { distribution: Distribution::UNIFORM, evidence: 0.0 };
        let alone = day_emotion(date(), &[glad]);
        let among = day_emotion(date(), &[silent, glad, silent, silent]);
        assert_eq!(alone, among);
        assert_eq!(alone.label, Emotion::Happiness);
    }

    #[test]
    fn a_day_torn_in_two_is_neutral() {
        let torn = [judgement(Emotion::Sadness, 1.0), judgement(Emotion::Happiness, 1.0)];
        assert_eq!(day_emotion(date(), &torn).label, Emotion::Neutral);
    }

    proptest! {
        #[test]
        fn the_order_of_blocks_makes_no_difference(
            blocks in prop::collection::vec((0usize..7, 0.0..9.0f64), 0..9),
        ) {
            let blocks: Vec<_> =
                blocks.into_iter().map(|(n, e)| judgement(Emotion::ALL[n], e)).collect();
            let reversed: Vec<_> = blocks.iter().rev().copied().collect();
            let (one, two) = (day_emotion(date(), &blocks), day_emotion(date(), &reversed));
            for emotion in Emotion::ALL {
                let (p, q) = (one.distribution.probability(emotion), two.distribution.probability(emotion));
                prop_assert!((p - q).abs() < 1e-9);
            }
            let confidence = one.distribution.probability(one.label);
            prop_assert!((one.confidence - confidence).abs() < f64::EPSILON);
        }
    }
}
