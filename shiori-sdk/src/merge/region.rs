//! The changes of two sides to a list, and the regions in which they touch.

use std::ops::Range;

use super::block::{self, Piece};

/// A range of the base and the range that replaces it on one side.
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

/// The changes of one side, in order and as fine-grained as possible: a piece and the edited
/// version of it are one change, a replacement by the same number of pieces is one change for each,
/// and each removed piece is a change. So a change that the other side made among them touches only
/// its direct neighbours.
pub(super) fn changes<P: Piece>(base: &[P], side: &[P]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut b, mut s) = (0, 0);
    let ends = [(base.len(), side.len())];
    for (b_end, s_end) in block::anchors(base, side).into_iter().chain(ends) {
        let (b_start, s_start) = (b, s);
        for (linked, to) in P::links(&base[b..b_end], &side[s..s_end]) {
            let linked = b_start + linked.start..b_start + linked.end;
            let to = s_start + to.start..s_start + to.end;
            around_fillers(&mut changes, [base, side], b..linked.start, s..to.start);
            (b, s) = (linked.end, to.end);
            changes.push(Change { base: linked, side: to });
        }
        around_fillers(&mut changes, [base, side], b..b_end, s..s_end);
        (b, s) = (b_end + 1, s_end + 1);
    }
    slide(&mut changes, base, side);
    changes
}

/// Moves insertions and removals before as many equal pieces as possible. If several equal pieces
/// in a row may be the inserted or removed one, the first is used: so equal changes of both sides
/// have the same position, and an inserted block of text includes the start token before it.
fn slide<P: Piece>(changes: &mut [Change], base: &[P], side: &[P]) {
    let (mut i, mut end) = (0, 0);
    while i < changes.len() {
        let is_removal = |change: &Change| change.side.is_empty();
        let removed = changes[i..].iter().take_while(|change| is_removal(change)).enumerate();
        let start = changes[i].base.start;
        let run = removed.take_while(|(n, change)| change.base.start == start + n).count().max(1);
        let last = &changes[i + run - 1];
        let (last_base, last_side) = (last.base.end, last.side.end);
        let mut shift = 0;
        if is_removal(last) || last.base.is_empty() {
            let last = |shift: usize| {
                if last.side.is_empty() {
                    base[last_base - 1 - shift].id()
                } else {
                    side[last_side - 1 - shift].id()
                }
            };
            while start - shift > end && base[start - shift - 1].id() == last(shift) {
                shift += 1;
            }
        }
        for change in &mut changes[i..i + run] {
            for range in [&mut change.base, &mut change.side] {
                *range = range.start - shift..range.end - shift;
            }
        }
        end = changes[i + run - 1].base.end;
        i += run;
    }
}

/// The changes in ranges where base and side have at most fillers in common.
fn around_fillers<P: Piece>(
    changes: &mut Vec<Change>,
    [base, side]: [&[P]; 2],
    base_range: Range<usize>,
    side_range: Range<usize>,
) {
    let (mut b, mut s) = (base_range.start, side_range.start);
    let matches = block::matching_fillers(&base[base_range.clone()], &side[side_range.clone()]);
    let matches = matches.into_iter().map(|(i, j)| (base_range.start + i, side_range.start + j));
    for (b_end, s_end) in matches.chain([(base_range.end, side_range.end)]) {
        let is_in_place = P::are_in_place(&side[s..s_end]);
        between(changes, b..b_end, s..s_end, is_in_place);
        (b, s) = (b_end + 1, s_end + 1);
    }
}

/// The changes in ranges where base and side have nothing in common.
fn between(changes: &mut Vec<Change>, base: Range<usize>, side: Range<usize>, is_in_place: bool) {
    if side.is_empty() {
        changes.extend(base.map(|b| Change { base: b..b + 1, side: side.clone() }));
    } else if base.len() == side.len() && is_in_place {
        let each = base.zip(side);
        changes.extend(each.map(|(b, s)| Change { base: b..b + 1, side: s..s + 1 }));
    } else if !base.is_empty() || !side.is_empty() {
        changes.push(Change { base, side });
    }
}

/// A range of the base with the corresponding ranges of both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region<'a> {
    pub(super) base: Range<usize>,
    pub(super) ours: Range<usize>,
    pub(super) theirs: Range<usize>,
    pub(super) kind: Kind<'a>,
}

