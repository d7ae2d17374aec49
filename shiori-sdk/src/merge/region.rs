//! Where two sides changed a list, and where their changes meet.

use std::ops::Range;

use super::block::{self, Piece};

/// A stretch of the base and what stands in its place on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) base: Range<usize>,
    pub(super) side: Range<usize>,
}

impl Change {
    fn is_insertion(&self) -> bool {
        self.base.is_empty()
    }
}

/// What one side changed, in order and as finely as can be told: what resembles each other, and as
/// many blocks in place of as many, are a change of each, and blocks that are gone went one by one.
/// So a block that the other side changed or inserted among them meets no more than its own
/// neighbours.
pub(super) fn changes<P: Piece>(base: &[P], side: &[P]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut b, mut s) = (0, 0);
    let ends = [(base.len(), side.len())];
    for (b_end, s_end) in block::matches(base, side).into_iter().chain(ends) {
        let (b_start, s_start) = (b, s);
        for (i, j) in P::pairs(&base[b..b_end], &side[s..s_end]) {
            let (b_pair, s_pair) = (b_start + i, s_start + j);
            between(&mut changes, b..b_pair, s..s_pair);
            changes.push(Change { base: b_pair..b_pair + 1, side: s_pair..s_pair + 1 });
            (b, s) = (b_pair + 1, s_pair + 1);
        }
        between(&mut changes, b..b_end, s..s_end);
        (b, s) = (b_end + 1, s_end + 1);
    }
    changes
}

/// The changes where base and side have nothing in common.
fn between(changes: &mut Vec<Change>, base: Range<usize>, side: Range<usize>) {
    if side.is_empty() {
        changes.extend(base.map(|b| Change { base: b..b + 1, side: side.clone() }));
    } else if base.len() == side.len() {
        let each = base.zip(side);
        changes.extend(each.map(|(b, s)| Change { base: b..b + 1, side: s..s + 1 }));
    } else {
        changes.push(Change { base, side });
    }
}

/// A stretch of the base with its counterparts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Region<'a> {
    pub(super) base: Range<usize>,
    pub(super) ours: Range<usize>,
    pub(super) theirs: Range<usize>,
    pub(super) kind: Kind<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// Both sides left it as it was.
    Kept,
    /// Our side alone changed it.
    Ours,
    /// Their side alone changed it.
    Theirs,
    /// Both sides inserted at one place, or one inserted right beside what the other changed:
    /// there is room for both.
    Beside { ours: &'a [Change], theirs: &'a [Change] },
    /// Both sides changed the same blocks.
    Overlap { ours: &'a [Change], theirs: &'a [Change] },
}

/// Parts the base into regions, from its start to its end.
pub(super) fn regions<'a>(
    base_len: usize,
    ours: &'a [Change],
    theirs: &'a [Change],
) -> Vec<Region<'a>> {
    let mut regions = Vec::new();
    let (mut ours, mut theirs) = (Side { rest: ours, at: 0 }, Side { rest: theirs, at: 0 });
    let mut base = 0;
    loop {
        let starts = [ours.rest.first(), theirs.rest.first()];
        let start = starts.into_iter().flatten().map(|c| c.base.start).min().unwrap_or(base_len);
        if base < start {
            regions.push(Region {
                base: base..start,
                ours: ours.advance(start - base, &[]),
                theirs: theirs.advance(start - base, &[]),
                kind: Kind::Kept,
            });
        }
        let Some((end, kind)) = next_change(ours.rest, theirs.rest) else { return regions };
        let (ours_taken, theirs_taken) = kind.changes(ours.rest, theirs.rest);
        regions.push(Region {
            base: start..end,
            ours: ours.advance(end - start, ours_taken),
            theirs: theirs.advance(end - start, theirs_taken),
            kind,
        });
        base = end;
    }
}

/// One side of the merge, up to where it has been read.
struct Side<'a> {
    rest: &'a [Change],
    at: usize,
}

impl Side<'_> {
    /// Moves past `base_len` blocks of the base and these next changes, which lie within them, and
    /// tells what range of the side that was.
    fn advance(&mut self, base_len: usize, changes: &[Change]) -> Range<usize> {
        let start = self.at;
        let removed: usize = changes.iter().map(|change| change.base.len()).sum();
        let added: usize = changes.iter().map(|change| change.side.len()).sum();
        self.at += base_len - removed + added;
        self.rest = &self.rest[changes.len()..];
        start..self.at
    }
}

impl<'a> Kind<'a> {
    /// The changes of each side that the region takes, given those that are left.
    fn changes(&self, ours: &'a [Change], theirs: &'a [Change]) -> (&'a [Change], &'a [Change]) {
        match self {
            Self::Kept => (&[], &[]),
            Self::Ours => (&ours[..1], &[]),
            Self::Theirs => (&[], &theirs[..1]),
            Self::Beside { ours, theirs } | Self::Overlap { ours, theirs } => (ours, theirs),
        }
    }
}

/// The region of the earliest change, and where it ends in the base.
fn next_change<'a>(ours: &'a [Change], theirs: &'a [Change]) -> Option<(usize, Kind<'a>)> {
    let order = |change: &Change| (change.base.start, change.base.end);
    let (ours_first, first) = match (ours.first(), theirs.first()) {
        (None, None) => return None,
        (Some(ours), None) => return Some((ours.base.end, Kind::Ours)),
        (None, Some(theirs)) => return Some((theirs.base.end, Kind::Theirs)),
        (Some(ours), Some(theirs)) if order(ours) < order(theirs) => (true, ours),
        (Some(_), Some(theirs)) => (false, theirs),
    };

    let mut end = first.base.end;
    let (mut o, mut t) = (usize::from(ours_first), usize::from(!ours_first));
    loop {
        if let Some(change) = ours.get(o).filter(|change| change.base.start < end) {
            (o, end) = (o + 1, end.max(change.base.end));
        } else if let Some(change) = theirs.get(t).filter(|change| change.base.start < end) {
            (t, end) = (t + 1, end.max(change.base.end));
        } else {
            break;
        }
    }
    if o + t > 1 {
        return Some((end, Kind::Overlap { ours: &ours[..o], theirs: &theirs[..t] }));
    }

    let (next, other) =
        if ours_first { (ours.get(1), &theirs[0]) } else { (theirs.get(1), &ours[0]) };
    let touches = other.base.start == end && (first.is_insertion() || other.is_insertion());
    // A change that is part of an overlap further on is left to it.
    let is_free = next.is_none_or(|next| other.base.end <= next.base.start);
    if !(touches && is_free) {
        return Some((end, if ours_first { Kind::Ours } else { Kind::Theirs }));
    }
    // One side may have inserted both before and after what the other changed.
    let end = other.base.end;
    let both = 1 + usize::from(next.is_some_and(|next| next.base == (end..end)));
    let (o, t) = if ours_first { (both, 1) } else { (1, both) };
    Some((end, Kind::Beside { ours: &ours[..o], theirs: &theirs[..t] }))
}
