//! The course of a week's moods.

use shiori_sdk::Emotion;

/// The course of a week's moods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MoodArc {
    /// The week has only one day.
    OneDay(Emotion),
    /// Every day is neutral.
    Calm,
    /// All days that are not neutral have the same emotion.
    Steady(Emotion),
    /// The first and the last emotion differ.
    Turn {
        /// The first emotion.
        from: Emotion,
        /// The last emotion.
        to: Emotion,
    },
    /// The first and the last emotion are the same, with others in between.
    Return {
        /// The first and last emotion.
        around: Emotion,
        /// The most frequent of the others.
        between: Emotion,
    },
}

impl MoodArc {
    /// The course of these days, in order. Neutral days are ignored unless all days are neutral.
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

/// The most frequent emotion; in a tie, the first in the order of [`Emotion::ALL`].
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
    fn the_arc_follows_from_the_labels() {
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
