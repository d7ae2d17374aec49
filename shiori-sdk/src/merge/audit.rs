//! Whether the words of a merge add up.
//!
//! Changes that are merged apart from each other may still be of the same words: one side moved a
//! sentence to the top, the other to the end, or removed it. Counting finds that.

use std::collections::{HashMap, HashSet};

use super::block;

/// The words of the base, ours, theirs and the merged document, as numbers.
pub(super) type Four = [Vec<u32>; 4];

/// A part of a document that is not as it was.
pub(super) struct Part {
    pub(super) words: Four,
    /// Which group it is in. What is written in one part of a group belongs to the words of all of it.
    pub(super) group: usize,
    /// Whether an overlap is reported in it, so that words may be repeated.
    pub(super) is_reported: bool,
    /// Whether one side's version was taken as a whole, though both changed it.
    pub(super) is_taken: bool,
}

/// What is wrong with words that are not where they were.
#[derive(Default)]
pub(super) struct Findings {
    /// Parts that a side moved words to, or from.
    pub(super) moved: Vec<usize>,
    /// Parts with words that neither side could have meant to be there as often as they are, or
    /// which one side moved away while the other wrote among them.
    pub(super) broken: Vec<usize>,
}

/// Looks for words that a side moved from one part to another.
///
/// A word that each side has as often as the base, or more often, is there at least as often as on
/// the side that has it most, and at most as often as if both had added others. The same holds for
/// removals. Where one side added and the other removed, the numbers have to add up. Words that stayed
/// in their part are right as the part is, unless one version of it was taken as a whole.
pub(super) fn audit(parts: &[Part]) -> Findings {
    let counts: Vec<_> = parts.iter().map(Counts::of).collect();
    let mut totals: HashMap<u32, Total> = HashMap::new();
    for (part, counts) in parts.iter().zip(&counts) {
        for (word, counts) in &counts.0 {
            totals.entry(*word).or_default().add(part, counts);
        }
    }
    let is_moved = |side: usize, word: &u32| totals[word].is_moved[side];
    let is_broken = |word: &u32| {
        let total = &totals[word];
        !total.is_reported && (total.is_taken || total.is_moved_at_all()) && !adds_up(total.counts)
    };
    // In which groups a side moved words away, and the other wrote some.
    let mut gone: HashMap<(usize, usize), usize> = HashMap::new();
    let mut written: HashSet<(usize, usize)> = HashSet::new();
    for (part, counts) in parts.iter().zip(&counts) {
        for (side, other) in [(1, 2), (2, 1)] {
            let is_gone = |(word, count): &(&u32, &[i64; 4])| {
                is_moved(side, word) && totals[*word].counts[0] == 1 && count[side] < count[0]
            };
            *gone.entry((part.group, side)).or_default() += counts.0.iter().filter(is_gone).count();
            if counts.0.values().any(|count| count[other] > count[0]) {
                written.insert((part.group, side));
            }
        }
    }
    let is_torn = |group: usize, side: usize| {
        gone[&(group, side)] >= MIN_TORN && written.contains(&(group, side))
    };
    let mut findings = Findings::default();
    for (i, (part, counts)) in parts.iter().zip(&counts).enumerate() {
        let words = || counts.0.keys();
        if words().any(|word| is_moved(1, word) || is_moved(2, word)) {
            findings.moved.push(i);
        }
        let is_torn = is_torn(part.group, 1) || is_torn(part.group, 2);
        if !part.is_reported && (is_torn || words().any(is_broken)) {
            findings.broken.push(i);
        }
    }
    findings
}

/// Whether a side removed a word from one part and added it to another, given the words of base, ours
/// and theirs in each part. Without that, and without a part that was taken as a whole, [`audit`]
/// finds nothing.
pub(super) fn has_moved(parts: &[[&[u32]; 3]]) -> bool {
    [1, 2].into_iter().any(|side| {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for part in parts.iter().filter(|part| part[0] != part[side]) {
            let [mut before, mut after] = [part[0], part[side]].map(<[u32]>::to_vec);
            before.sort_unstable();
            after.sort_unstable();
            removed.extend(difference(&before, &after));
            added.extend(difference(&after, &before));
        }
        removed.sort_unstable();
        added.sort_unstable();
        block::shared(&removed, &added) > 0
    })
}

