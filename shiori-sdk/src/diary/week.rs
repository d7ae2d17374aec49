//! The diaries of a week.

use crate::{
    client::Client,
    transport::error::Result,
    types::{Date, DiaryEntry, Week},
};

impl Client {
    /// The diaries of a week, without their contents.
    pub fn weeks(&self) -> Weeks {
        Weeks { client: self.clone() }
    }
}

/// Weeks. Created by [`Client::weeks`].
#[derive(Debug, Clone)]
pub struct Weeks {
    client: Client,
}

impl Weeks {
    /// The days of the week, and the diary of each without its content.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the request fails or the client is not signed in.
    pub async fn meta(&self, week: Week) -> Result<WeekMeta> {
        let mut entries = self.client.diaries().list(week.into()).await?.into_iter().peekable();
        let day = |date| DayMeta { date, entry: entries.next_if(|entry| entry.date == date) };
        Ok(WeekMeta { week, days: week.dates().map(day).collect() })
    }
}

/// A week, day by day.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WeekMeta {
    /// The week.
    pub week: Week,
    /// Its seven days, in order.
    pub days: Vec<DayMeta>,
}

/// A day of a week.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DayMeta {
    /// The day.
    pub date: Date,
    /// Its diary; `None` if it has none.
    pub entry: Option<DiaryEntry>,
}

impl WeekMeta {
    /// The days that have no diary.
    pub fn missing(&self) -> Vec<Date> {
        self.days.iter().filter(|day| day.entry.is_none()).map(|day| day.date).collect()
    }

    /// Whether every day has a diary.
    pub fn is_complete(&self) -> bool {
        self.days.iter().all(|day| day.entry.is_some())
    }
}
