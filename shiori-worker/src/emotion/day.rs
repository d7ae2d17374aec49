use shiori_sdk::{Date, DayEmotion, Distribution, Emotion};

use super::Judgement;

/// The emotion of a day from the judgements of its texts: the mean of their distributions, weighted
/// by evidence. Without any evidence it is [`Distribution::UNIFORM`] and [`Emotion::Neutral`]. The
/// confidence is the probability of the label.
///
/// Evidence that is negative or not finite counts as 0.
pub fn day_emotion(date: Date, judgements: &[Judgement]) -> DayEmotion {
    let weight = |judgement: &Judgement| {
        let evidence = judgement.evidence;
        if evidence.is_finite() && evidence > 0.0 { evidence } else { 0.0 }
    };
    let heaviest = judgements.iter().map(weight).fold(0.0, f64::max);
    let mut sum = [0.0; Emotion::ALL.len()];
    // Scaled, so that the sum of huge evidence stays finite.
    for judgement in judgements.iter().filter(|_| heaviest > 0.0) {
        let share = weight(judgement) / heaviest;
        for (total, p) in sum.iter_mut().zip(judgement.distribution.probabilities()) {
            *total += share * p;
        }
    }
    let distribution = Distribution::from_weights(sum);
    let label = distribution.label();
    DayEmotion { date, label, confidence: distribution.probability(label), distribution }
}

/// The emotion of a day from the judgements of its texts: the most frequent label, and the mean of
/// their distributions. In a tie, the label with the higher probability in the mean is chosen. The
/// confidence is the probability of the label in the mean; another emotion may have a higher one.
///
/// Texts without evidence do not count. If no text has evidence, the result is
/// [`Distribution::UNIFORM`] and [`Emotion::Neutral`].
pub fn majority_emotion(date: Date, judgements: &[Judgement]) -> DayEmotion {
    let counted = judgements.iter().filter(|judgement| judgement.evidence > 0.0);
    let distributions: Vec<_> = counted.map(|judgement| judgement.distribution).collect();
    let distribution = Distribution::mean(&distributions);
    let mut votes = [0_usize; Emotion::ALL.len()];
    for text in &distributions {
        votes[text.label().index()] += 1;
    }
    let most = votes.iter().copied().max().unwrap_or_default();
    let mut tied = [0.0; Emotion::ALL.len()];
    for emotion in Emotion::ALL.into_iter().filter(|emotion| votes[emotion.index()] == most) {
        tied[emotion.index()] = distribution.probability(emotion);
    }
    let label = Distribution::from_weights(tied).label();
    DayEmotion { date, label, confidence: distribution.probability(label), distribution }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date() -> Date {
        Date::new(2026, 4, 6).expect("is a date")
    }

    fn sure(emotion: Emotion, evidence: f64) -> Judgement {
        let mut weights = [0.0; 7];
        weights[emotion.index()] = 1.0;
        Judgement { distribution: Distribution::from_weights(weights), evidence }
    }

    #[test]
    fn a_day_without_evidence_is_neutral() {
        for judgements in [vec![], vec![sure(Emotion::Fear, 0.0)], vec![sure(Emotion::Fear, -1.0)]]
        {
            let day = day_emotion(date(), &judgements);
            assert_eq!((day.date, day.label), (date(), Emotion::Neutral));
            assert_eq!(day.distribution, Distribution::UNIFORM);
            assert!((day.confidence - 1.0 / 7.0).abs() < 1e-9);
        }
    }

    #[test]
    fn texts_are_weighted_by_their_evidence() {
        let day = day_emotion(date(), &[sure(Emotion::Fear, 1.0), sure(Emotion::Happiness, 3.0)]);
        assert_eq!(day.label, Emotion::Happiness);
        assert!((day.confidence - 0.75).abs() < 1e-9);
        assert!((day.distribution.probability(Emotion::Fear) - 0.25).abs() < 1e-9);
    }

    fn mixed(probabilities: [(Emotion, f64); 2]) -> Judgement {
        let mut weights = [0.0; 7];
        for (emotion, p) in probabilities {
            weights[emotion.index()] = p;
        }
        Judgement { distribution: Distribution::from_weights(weights), evidence: 1.0 }
    }

    #[test]
    fn the_label_is_the_majority_even_if_the_mean_differs() {
        use Emotion::{Anger, Happiness, Sadness};
        let mild = mixed([(Sadness, 0.6), (Happiness, 0.4)]);
        let day = majority_emotion(date(), &[mild, sure(Happiness, 1.0), mild]);
        assert_eq!(day.label, Sadness);
        assert_eq!(day.distribution.label(), Happiness);
        assert!((day.confidence - 0.4).abs() < 1e-9);

        // A tie is decided by the mean; emotions that are no text's label are not candidates.
        let hidden = |emotion| mixed([(emotion, 0.51), (Anger, 0.49)]);
        let tie = [hidden(Sadness), hidden(Happiness), mixed([(Sadness, 0.6), (Anger, 0.4)])];
        assert_eq!(majority_emotion(date(), &tie).label, Sadness);
        let tie = [hidden(Sadness), mixed([(Happiness, 0.6), (Anger, 0.4)])];
        assert_eq!(majority_emotion(date(), &tie).label, Happiness);
    }

    #[test]
    fn texts_without_evidence_do_not_count() {
        let blank = Judgement { distribution: Distribution::UNIFORM, evidence: 0.0 };
        let day = majority_emotion(date(), &[blank, blank, sure(Emotion::Fear, 1.0)]);
        assert_eq!((day.label, day.confidence), (Emotion::Fear, 1.0));
        for judgements in [vec![], vec![blank, blank]] {
            let day = majority_emotion(date(), &judgements);
            assert_eq!(day.label, Emotion::Neutral);
            assert_eq!(day.distribution, Distribution::UNIFORM);
        }
    }

    fn judgement() -> impl Strategy<Value = Judgement> {
        (prop::array::uniform7(0.0..10.0_f64), 0.0..50.0_f64).prop_map(|(weights, evidence)| {
            Judgement { distribution: Distribution::from_weights(weights), evidence }
        })
    }

    proptest! {
        #[test]
        fn any_evidence_yields_a_valid_day(judgements: Vec<([f64; 7], f64)>) {
            let judgements: Vec<Judgement> = judgements
                .into_iter()
                .map(|(w, evidence)| Judgement { distribution: Distribution::from_weights(w), evidence })
                .collect();
            let day = day_emotion(date(), &judgements);
            let sum: f64 = day.distribution.probabilities().iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
            prop_assert_eq!(day.label, day.distribution.label());
            prop_assert!((day.confidence - day.distribution.probability(day.label)).abs() < 1e-12);
        }

        #[test]
        fn a_day_is_between_its_texts_and_independent_of_their_order(mut judgements in prop::collection::vec(judgement(), 1..8)) {
            let day = day_emotion(date(), &judgements);
            for emotion in Emotion::ALL {
                let each = judgements.iter().filter(|j| j.evidence > 0.0).map(|j| j.distribution.probability(emotion));
                let (low, high) = each.fold((1.0_f64, 0.0_f64), |(l, h), p| (l.min(p), h.max(p)));
                let p = day.distribution.probability(emotion);
                prop_assert!(low > high || (low - 1e-9..=high + 1e-9).contains(&p));
            }
            judgements.reverse();
            let reversed = day_emotion(date(), &judgements);
            for emotion in Emotion::ALL {
                let (p, q) = (day.distribution.probability(emotion), reversed.distribution.probability(emotion));
                prop_assert!((p - q).abs() < 1e-9);
            }
        }
    }
}
