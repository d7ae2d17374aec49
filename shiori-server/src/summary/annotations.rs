//! The summary status and the emotion of each day.

use std::collections::BTreeMap;

use shiori_sdk::{Date, DayEmotion, DiarySummaryStatus, Emotion, Version};

use crate::store::WeekStatus;

/// The summary statuses and emotions of some days.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotations {
    /// The newest request of each week, in the order of the requests.
    pub weeks: Vec<WeekStatus>,
    /// The newest emotion tag of each day.
    pub tags: BTreeMap<Date, DayEmotion>,
}

impl Annotations {
    /// The summary status of a day whose diary has this version, by the newest request whose week
    /// contains the day.
    pub(crate) fn status(&self, date: Date, version: Version) -> DiarySummaryStatus {
        let newest = self.weeks.iter().rev().find(|request| request.week.contains(date));
        newest.map_or(DiarySummaryStatus::None, |request| {
            let is_current = request.versions_read.get(&date) == Some(&version);
            DiarySummaryStatus::covered_by(request.status, is_current)
        })
    }

    /// The newest emotion of a day.
    pub(crate) fn emotion(&self, date: Date) -> Option<Emotion> {
        self.tags.get(&date).map(|tag| tag.label)
    }
}
