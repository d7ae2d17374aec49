use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::{Date, DayEmotion, Emotion, Week};

/// The emotions of a range of days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct EmotionHistory {
    /// The days of the range that have a diary and an emotion, by date. The emotion is the one that
    /// the diary has when it is read.
    ///
    /// Days with an unknown label are omitted.
    #[serde(deserialize_with = "DayEmotion::deserialize_known")]
    pub days: Vec<DayEmotion>,
    /// The weeks with such days, Monday to Sunday (ISO 8601), in order.
    pub weeks: Vec<EmotionPeriod>,
    /// The months with such days, in order.
    pub months: Vec<EmotionPeriod>,
}

/// How many days of a week or month have each emotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmotionPeriod {
    /// The first day of the week or month, which may be before the range.
    pub start: Date,
    /// The days of the range in this period, by emotion.
    pub counts: EmotionCounts,
}

/// A number of days for each of the seven emotions, by their Korean names.
///
/// Unknown names are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = BTreeMap<String, u32>))]
pub struct EmotionCounts([u32; 7]);

impl EmotionHistory {
    /// The history of these days, which are in order of their dates.
    pub fn of(days: Vec<DayEmotion>) -> Self {
        let week = |date: Date| Week::containing(date).start();
        let month = |date: Date| Date::from_number(date.as_number() / 100 * 100 + 1);
        let weeks = periods(&days, week);
        let months = periods(&days, |date| month(date).unwrap_or(date));
        Self { days, weeks, months }
    }
}

/// The periods of these days, in order. `start` returns the first day of a date's period.
fn periods(days: &[DayEmotion], start: impl Fn(Date) -> Date) -> Vec<EmotionPeriod> {
    let mut counts = BTreeMap::<Date, EmotionCounts>::new();
    for day in days {
        counts.entry(start(day.date)).or_default().add(day.label);
    }
    counts.into_iter().map(|(start, counts)| EmotionPeriod { start, counts }).collect()
}

impl EmotionCounts {
    /// The number of days with this emotion.
    pub fn get(&self, emotion: Emotion) -> u32 {
        self.0[emotion.index()]
    }

    /// The number of days with any emotion.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// The emotion of most days; `None` if two or more are equally frequent, or there are no days.
    pub fn most_frequent(&self) -> Option<Emotion> {
        let highest = self.0.into_iter().max()?;
        let mut top = Emotion::ALL.into_iter().filter(|emotion| self.get(*emotion) == highest);
        let only = top.next().filter(|_| highest > 0);
        if top.next().is_some() { None } else { only }
    }

    fn add(&mut self, emotion: Emotion) {
        self.0[emotion.index()] += 1;
    }
}

impl FromIterator<Emotion> for EmotionCounts {
    fn from_iter<I: IntoIterator<Item = Emotion>>(emotions: I) -> Self {
        let mut counts = Self::default();
        emotions.into_iter().for_each(|emotion| counts.add(emotion));
        counts
    }
}

impl Serialize for EmotionCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Emotion::ALL.iter().map(|emotion| (emotion, self.get(*emotion))))
    }
}

impl<'de> Deserialize<'de> for EmotionCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CountsVisitor)
    }
}

struct CountsVisitor;

impl<'de> Visitor<'de> for CountsVisitor {
    type Value = EmotionCounts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of numbers of days")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EmotionCounts, A::Error> {
        let mut counts = EmotionCounts::default();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match Emotion::from_korean(&name) {
                Some(emotion) => counts.0[emotion.index()] = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::Distribution;

    fn tagged(date: u32, label: Emotion) -> DayEmotion {
        let date = Date::from_number(date).expect("a date");
        DayEmotion { date, label, confidence: 1.0, distribution: Distribution::UNIFORM }
    }

    /// A week that spans two years is one week, and its days belong to two months.
    #[test]
    fn days_are_counted_by_week_and_month() {
        let history = EmotionHistory::of(vec![
            tagged(20_261_227, Emotion::Anger),
            tagged(20_261_228, Emotion::Happiness),
            tagged(20_261_231, Emotion::Sadness),
            tagged(20_270_101, Emotion::Happiness),
            tagged(20_270_104, Emotion::Fear),
        ]);
        let counted = |periods: &[EmotionPeriod]| -> Vec<_> {
            let counted = periods.iter().map(|period| {
                (period.start.as_number(), period.counts.total(), period.counts.most_frequent())
            });
            counted.collect()
        };
        assert_eq!(
            counted(&history.weeks),
            [
                (20_261_221, 1, Some(Emotion::Anger)),
                (20_261_228, 3, Some(Emotion::Happiness)),
                (20_270_104, 1, Some(Emotion::Fear)),
            ]
        );
        assert_eq!(counted(&history.months), [(20_261_201, 3, None), (20_270_101, 2, None),]);
        assert_eq!(EmotionCounts::default().most_frequent(), None);
        let december = history.months[0].counts;
        assert_eq!((december.get(Emotion::Anger), december.get(Emotion::Fear)), (1, 0));
    }

    #[test]
    fn unknown_emotions_are_skipped() {
        let day = |label| json!({"date": "20260216", "label": label, "confidence": 1.0, "distribution": {}});
        let counts = json!({"행복": 2, "설렘": 3, "슬픔": 0});
        let body = json!({
            "days": [day("설렘"), day("행복")], "weeks": [{"start": "20260216", "counts": counts}],
            "months": [], "years": [],
        });
        let history: EmotionHistory = serde_json::from_value(body).expect("readable");
        assert_eq!((history.days.len(), history.weeks[0].counts.total()), (1, 2));
        let written = serde_json::to_value(history.weeks[0].counts).expect("JSON");
        assert_eq!(
            (written["행복"].as_u64(), written.as_object().map(serde_json::Map::len)),
            (Some(2), Some(7))
        );
        let again: EmotionCounts = serde_json::from_value(written).expect("readable");
        assert_eq!(again, history.weeks[0].counts);
        assert!(serde_json::from_value::<EmotionCounts>(json!({"행복": -1})).is_err());
    }
}
