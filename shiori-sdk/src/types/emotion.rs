use std::{borrow::Cow, error::Error, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};

use super::Date;

/// One of the seven emotions that a diary is tagged with, by their Korean names: fear, surprise,
/// anger, sadness, neutral, happiness and disgust.
///
/// [`Emotion::english`] returns English names. The enum is
/// exhaustive, because a [`Distribution`] has exactly these seven: an eighth would need a new major
/// version of this crate. Older versions ignore unknown labels.
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

    /// The index in [`Emotion::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Parses the name on the wire.
    pub(super) fn from_korean(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|emotion| emotion.korean() == name)
    }
}

impl fmt::Display for Emotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.korean())
    }
}

/// The text is not the name of one of the seven emotions.
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

    /// Parses the Korean or the English name.
    fn from_str(text: &str) -> Result<Self, UnknownEmotion> {
        let named = |emotion: &Self| emotion.korean() == text || emotion.english() == text;
        Self::ALL.into_iter().find(named).ok_or(UnknownEmotion)
    }
}

/// The probabilities of the seven emotions by their Korean names, 0 to 1, rounded to four decimals.
/// They add up to 1.
///
/// Unknown names are skipped, and the others are normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = std::collections::BTreeMap<String, f64>))]
pub struct Distribution([f64; 7]);

impl Distribution {
    /// All emotions equally likely: the distribution of a text without any evidence.
    pub const UNIFORM: Self = Self([1.0 / 7.0; 7]);

    /// The distribution in proportion to these weights, in the order of [`Emotion::ALL`].
    /// Weights that are negative or not finite count as 0; if all are 0, the result is
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

    /// The mean of these distributions; [`Distribution::UNIFORM`] if there are none.
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

    /// The most likely emotion; [`Emotion::Neutral`] if two or more are equally likely, because the
    /// evidence is then inconclusive.
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
        // The models are not more precise than four decimals.
        let rounded = |p: f64| (p * 10_000.0).round() / 10_000.0;
        serializer.collect_map(Emotion::ALL.iter().map(|e| (e, rounded(self.probability(*e)))))
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DistributionVisitor)
    }
}

struct DistributionVisitor;

impl<'de> Visitor<'de> for DistributionVisitor {
    type Value = Distribution;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of probabilities")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Distribution, A::Error> {
        let mut weights = [0.0; 7];
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let Some(emotion) = Emotion::from_korean(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let probability: f64 = map.next_value()?;
            if !probability.is_finite() || probability < 0.0 {
                return Err(de::Error::custom("a probability is negative or not finite"));
            }
            weights[emotion.index()] = probability;
        }
        Ok(Distribution::from_weights(weights))
    }
}

/// The emotion of one day's diary.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "LabelledDay")]
pub struct DayEmotion {
    /// The date.
    pub date: Date,
    /// The emotion that the day is tagged with.
    pub label: Emotion,
    /// The probability of that emotion, 0 to 1.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 1))]
    pub confidence: f64,
    /// The probabilities of all seven.
    pub distribution: Distribution,
}

impl DayEmotion {
    /// Deserialises a list and omits days with an unknown label. For `#[serde(deserialize_with =
    /// "DayEmotion::deserialize_known")]`.
    ///
    /// # Errors
    ///
    /// The deserialiser's, if the input is not such a list.
    pub fn deserialize_known<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Self>, D::Error> {
        let days = Vec::<LabelledDay>::deserialize(deserializer)?;
        Ok(days.into_iter().filter_map(|day| Self::try_from(day).ok()).collect())
    }
}

/// A [`DayEmotion`] on the wire, with any label.
#[derive(Deserialize)]
struct LabelledDay {
    date: Date,
    label: String,
    confidence: f64,
    distribution: Distribution,
}

impl TryFrom<LabelledDay> for DayEmotion {
    type Error = UnknownEmotion;

    fn try_from(day: LabelledDay) -> Result<Self, UnknownEmotion> {
        let LabelledDay { date, label, confidence, distribution } = day;
        let label = Emotion::from_korean(&label).ok_or(UnknownEmotion)?;
        Ok(Self { date, label, confidence, distribution })
    }
}

/// Deserialises an optional emotion; an unknown name is `None`.
pub(super) fn deserialize_if_known<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Emotion>, D::Error> {
    let name = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    Ok(name.and_then(|name| Emotion::from_korean(&name)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_label_is_neutral_without_evidence_and_in_a_tie() {
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
    fn emotions_have_korean_names_on_the_wire() {
        let json = serde_json::to_value(Distribution::UNIFORM).expect("serialises");
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(7));
        assert_eq!(json["행복"], 0.1429);
        for emotion in Emotion::ALL {
            assert_eq!(serde_json::json!(emotion), emotion.korean());
            assert_eq!(emotion.korean().parse(), Ok(emotion));
            assert_eq!(emotion.english().parse(), Ok(emotion));
        }
    }

    #[test]
    fn a_distribution_is_normalised_over_the_known_labels() {
        for (body, happiness, fear) in [
            (json!({"행복": 0.75, "공포": 0.25}), 0.75, 0.25),
            (json!({"행복": 0.3, "공포": 0.1, "희망": 0.6}), 0.75, 0.25),
            (json!({"행복": 0.5, "희망": {"of": "another type"}}), 1.0, 0.0),
            (json!({"희망": 1.0}), 1.0 / 7.0, 1.0 / 7.0),
            (json!({}), 1.0 / 7.0, 1.0 / 7.0),
        ] {
            let distribution: Distribution =
                serde_json::from_value(body.clone()).expect("a distribution");
            let close = |emotion, expected: f64| {
                (distribution.probability(emotion) - expected).abs() < 1e-9
            };
            assert!(close(Emotion::Happiness, happiness) && close(Emotion::Fear, fear), "{body}");
        }
        for body in [json!({"행복": -0.1}), json!({"행복": "높음"}), json!([0.5]), json!(null)]
        {
            assert!(serde_json::from_value::<Distribution>(body).is_err());
        }
    }

    #[test]
    fn a_list_omits_days_with_an_unknown_label() {
        #[derive(Deserialize)]
        struct Body {
            #[serde(deserialize_with = "DayEmotion::deserialize_known")]
            emotions: Vec<DayEmotion>,
        }

        let day = |date, label| json!({"date": date, "label": label, "confidence": 0.5, "distribution": {"희망": 1.0}, "model": "later/1"});
        let emotions = [day("20260216", "행복"), day("20260217", "희망"), day("20260218", "슬픔")];
        let body: Body = serde_json::from_value(json!({ "emotions": emotions })).expect("a list");
        let labels: Vec<_> = body.emotions.iter().map(|day| (day.date.day(), day.label)).collect();
        assert_eq!(labels, [(16, Emotion::Happiness), (18, Emotion::Sadness)]);
        assert!(serde_json::from_value::<DayEmotion>(day("20260217", "희망")).is_err());
        let wrong = json!({ "emotions": [day("20260230", "희망")] });
        assert!(serde_json::from_value::<Body>(wrong).is_err(), "a date that does not exist");
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