/// The entries of an ascending list that another does not have as often.
fn difference(list: &[u32], other: &[u32]) -> Vec<u32> {
    let mut rest = other.iter().peekable();
    let is_missing = |entry: &&u32| {
        while rest.next_if(|other| other < entry).is_some() {}
        rest.next_if(|other| other == entry).is_none()
    };
    list.iter().filter(is_missing).copied().collect()
}

/// Words that a side moved away for what the other wrote in the same part to have lost its place. A
/// single one may be there by chance.
const MIN_TORN: usize = 2;

/// How often each word is in the base, ours, theirs and the merged document of a part.
struct Counts(HashMap<u32, [i64; 4]>);

impl Counts {
    fn of(part: &Part) -> Self {
        let mut counts: HashMap<u32, [i64; 4]> = HashMap::new();
        for (which, words) in part.words.iter().enumerate() {
            for word in words {
                counts.entry(*word).or_default()[which] += 1;
            }
        }
        Self(counts)
    }
}

/// A word in all parts.
#[derive(Default)]
struct Total {
    counts: [i64; 4],
    /// Whether ours (1) or theirs (2) has it less often than the base in one part, and more often in
    /// another.
    is_moved: [bool; 3],
    is_fewer: [bool; 3],
    is_more: [bool; 3],
    is_reported: bool,
    is_taken: bool,
}

impl Total {
    fn add(&mut self, part: &Part, counts: &[i64; 4]) {
        for (total, count) in self.counts.iter_mut().zip(counts) {
            *total += count;
        }
        for side in [1, 2] {
            self.is_fewer[side] |= counts[side] < counts[0];
            self.is_more[side] |= counts[side] > counts[0];
            self.is_moved[side] = self.is_fewer[side] && self.is_more[side];
        }
        self.is_reported |= part.is_reported;
        self.is_taken |= part.is_taken;
    }

    fn is_moved_at_all(&self) -> bool {
        self.is_moved[1] || self.is_moved[2]
    }
}

fn adds_up([base, ours, theirs, merged]: [i64; 4]) -> bool {
    let both = (ours + theirs - base).max(0);
    let (least, most) = if ours >= base && theirs >= base {
        (ours.max(theirs), both)
    } else if ours <= base && theirs <= base {
        (both, ours.min(theirs))
    } else {
        (both, both)
    };
    (least..=most).contains(&merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(words: [&[u32]; 4]) -> Part {
        let words = words.map(<[u32]>::to_vec);
        let group = words.iter().flatten().next().map_or(0, |word| *word as usize);
        Part { words, group, is_reported: false, is_taken: false }
    }

    #[test]
    fn what_stays_in_its_part_is_right() {
        let parts =
            [part([&[1, 2], &[1, 2, 3], &[1, 4], &[1, 3, 4]]), part([&[5], &[], &[], &[5]])];
        let findings = audit(&parts);
        assert_eq!((findings.moved, findings.broken), (vec![], vec![]));
    }

    #[test]
    fn what_both_moved_is_not_there_twice() {
        let parts = || {
            [
                part([&[1], &[], &[], &[]]),
                part([&[], &[1], &[], &[1]]),
                part([&[2], &[2, 3], &[2], &[2, 3]]),
                part([&[], &[], &[1], &[1]]),
            ]
        };
        let findings = audit(&parts());
        assert_eq!((findings.moved, findings.broken), (vec![0, 1, 3], vec![0, 1, 3]));
        let mut reported = parts();
        reported[3].is_reported = true;
        assert_eq!(audit(&reported).broken, Vec::<usize>::new());
    }

    #[test]
    fn what_one_side_moved_and_the_other_removed_is_found() {
        let parts = [part([&[1], &[], &[], &[]]), part([&[], &[1], &[], &[1]])];
        assert_eq!(audit(&parts).broken, [0, 1]);
        // The same within one part, of which ours was taken.
        let mut taken = part([&[1], &[1], &[], &[1]]);
        taken.is_taken = true;
        assert_eq!(audit(&[taken]).broken, [0]);
    }

    #[test]
    fn what_was_written_among_words_that_were_moved_away_is_found() {
        let from = part([&[1, 2], &[1, 9, 2], &[], &[9]]);
        let to = part([&[3], &[3], &[3, 1, 2], &[3, 1, 2]]);
        assert_eq!(audit(&[from, to]).broken, [0]);
    }
}
