//! Conflict resolvers: what to save after a version conflict.

use std::fmt;

use crate::{
    merge::{self, OnOverlap},
    transport::error::Conflict,
    types::{Document, Draft, MAX_TITLE_CHARS, check_title},
};

/// The decision of a [`ConflictResolver`].
#[derive(Debug, Clone)]
pub enum Resolution {
    /// Replace the current diary by this draft.
    Retry(Draft),
    /// Fail with the conflict.
    Fail,
}

/// Decides what to save after a version conflict.
///
/// The SDK may call it several times for one save, and twice for one conflict: before and after a
/// pause. `ours` and `base` do not change; `current` is the diary at the time of the call. It must
/// not block.
pub trait ConflictResolver: Send + Sync {
    /// Decides on one conflict.
    fn resolve(&self, conflict: &Conflict) -> Resolution;

    /// Whether [`resolve`](Self::resolve) can ever return [`Resolution::Retry`]. If not, the SDK
    /// does not call it and fails at once. Default: true.
    fn can_retry(&self) -> bool {
        true
    }
}

/// Fails with the conflict. The default of a save.
#[derive(Debug, Clone, Copy, Default)]
pub struct FailOnConflict;

impl ConflictResolver for FailOnConflict {
    fn resolve(&self, _: &Conflict) -> Resolution {
        Resolution::Fail
    }

    fn can_retry(&self) -> bool {
        false
    }
}

/// Overwrites the current diary with the draft. Concurrent changes are lost, so it must be chosen
/// explicitly.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overwrite;

impl ConflictResolver for Overwrite {
    fn resolve(&self, conflict: &Conflict) -> Resolution {
        Resolution::Retry(conflict.ours.clone())
    }
}

/// Merges the draft and the current diary block by block; see [`merge`].
///
/// Without the common base, [`Save::with_base`](crate::Save::with_base), all blocks of both sides
/// count as inserted.
#[derive(Debug, Clone, Copy)]
pub struct MergeBlocks {
    /// What to do with blocks, and a title, that both sides changed differently.
    pub on_overlap: OnOverlap,
}

impl ConflictResolver for MergeBlocks {
    fn resolve(&self, conflict: &Conflict) -> Resolution {
        let Some(current) = &conflict.current else {
            // The diary was deleted, so there is nothing to merge with.
            return Resolution::Retry(conflict.ours.clone());
        };
        let (empty_document, empty_title) = (Document::without_blocks(), String::new());
        let (base, base_title) = match &conflict.base {
            Some(base) => (&base.content, &base.title),
            None => (&empty_document, &empty_title),
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

/// The merged title; `None` if both sides changed it and the policy is [`OnOverlap::Fail`].
pub(crate) fn merge_titles(
    base: &str,
    ours: &str,
    theirs: &str,
    on_overlap: OnOverlap,
) -> Option<String> {
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
                let fits = check_title(&both, MAX_TITLE_CHARS).is_ok();
                if fits && !theirs.contains(ours) { both } else { theirs.to_owned() }
            }
        }
    };
    Some(title)
}

/// A resolver from a function.
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
    fn titles_are_merged_by_the_same_policy_as_blocks() {
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
