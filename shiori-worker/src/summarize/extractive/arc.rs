//! How a week's mood went.

use shiori_sdk::Emotion;

/// The shape of a week's moods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MoodArc {
    /// There is only one day.
    OneDay(Emotion),
    /// Every day was calm.
    Calm,
    /// One feeling, whenever there was any.
    Steady(Emotion),
    /// It began one way and ended another.
    Turn {
        /// The first feeling.
        from: Emotion,
        /// The last feeling.
        to: Emotion,
    },
    /// It ended as it began, with something else in between.
    Return {
        /// The first feeling and the last.
        around: Emotion,
        /// The strongest of those in between.
        between: Emotion,
    },
}

impl MoodArc {
    /// The shape of these days, in order. Calm days are the paper that the others are drawn on.
    pub(super) fn of(labels: &[Emotion]) -> Self {
        if let [only] = labels {
            return Self::OneDay(*only);
        }
        let felt: Vec<_> = labels.iter().copied().filter(|e| *e != Emotion::Neutral).collect();
        let (Some(first), Some(last)) = (felt.first().copied(), felt.last().copied()) else {
            return Self::Calm;
        };
        if first != last {
            return Self::Turn { from: first, to: last };
        }
        let others = felt.iter().copied().filter(|emotion| *emotion != first);
        match most_frequent(others) {
            None => Self::Steady(first),
            Some(between) => Self::Return { around: first, between },
        }
    }
}

/// The most frequent; of equals the first in the order of [`Emotion::ALL`].
fn most_frequent(emotions: impl Iterator<Item = Emotion>) -> Option<Emotion> {
    let mut counts = [0_u32; 7];
    for emotion in emotions {
        counts[emotion.index()] += 1;
    }
    let most = *counts.iter().max()?;
    Emotion::ALL.into_iter().find(|emotion| most > 0 && counts[emotion.index()] == most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Emotion::{Anger, Fear, Happiness, Neutral, Sadness};

    #[test]
    fn every_week_has_a_shape() {
        for (labels, arc) in [
            (vec![Sadness], MoodArc::OneDay(Sadness)),
            (vec![Neutral; 7], MoodArc::Calm),
            (vec![Neutral, Happiness, Neutral, Happiness], MoodArc::Steady(Happiness)),
            (vec![Anger, Fear, Neutral, Happiness], MoodArc::Turn { from: Anger, to: Happiness }),
            (
                vec![Happiness, Sadness, Fear, Sadness, Happiness],
                MoodArc::Return { around: Happiness, between: Sadness },
            ),
        ] {
            assert_eq!(MoodArc::of(&labels), arc, "{labels:?}");
        }
    }
}