impl Region<'_> {
    /// The ranges in base, ours and theirs.
    pub(super) fn hull(&self) -> [Range<usize>; 3] {
        [self.base.clone(), self.ours.clone(), self.theirs.clone()]
    }

    pub(super) fn is_changed(&self) -> bool {
        !matches!(self.kind, Kind::Kept)
    }

    /// Whether only ours (1) or theirs (2) changed it.
    pub(super) fn is_of(&self, side: usize) -> bool {
        matches!((side, self.kind), (1, Kind::Ours) | (2, Kind::Theirs))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// Neither side changed it.
    Kept,
    /// Only our side changed it.
    Ours,
    /// Only their side changed it.
    Theirs,
    /// Both sides inserted at one place, or one inserted directly beside a change of the other:
    /// both changes can be kept.
    Beside { ours: &'a [Change], theirs: &'a [Change] },
    /// Both sides changed the same pieces.
    Overlap { ours: &'a [Change], theirs: &'a [Change] },
}

/// Divides the base into regions, from its start to its end.
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

/// Groups of regions, separated by kept pieces that are not fillers. The changes within a group may
/// be a single change that fillers, which are equal by chance, divide.
pub(super) fn groups<'r, 'c>(
    regions: &'r [Region<'c>],
    is_filler: impl Fn(usize) -> bool,
) -> Vec<&'r [Region<'c>]> {
    let is_anchor = |region: &Region<'_>| {
        matches!(region.kind, Kind::Kept) && !region.base.clone().all(&is_filler)
    };
    regions.chunk_by(|one, next| !is_anchor(one) && !is_anchor(next)).collect()
}

/// Whether both sides made changes in a group.
pub(super) fn is_of_both(group: &[Region<'_>]) -> bool {
    [1, 2].into_iter().all(|side| group.iter().any(|r| r.is_changed() && !r.is_of(3 - side)))
}

/// The ranges of a group in the three lists.
pub(super) fn hull(group: &[Region<'_>]) -> [Range<usize>; 3] {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return [0..0, 0..0, 0..0];
    };
    let (first, last) = (first.hull(), last.hull());
    [0, 1, 2].map(|which| first[which].start..last[which].end)
}

/// A position in one side of the merge.
struct Side<'a> {
    rest: &'a [Change],
    at: usize,
}

impl Side<'_> {
    /// Advances by `base_len` pieces of the base, which contain the given changes. Returns the
    /// corresponding range of the side.
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
    /// Whether its changes are certainly separate. A removal by one side may belong to an insertion
    /// by the other.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Kept | Self::Ours | Self::Theirs => true,
            Self::Beside { ours, theirs } => {
                ours.iter().chain(*theirs).all(|change| !change.side.is_empty())
            }
            Self::Overlap { .. } => false,
        }
    }

    /// The changes of each side that belong to the region, given the remaining ones.
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
    // An insertion directly after a range that the other side replaced by a longer one may be a
    // part of that replacement.
    let grows = |changes: &[Change]| {
        changes.iter().any(|change| change.side.len() > change.base.len().max(1))
    };
    let is_behind = |change: &Change| change.is_insertion() && change.base.start == end;
    if o > 0 && t > 0 {
        if grows(&theirs[..t]) && ours.get(o).is_some_and(is_behind) {
            o += 1;
        } else if grows(&ours[..o]) && theirs.get(t).is_some_and(is_behind) {
            t += 1;
        }
    }
    if o + t > 1 {
        return Some((end, Kind::Overlap { ours: &ours[..o], theirs: &theirs[..t] }));
    }

    let (next, other) =
        if ours_first { (ours.get(1), &theirs[0]) } else { (theirs.get(1), &ours[0]) };
    let touches = other.base.start == end && (first.is_insertion() || other.is_insertion());
    // A change that belongs to a later overlap is left to it.
    let is_free = next.is_none_or(|next| other.base.end <= next.base.start);
    if !(touches && is_free) {
        return Some((end, if ours_first { Kind::Ours } else { Kind::Theirs }));
    }
    // One side may have inserted both before and after a change of the other.
    let end = other.base.end;
    let both = 1 + usize::from(next.is_some_and(|next| next.base == (end..end)));
    let (o, t) = if ours_first { (both, 1) } else { (1, both) };
    Some((end, Kind::Beside { ours: &ours[..o], theirs: &theirs[..t] }))
}
