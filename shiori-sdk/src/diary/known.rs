//! What a watch has yielded, and what it yields next. Without I/O.

use std::collections::BTreeMap;

use crate::types::{Date, DateVersion, DiaryChange, DiaryHint};

/// The newest version of each date that was yielded.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<Date, DateVersion>);

/// What a hint means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// A newer version, which must be yielded.
    Newer(DateVersion),
    /// The version, or a later one, is known.
    Known,
    /// A newer version whose flags do not follow from the hint. The versions must be listed.
    Unclear,
}

impl Known {
    /// Starts with versions that need not be yielded.
    pub(super) fn new(versions: impl IntoIterator<Item = DateVersion>) -> Self {
        let mut known = Self::default();
        for version in versions {
            known.list(version);
        }
        known
    }

    /// Takes a version from a list. Returns whether it is newer and must be yielded.
    pub(super) fn list(&mut self, version: DateVersion) -> bool {
        let is_newer =
            self.0.get(&version.date).is_none_or(|known| version.version > known.version);
        if is_newer {
            self.0.insert(version.date, version);
        }
        is_newer
    }

    /// Takes a hint.
    pub(super) fn hear(&mut self, DiaryHint { date, version, change }: DiaryHint) -> Heard {
        let known = self.0.get(&date);
        let number = known.map_or(0, |known| known.version.get());
        if version.get() <= number {
            return Heard::Known;
        }
        let (is_archived, is_deleted) = match change {
            // A save does not change whether the diary is archived, so this must be known.
            DiaryChange::Saved if version.get() == number + 1 => {
                (known.is_some_and(|known| known.is_archived), false)
            }
            DiaryChange::Archived => (true, false),
            DiaryChange::Restored => (false, false),
            DiaryChange::Deleted => (false, true),
            DiaryChange::Saved | DiaryChange::Unknown => return Heard::Unclear,
        };
        let newer = DateVersion { date, version, is_archived, is_deleted };
        self.0.insert(date, newer);
        Heard::Newer(newer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Version;

    fn date(day: u8) -> Date {
        Date::new(2026, 2, day).expect("a date")
    }

    fn hint(version: u64, change: DiaryChange) -> DiaryHint {
        DiaryHint { date: date(1), version: Version::new(version), change }
    }

    fn version(number: u64, is_archived: bool, is_deleted: bool) -> DateVersion {
        DateVersion { date: date(1), version: Version::new(number), is_archived, is_deleted }
    }

    #[test]
    fn a_hint_of_the_next_version_is_yielded_with_its_flags() {
        let mut known = Known::default();
        for (number, change, is_archived, is_deleted) in [
            (1, DiaryChange::Saved, false, false),
            (2, DiaryChange::Archived, true, false),
            (3, DiaryChange::Saved, true, false),
            (4, DiaryChange::Restored, false, false),
            (5, DiaryChange::Deleted, false, true),
            (6, DiaryChange::Saved, false, false),
        ] {
            let newer = version(number, is_archived, is_deleted);
            assert_eq!(known.hear(hint(number, change)), Heard::Newer(newer));
            assert_eq!(known.hear(hint(number, change)), Heard::Known);
        }
    }

    #[test]
    fn a_gap_before_a_save_is_unclear() {
        let mut known = Known::new([version(2, true, false)]);
        assert_eq!(known.hear(hint(4, DiaryChange::Saved)), Heard::Unclear);
        assert_eq!(known.hear(hint(4, DiaryChange::Unknown)), Heard::Unclear);
        assert_eq!(
            known.hear(hint(4, DiaryChange::Deleted)),
            Heard::Newer(version(4, false, true))
        );
        assert!(!known.list(version(3, false, false)), "older");
        assert!(known.list(version(5, false, false)));
    }

    /// What happens between a server and a watch.
    #[derive(Debug, Clone)]
    enum Step {
        /// The server changes the diary of a day.
        Change(u8, DiaryChange),
        /// A hint arrives: any earlier one, so hints are lost, repeated and reordered.
        Hint(prop::sample::Index),
        /// The versions are listed.
        List,
    }

    fn step() -> impl Strategy<Value = Step> {
        let change = prop_oneof![
            4 => Just(DiaryChange::Saved),
            1 => Just(DiaryChange::Archived),
            1 => Just(DiaryChange::Restored),
            1 => Just(DiaryChange::Deleted),
        ];
        prop_oneof![
            4 => (1..=3_u8, change).prop_map(|(day, change)| Step::Change(day, change)),
            6 => any::<prop::sample::Index>().prop_map(Step::Hint),
            1 => Just(Step::List),
        ]
    }

    proptest! {
        /// Whatever hints are lost, repeated or reordered: the versions of a date only grow, each
        /// is yielded as it was on the server, and after the versions were listed all are known.
        #[test]
        fn a_watch_knows_every_version_after_a_list(steps in prop::collection::vec(step(), 0..80)) {
            let mut server = BTreeMap::<Date, DateVersion>::new();
            let (mut history, mut hints) = (Vec::new(), Vec::new());
            let (mut known, mut yielded) = (Known::default(), Vec::new());
            for step in steps.into_iter().chain([Step::List]) {
                match step {
                    Step::Change(day, change) => {
                        let date = date(day);
                        let current = server.get(&date).copied();
                        let exists = current.is_some_and(|current| !current.is_deleted);
                        if change != DiaryChange::Saved && !exists {
                            continue;
                        }
                        let was_archived = current.is_some_and(|current| current.is_archived);
                        let next = DateVersion {
                            date,
                            version: current.map_or(Version::new(1), |current| current.version.next()),
                            is_archived: match change {
                                DiaryChange::Saved => was_archived,
                                other => other == DiaryChange::Archived,
                            },
                            is_deleted: change == DiaryChange::Deleted,
                        };
                        server.insert(date, next);
                        history.push(next);
                        hints.push(DiaryHint { date, version: next.version, change });
                    }
                    Step::Hint(_) if hints.is_empty() => {}
                    Step::Hint(index) => {
                        if let Heard::Newer(version) = known.hear(*index.get(&hints)) {
                            yielded.push(version);
                        }
                    }
                    Step::List => {
                        yielded.extend(server.values().copied().filter(|one| known.list(*one)));
                        prop_assert_eq!(&known.0, &server);
                    }
                }
            }
            let mut newest = BTreeMap::new();
            for version in yielded {
                prop_assert!(history.contains(&version), "{:?}", version);
                let before = newest.insert(version.date, version);
                prop_assert!(before.is_none_or(|before: DateVersion| before.version < version.version));
            }
            prop_assert_eq!(newest, server);
        }
    }
}
