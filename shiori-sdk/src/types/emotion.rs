use std::{collections::BTreeMap, error::Error, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Date;

/// One of the seven emotions that a diary is tagged with.
///
/// On the wire they carry their Korean names; [`Emotion::english`] gives English ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Emotion {
    /// 공포
    #[serde(rename = "공포")]
    Fear,
    /// 놀람
    #[serde(rename = "놀람")]
    Surprise,
    /// 분노
    #[serde(rename = "분노")]
    Anger,
    /// 슬픔
    #[serde(rename = "슬픔")]
    Sadness,
    /// 중립
    #[serde(rename = "중립")]
    Neutral,
    /// 행복
    #[serde(rename = "행복")]
    Happiness,
    /// 혐오
    #[serde(rename = "혐오")]
    Disgust,
}

impl Emotion {
    /// All seven, in the order of a [`Distribution`].
    pub const ALL: [Self; 7] = [
        Self::Fear,
        Self::Surprise,
        Self::Anger,
        Self::Sadness,
        Self::Neutral,
        Self::Happiness,
        Self::Disgust,
    ];

    /// The name on the wire.
    pub fn korean(self) -> &'static str {
        match self {
            Self::Fear => "공포",
            Self::Surprise => "놀람",
            Self::Anger => "분노",
            Self::Sadness => "슬픔",
            Self::Neutral => "중립",
            Self::Happiness => "행복",
            Self::Disgust => "혐오",
        }
    }

    /// The English name in lower case.
    pub fn english(self) -> &'static str {
        match self {
            Self::Fear => "fear",
            Self::Surprise => "surprise",
            Self::Anger => "anger",
            Self::Sadness => "sadness",
            Self::Neutral => "neutral",
            Self::Happiness => "happiness",
            Self::Disgust => "disgust",
        }
    }

    /// The emotion with this Korean name, as on the wire.
    fn from_korean(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|emotion| emotion.korean() == name)
    }

    /// The place in [`Emotion::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Emotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.korean())
    }
}

/// The text names none of the seven emotions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownEmotion;

impl fmt::Display for UnknownEmotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of the seven emotions")
    }
}

impl Error for UnknownEmotion {}

impl FromStr for Emotion {
    type Err = UnknownEmotion;

    /// Reads the Korean or the English name.
    fn from_str(text: &str) -> Result<Self, UnknownEmotion> {
        let named = |emotion: &Self| emotion.korean() == text || emotion.english() == text;
        Self::ALL.into_iter().find(named).ok_or(UnknownEmotion)
    }
}

/// How likely each of the seven emotions is: seven probabilities that add up to 1.
///
/// On the wire it is an object from the Korean names to the probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = std::collections::BTreeMap<String, f64>))]
pub struct Distribution([f64; 7]);

impl Distribution {
    /// Everything equally likely: what is known of a text without any evidence.
    pub const UNIFORM: Self = Self([1.0 / 7.0; 7]);

    /// The distribution in proportion to these weights, in the order of [`Emotion::ALL`].
    /// Weights that are negative or not finite count as 0; if none is left, it is
    /// [`Distribution::UNIFORM`].
    pub fn from_weights(weights: [f64; 7]) -> Self {
        let weights = weights.map(|w| if w.is_finite() && w > 0.0 { w } else { 0.0 });
        // Scaled first, so that the sum of huge weights stays finite.
        let largest = weights.iter().fold(0.0_f64, |a, b| a.max(*b));
        if largest <= 0.0 {
            return Self::UNIFORM;
        }
        let scaled = weights.map(|w| w / largest);
        let sum: f64 = scaled.iter().sum();
        Self(scaled.map(|w| w / sum))
    }

