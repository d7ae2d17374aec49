use shiori_sdk::{Client, Date, Document, Draft, Precondition, Week};

use crate::Place;

/// Number of diaries of one user, a week apart. Each is part of seven weeks.
const DAYS: i64 = 100;

/// Weeks whose summary was not requested before, so that every request inserts a row.
#[derive(Debug)]
pub struct FreshWeeks<'a> {
    place: &'a Place,
    person: Option<Client>,
    weeks: Vec<Week>,
}

impl<'a> FreshWeeks<'a> {
    /// Creates users and diaries on demand.
    pub fn new(place: &'a Place) -> Self {
        Self { place, person: None, weeks: Vec::new() }
    }

    /// Returns this many weeks, each with a client of its user.
    ///
    /// # Panics
    ///
    /// If the server does not respond.
    pub async fn take(&mut self, count: usize) -> Vec<(Client, Week)> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            match (&self.person, self.weeks.pop()) {
                (Some(person), Some(week)) => taken.push((person.clone(), week)),
                _ => self.refill().await,
            }
        }
        taken
    }

    async fn refill(&mut self) {
        let person = self.place.person().await;
        let first = Date::new(2020, 1, 6).expect("a date");
        for nth in 0..DAYS {
            let date = first.plus_days(nth * 7).expect("a date");
            let draft = Draft::new("하루", Document::from_text("산책을 했다. 즐거웠다."));
            person.diaries().save(date, draft, Precondition::IfAbsent).await.expect("saved");
            let start = |back: i64| date.plus_days(-back).and_then(|day| Week::starting(day).ok());
            self.weeks.extend((0..7).filter_map(start));
        }
        self.person = Some(person);
    }
}
