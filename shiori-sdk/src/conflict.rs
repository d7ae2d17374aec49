//! What to do when another save was first.

use std::fmt;

use crate::{
    Diary, Document, Draft, MAX_TITLE_CHARS, Version,
    merge::{self, OnOverlap},
};

/// Another save was first. `Debug` shows no text.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Conflict {
    /// What was to be saved.
    pub ours: Draft,
    /// What `ours` was made from, if it was told by [`Save::with_base`](crate::Save::with_base).
    pub base: Option<Draft>,
    /// The version that was to be saved over; `None` when there was to be no diary.
    pub expected: Option<Version>,
    /// The diary as it stands; `None` when it was deleted, or never was.
    pub current: Option<Diary>,
    /// How many saves have met a conflict so far, from 1 on.
    pub attempt: u32,
}

/// What a [`ConflictResolver`] decides.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// Save this over what stands.
    Retry(Draft),
    /// Give up; the caller gets the conflict.
    Fail,
}

/// Decides what is saved instead when another save was first.
///
/// It may be asked several times for one save, and even for one conflict, each time with what stands
/// then; `ours` and `base` stay the same. It must not block.
pub trait ConflictResolver: Send + Sync {
    /// Decides on one conflict.
    fn resolve(&self, conflict: &Conflict) -> Resolution;
}

/// Leaves every conflict to the caller. The default of a save.
#[derive(Debug, Clone, Copy, Default)]
pub struct FailOnConflict;

impl ConflictResolver for FailOnConflict {
    fn resolve(&self, _: &Conflict) -> Resolution {
        Resolution::Fail
    }
}

/// Saves one's own draft over whatever stands. What the others wrote is lost: name it only where
/// that is meant.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overwrite;

impl ConflictResolver for Overwrite {
    fn resolve(&self, conflict: &Conflict) -> Resolution {
        Resolution::Retry(conflict.ours.clone())
    }
}

/// Merges both sides block by block against the diary both were made from, see [`merge`].
///
/// Without [`Save::with_base`](crate::Save::with_base) there is no common past, and both sides
/// count as written anew.
#[derive(Debug, Clone, Copy)]
pub struct MergeBlocks {
    /// What becomes of blocks, and of a title, that both sides changed differently.
    pub on_overlap: OnOverlap,
}

impl ConflictResolver for MergeBlocks {
    fn resolve(&self, conflict: &Conflict) -> Resolution {
        let Some(current) = &conflict.current else {
            // Nothing stands in the way, and what the person wrote is worth keeping.
            return Resolution::Retry(conflict.ours.clone());
        };
        let (empty, blank) = (Document::empty(), String::new());
        let (base, base_title) = match &conflict.base {
            Some(base) => (&base.content, &base.title),
            None => (&empty, &blank),
        };
        let merged =
            merge::merge3_with(base, &conflict.ours.content, &current.content, self.on_overlap);
        if self.on_overlap == OnOverlap::Fail && !merged.overlaps.is_empty() {
            return Resolution::Fail;
        }
        match merge_titles(base_title, &conflict.ours.title, &current.title, self.on_overlap) {
            Some(title) => Resolution::Retry(Draft { title, content: merged.document }),
            None => Resolution::Fail,
        }
    }
}

/// The title of a merged diary; `None` when both sides changed it and that is to fail.
fn merge_titles(base: &str, ours: &str, theirs: &str, on_overlap: OnOverlap) -> Option<String> {
    let title = if ours == theirs || ours == base {
        theirs.to_owned()
    } else if theirs == base {
        ours.to_owned()
    } else {
        match on_overlap {
            OnOverlap::Fail => return None,
            OnOverlap::Ours => ours.to_owned(),
            OnOverlap::Theirs => theirs.to_owned(),
            OnOverlap::KeepBoth => {
                let both = format!("{theirs} / {ours}");
                let fits = both.chars().count() <= MAX_TITLE_CHARS;
                if fits && !theirs.contains(ours) { both } else { theirs.to_owned() }
            }
        }
    };
    Some(title)
}

/// A resolver of one's own: what the function returns is saved over what stands.
///
/// ```
/// use shiori_sdk::{Conflict, Resolution, resolve_with};
///
/// let append = resolve_with(|conflict: &Conflict| {
///     let Some(current) = &conflict.current else { return Resolution::Fail };
///     let mut draft = current.to_draft();
///     draft.content.push_paragraph("한 줄 더");
///     Resolution::Retry(draft)
/// });
/// # let _ = append;
/// ```
pub fn resolve_with<F>(resolve: F) -> impl ConflictResolver + fmt::Debug
where
    F: Fn(&Conflict) -> Resolution + Send + Sync,
{
    ResolveWith(resolve)
}

struct ResolveWith<F>(F);

impl<F: Fn(&Conflict) -> Resolution + Send + Sync> ConflictResolver for ResolveWith<F> {
    fn resolve(&self, conflict: &Conflict) -> Resolution {
        (self.0)(conflict)
    }
}

impl<F> fmt::Debug for ResolveWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResolveWith(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_merge_like_blocks() {
        let merged = |base, ours, theirs| {
            merge_titles(base, ours, theirs, OnOverlap::KeepBoth).expect("kept")
        };
        assert_eq!(merged("월요일", "월요일", "비 오는 월요일"), "비 오는 월요일");
        assert_eq!(merged("월요일", "비 오는 월요일", "월요일"), "비 오는 월요일");
        assert_eq!(merged("월요일", "출근", "비"), "비 / 출근");
        assert_eq!(merged("", &"가".repeat(30), &"나".repeat(30)), "나".repeat(30));
        assert_eq!(merge_titles("가", "나", "다", OnOverlap::Fail), None);
        assert_eq!(merge_titles("가", "나", "다", OnOverlap::Ours).as_deref(), Some("나"));
    }
}