    /// The mean of some distributions; [`Distribution::UNIFORM`] of none.
    pub fn mean<'a>(distributions: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = [0.0; 7];
        for distribution in distributions {
            for (total, p) in sum.iter_mut().zip(distribution.0) {
                *total += p;
            }
        }
        Self::from_weights(sum)
    }

    /// The probability of one emotion, 0 to 1.
    pub fn probability(&self, emotion: Emotion) -> f64 {
        self.0[emotion.index()]
    }

    /// The probabilities, in the order of [`Emotion::ALL`].
    pub fn probabilities(&self) -> [f64; 7] {
        self.0
    }

    /// The most likely emotion; [`Emotion::Neutral`] where two or more are equally likely, for
    /// then the text does not say.
    pub fn label(&self) -> Emotion {
        const SAME: f64 = 1e-9;
        let highest = self.0.iter().fold(0.0_f64, |a, b| a.max(*b));
        let mut top = Emotion::ALL.into_iter().filter(|e| self.probability(*e) >= highest - SAME);
        match (top.next(), top.next()) {
            (Some(only), None) => only,
            _ => Emotion::Neutral,
        }
    }
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Four decimals say all that a model of this kind knows.
        let rounded = |p: f64| (p * 10_000.0).round() / 10_000.0;
        serializer.collect_map(Emotion::ALL.iter().map(|e| (e, rounded(self.probability(*e)))))
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Labels that this version does not know are skipped; the rest is normalised again.
        let named = BTreeMap::<String, f64>::deserialize(deserializer)?;
        if named.values().any(|p| !p.is_finite() || *p < 0.0) {
            return Err(de::Error::custom("a probability is negative or not finite"));
        }
        let weight = |emotion: Emotion| named.get(emotion.korean()).copied().unwrap_or(0.0);
        Ok(Self::from_weights(Emotion::ALL.map(weight)))
    }
}

/// The emotion of one day's diary.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DayEmotion {
    /// The day.
    pub date: Date,
    /// The emotion it is tagged with.
    pub label: Emotion,
    /// The probability of that emotion, 0 to 1.
    pub confidence: f64,
    /// How likely each of the seven is.
    pub distribution: Distribution,
}

/// Reads an optional label. One that this version does not know is absent.
pub(super) fn known_label<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Emotion>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    Ok(name.and_then(|name| Emotion::from_korean(&name)))
}

/// Reads the emotions of days. A day whose label this version does not know is absent.
///
/// # Errors
///
/// Those of the deserializer.
pub fn known_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DayEmotion>, D::Error> {
    #[derive(Deserialize)]
    struct Day {
        date: Date,
        #[serde(deserialize_with = "known_label")]
        label: Option<Emotion>,
        confidence: f64,
        distribution: Distribution,
    }

    let days = Vec::<Day>::deserialize(deserializer)?.into_iter();
    let known = |day: Day| {
        let Day { date, label, confidence, distribution } = day;
        Some(DayEmotion { date, label: label?, confidence, distribution })
    };
    Ok(days.filter_map(known).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_evidence_and_ties_are_neutral() {
        assert_eq!(Distribution::UNIFORM.label(), Emotion::Neutral);
        assert_eq!(Distribution::from_weights([0.0; 7]).label(), Emotion::Neutral);
        let mut torn = [0.0; 7];
        torn[Emotion::Sadness.index()] = 2.0;
        torn[Emotion::Happiness.index()] = 2.0;
        assert_eq!(Distribution::from_weights(torn).label(), Emotion::Neutral);
        torn[Emotion::Happiness.index()] = 2.1;
        assert_eq!(Distribution::from_weights(torn).label(), Emotion::Happiness);
    }

    #[test]
    fn the_wire_speaks_korean() {
        let json = serde_json::to_value(Distribution::UNIFORM).expect("serialises");
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(7));
        assert_eq!(json["행복"], 0.1429);
        for emotion in Emotion::ALL {
            assert_eq!(serde_json::json!(emotion), emotion.korean());
            assert_eq!(emotion.korean().parse(), Ok(emotion));
            assert_eq!(emotion.english().parse(), Ok(emotion));
        }
    }

    proptest! {
        #[test]
        fn a_distribution_adds_up_to_one(weights: [f64; 7]) {
            let distribution = Distribution::from_weights(weights);
            let sum: f64 = distribution.probabilities().iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
            prop_assert!(distribution.probabilities().iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }
}
