//! The emotions of the days, over time.

use crate::{
    client::Client,
    transport::{error::Result, request::Request},
    types::{DateRange, EmotionHistory, limits::MAX_EMOTION_DAYS},
};

impl Client {
    /// The emotions of the days, over time.
    pub fn emotions(&self) -> Emotions {
        Emotions { client: self.clone() }
    }
}

/// The emotions of the days, over time. Created by [`Client::emotions`].
///
/// ```no_run
/// # async fn example(client: shiori_sdk::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use shiori_sdk::{Date, DateRange};
///
/// let year = DateRange::new(Date::new(2026, 1, 1)?, Date::new(2026, 12, 31)?)?;
/// for month in client.emotions().get(year).await?.months {
///     println!("{}: {:?}", month.start, month.counts.most_frequent());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Emotions {
    client: Client,
}

impl Emotions {
    /// The emotions of a range of days, and how many days of each week and month have each emotion.
    /// The range may have any length; the SDK sends one request for every ten years.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if a request fails or the client is not signed in; of kind
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) while the server cannot read the
    /// summaries.
    pub async fn get(&self, range: DateRange) -> Result<EmotionHistory> {
        let mut days = Vec::new();
        let mut next = Some(range.start());
        while let Some(start) = next.filter(|start| *start <= range.end()) {
            let end = start
                .plus_days(i64::from(MAX_EMOTION_DAYS) - 1)
                .unwrap_or(range.end())
                .min(range.end());
            let request =
                Request::get("/api/diary/emotions").query("start", &start).query("end", &end);
            let page: EmotionHistory = self.client.send(&request).await?.data()?;
            days.extend(page.days);
            next = end.plus_days(1);
        }
        // Counted here, because a week or month may be in two pages.
        Ok(EmotionHistory::of(days))
    }
}
