use std::{fmt, future::ready};

use super::{Diaries, save::Saved};
use crate::{
    transport::error::Result,
    types::{Date, Draft},
};

/// The diary of a date, which may be absent, and the changes to apply. Created by
/// [`Diaries::entry`]. Saving it reads the diary, applies the changes in order and saves; after a
/// conflict it starts again.
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
    modify_existing: Vec<Modify<'a>>,
}

/// An [`Entry`] that always has a draft: the one of the diary, or an inserted one.
#[must_use = "an entry does nothing until it is saved"]
pub struct FilledEntry<'a> {
    entry: Entry<'a>,
    insert: Box<dyn FnMut() -> Draft + Send + 'a>,
    modify: Vec<Modify<'a>>,
}

type Modify<'a> = Box<dyn FnMut(&mut Draft) + Send + 'a>;

/// The date has no diary, and nothing was inserted.
struct NoDiary;

impl<'a> Entry<'a> {
    pub(super) fn new(diaries: Diaries, date: Date) -> Self {
        Self { diaries, date, modify_existing: Vec::new() }
    }

    /// Changes the draft of the diary, if the date has one. The closure runs again after a
    /// conflict.
    pub fn and_modify(mut self, modify: impl FnMut(&mut Draft) + Send + 'a) -> Self {
        self.modify_existing.push(Box::new(modify));
        self
    }

    /// Inserts this draft if the date has no diary.
    pub fn or_insert(self, draft: Draft) -> FilledEntry<'a> {
        self.or_insert_with(move || draft.clone())
    }

    /// Inserts the draft that the closure returns, if the date has no diary. The closure runs again
    /// after a conflict.
    pub fn or_insert_with(self, insert: impl FnMut() -> Draft + Send + 'a) -> FilledEntry<'a> {
        FilledEntry { entry: self, insert: Box::new(insert), modify: Vec::new() }
    }

    /// Reads, changes and saves. Returns `None` if the date has no diary.
    ///
    /// # Errors
    ///
    /// As [`Diaries::update`].
    pub async fn save(self) -> Result<Option<Saved>> {
        let Self { diaries, date, mut modify_existing } = self;
        let saved = diaries.try_update(date, |current| {
            ready(current.map(|draft| apply(&mut modify_existing, draft)).ok_or(NoDiary))
        });
        Ok(saved.await?.ok())
    }
}

impl<'a> FilledEntry<'a> {
    /// Changes the draft. The closure runs again after a conflict.
    pub fn and_modify(mut self, modify: impl FnMut(&mut Draft) + Send + 'a) -> Self {
        self.modify.push(Box::new(modify));
        self
    }

    /// Reads, changes and saves.
    ///
    /// # Errors
    ///
    /// As [`Diaries::update`].
    pub async fn save(self) -> Result<Saved> {
        let Self { entry, mut insert, mut modify } = self;
        let Entry { diaries, date, mut modify_existing } = entry;
        let change = |current: Option<Draft>| {
            let draft = match current {
                Some(draft) => apply(&mut modify_existing, draft),
                None => insert(),
            };
            ready(apply(&mut modify, draft))
        };
        diaries.update_or_create(date, change).await
    }
}

fn apply(changes: &mut [Modify<'_>], mut draft: Draft) -> Draft {
    for change in changes {
        change(&mut draft);
    }
    draft
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("date", &self.date).finish_non_exhaustive()
    }
}

impl fmt::Debug for FilledEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilledEntry").field("date", &self.entry.date).finish_non_exhaustive()
    }
}
