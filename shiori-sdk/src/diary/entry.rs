use std::fmt;

use super::{Diaries, Saved};
use crate::{Date, Draft, Result};

/// The diary of a date, whether there is one or not, to be changed in steps. Made by
/// [`Diaries::entry`]; saving it reads the diary, takes the steps in their order and saves, and
/// does so again when another save came in between.
///
/// ```no_run
/// # async fn example(client: shiori_sdk::Client) -> shiori_sdk::Result<()> {
/// use shiori_sdk::{Date, Document, Draft};
///
/// let date: Date = "20260216".parse().unwrap();
/// let saved = client
///     .diaries()
///     .entry(date)
///     .or_insert_with(|| Draft::new("월요일", Document::empty()))
///     .and_modify(|draft| draft.content.push_paragraph("비가 왔다."))
///     .save()
///     .await?;
/// println!("{:?} as version {}", saved.outcome, saved.version);
/// # Ok(())
/// # }
/// ```
#[must_use = "an entry does nothing until it is saved"]
pub struct Entry<'a> {
    diaries: Diaries,
    date: Date,
    steps: Vec<Step<'a>>,
}

/// An [`Entry`] that has a draft whether there was a diary or not.
#[must_use = "an entry does nothing until it is saved"]
pub struct FilledEntry<'a>(Entry<'a>);

/// A step may be taken several times: after a conflict once more.
enum Step<'a> {
    Insert(Box<dyn FnMut() -> Draft + Send + 'a>),
    Modify(Box<dyn FnMut(&mut Draft) + Send + 'a>),
}

impl<'a> Entry<'a> {
    pub(super) fn new(diaries: Diaries, date: Date) -> Self {
        Self { diaries, date, steps: Vec::new() }
    }

    /// Where there is a diary, changes its draft.
    pub fn and_modify(mut self, modify: impl FnMut(&mut Draft) + Send + 'a) -> Self {
        self.steps.push(Step::Modify(Box::new(modify)));
        self
    }

    /// Where there is no diary, begins with this draft.
    pub fn or_insert(self, draft: Draft) -> FilledEntry<'a> {
        self.or_insert_with(move || draft.clone())
    }

    /// Where there is no diary, begins with the draft that the closure makes.
    pub fn or_insert_with(mut self, insert: impl FnMut() -> Draft + Send + 'a) -> FilledEntry<'a> {
        self.steps.push(Step::Insert(Box::new(insert)));
        FilledEntry(self)
    }

    /// Reads, changes and saves; `None` where there is no diary.
    ///
    /// # Errors
    ///
    /// As [`Diaries::update`].
    pub async fn save(self) -> Result<Option<Saved>> {
        let Self { diaries, date, mut steps } = self;
        diaries
            .change(date, |mut draft| {
                for step in &mut steps {
                    match (step, &mut draft) {
                        (Step::Insert(insert), None) => draft = Some(insert()),
                        (Step::Modify(modify), Some(draft)) => modify(draft),
                        (Step::Insert(_), Some(_)) | (Step::Modify(_), None) => {}
                    }
                }
                std::future::ready(draft)
            })
            .await
    }
}

impl<'a> FilledEntry<'a> {
    /// Changes the draft: that of the diary, or the one that was inserted.
    pub fn and_modify(self, modify: impl FnMut(&mut Draft) + Send + 'a) -> Self {
        Self(self.0.and_modify(modify))
    }

    /// Reads, changes and saves.
    ///
    /// # Errors
    ///
    /// As [`Diaries::update`].
    pub async fn save(self) -> Result<Saved> {
        self.0.save().await?.map_or_else(|| unreachable!("there always is a draft"), Ok)
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("date", &self.date).finish_non_exhaustive()
    }
}

impl fmt::Debug for FilledEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FilledEntry").field(&self.0).finish()
    }
}
