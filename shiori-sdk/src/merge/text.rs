//! Merging the changes of both sides in one paragraph, heading or code block.

use std::{borrow::Cow, ops::Range};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    audit,
    block::{self, Piece},
    context::Context,
    insertion::{both, edits_removed, is_text},
    mark::Marks,
    overlap::{OnOverlap, Overlap, OverlapKind},
    region::{self, Change, Kind, Region},
    segment::{Sort, Unit},
    token::{Content, Inline, Part, Side, Token, Words, words},
};

/// The maximum number of tokens of a text that is merged.
pub(super) const MAX_TOKENS: usize = 100_000;

/// Merges inline content. `None` if it exceeds [`MAX_TOKENS`], or if both sides rewrote so much of
/// it that both versions are easier to read one after the other. The latter is not checked with
/// `is_single`: then only one version can be kept.
pub(super) fn merge<'a>(
    context: &mut Context<'a>,
    three: [&[&'a RawValue]; 3],
    unit: Unit,
    is_single: bool,
) -> Option<Vec<Cow<'a, RawValue>>> {
    let mut marks = Marks::new();
    let nodes = three.map(|content| {
        let inline = |raw: &&'a RawValue| Inline::of(raw, &mut context.numbering, &mut marks);
        content.iter().map(inline).collect::<Vec<_>>()
    });
    let mut known = Words::default();
    let sides =
        [0, 1, 2].map(|which| known.side(which, nodes[which].iter().map(Part::Inline), unit));
    let merged = combine(context, marks, sides, unit)?;
    if merged.is_unreadable && !is_single {
        return None;
    }
    let composed = compose(&merged.tokens, &merged.marks);
    Some(composed.into_iter().map(Cow::Owned).collect())
}

/// The result of merging three streams of text.
pub(super) struct Combined<'a, 'n> {
    pub(super) tokens: Vec<Token<'n>>,
    pub(super) marks: Marks<'a>,
    /// The number of words that all three contain.
    pub(super) kept: usize,
    /// Whether both sides rewrote so much that the merged text is unreadable.
    pub(super) is_unreadable: bool,
}

/// Merges three streams of text. `None` if they exceed [`MAX_TOKENS`].
pub(super) fn combine<'a, 'n>(
    context: &mut Context<'a>,
    marks: Marks<'a>,
    mut sides: [Side<'n>; 3],
    unit: Unit,
) -> Option<Combined<'a, 'n>> {
    if sides.iter().any(|side| side.tokens.len() > MAX_TOKENS) {
        return None;
    }
    let [b, o, t] = &sides;
    let our_changes = region::changes(&b.tokens, &o.tokens);
    let their_changes = region::changes(&b.tokens, &t.tokens);
    locate(&mut sides, 1, &our_changes);
    locate(&mut sides, 2, &their_changes);

    let [b, o, t] = &sides;
    let has_new = |side: &Side<'_>, changes: &[Change]| {
        changes.iter().any(|change| words(&side.tokens[change.side.clone()]) > 0)
    };
    // One side removed all text, the other inserted some.
    let is_emptied = words(&b.tokens) > 0
        && ((words(&o.tokens) == 0 && has_new(t, &their_changes))
            || (words(&t.tokens) == 0 && has_new(o, &our_changes)));

    let regions = region::regions(b.tokens.len(), &our_changes, &their_changes);
    let groups = region::groups(&regions, |place| b.tokens[place].is_filler());
    context.needs_check |= has_moved(b, o, &our_changes)
        || has_moved(b, t, &their_changes)
        || groups.iter().any(|group| is_entangled(group, unit))
        || [o, t].into_iter().any(|side| is_remarked(b, side));
    let mut composer = Composer {
        sides: [b, o, t],
        context,
        marks,
        unit,
        tokens: Vec::new(),
        kept: 0,
        disputed: 0,
    };
    for group in groups {
        composer.group(group);
    }
    let Composer { tokens, marks, kept, disputed, .. } = composer;
    let is_unreadable = is_emptied || disputed > 0 && disputed >= kept;
    Some(Combined { tokens, marks, kept, is_unreadable })
}

/// Whether a side moved words.
fn has_moved(base: &Side<'_>, side: &Side<'_>, changes: &[Change]) -> bool {
    let ids = |tokens: &[Token<'_>]| -> Vec<u32> {
        tokens.iter().filter(|token| token.is_word()).map(Piece::id).collect()
    };
    let changes = changes.iter().map(|change| {
        [ids(&base.tokens[change.base.clone()]), ids(&side.tokens[change.side.clone()])]
    });
    !audit::moved_words(changes).is_empty()
}

/// Whether the changes in a group of regions may be parts of one change. So may those of a line of code
/// and of a blank line beside it.
fn is_entangled(group: &[Region<'_>], unit: Unit) -> bool {
    let is_plain = |region: &Region<'_>| {
        region.kind.is_plain()
            && !(unit == Unit::Line && matches!(region.kind, Kind::Beside { .. }))
    };
    let mut changed = group.iter().filter(|region| region.is_changed());
    changed.next().is_some_and(|region| !is_plain(region)) || changed.next().is_some()
}

/// Whether a side changed the marks of words that it kept, or inserted line breaks. All line breaks
/// are equal, so they may be matched by chance.
fn is_remarked(base: &Side<'_>, side: &Side<'_>) -> bool {
    let is_break = |token: &Token<'_>| token.sort == Sort::White && token.text.is_empty();
    side.tokens.iter().any(|token| match token.at[0].checked_sub(1) {
        Some(place) => token.marks != base.tokens[place].marks,
        None => is_break(token),
    })
}

/// Stores, for each token that a side did not change, its position in the base and the side.
fn locate(sides: &mut [Side<'_>; 3], which: usize, changes: &[Change]) {
    let (mut base, mut side) = (0, 0);
    let end = [(sides[0].tokens.len(), sides[which].tokens.len(), 0, 0)];
    let stops = changes
        .iter()
        .map(|change| (change.base.start, change.side.start, change.base.end, change.side.end));
    for (base_stop, side_stop, base_next, side_next) in stops.chain(end) {
        while base < base_stop && side < side_stop {
            sides[0].tokens[base].at[which] = side + 1;
            sides[which].tokens[side].at[0] = base + 1;
            (base, side) = (base + 1, side + 1);
        }
        (base, side) = (base_next, side_next);
    }
}

/// Builds the merged text.
struct Composer<'m, 'a, 'n> {
    context: &'m mut Context<'a>,
    marks: Marks<'a>,
    unit: Unit,
    /// Base, ours and theirs.
    sides: [&'m Side<'n>; 3],
    tokens: Vec<Token<'n>>,
    /// The number of words that all three contain.
    kept: usize,
    /// The number of words that both sides changed.
    disputed: usize,
}

/// The resolution of a region that both sides changed.
enum Verdict {
    /// Ours contains all changes of theirs, and more.
    Ours,
    Theirs,
    Disputed,
}

impl<'n> Composer<'_, '_, 'n> {
    fn group(&mut self, group: &[Region<'_>]) {
        let hull = region::hull(group);
        let changed = group.iter().filter(|region| region.is_changed()).count();
        match self.verdict(&hull) {
            Verdict::Ours if changed > 1 => self.one(&hull, 1),
            Verdict::Theirs if changed > 1 => self.one(&hull, 2),
            _ => self.join(group.to_vec()).iter().for_each(|region| self.region(region)),
        }
    }

    fn region(&mut self, region: &Region<'_>) {
        let [b, o, t] = self.sides;
        let (ours, theirs) = (&o.tokens[region.ours.clone()], &t.tokens[region.theirs.clone()]);
        if matches!(region.kind, Kind::Kept) {
            self.kept += words(theirs);
            self.both_kept(region);
            return;
        }
        let hull = [region.base.clone(), region.ours.clone(), region.theirs.clone()];
        match region.kind {
            Kind::Ours => {
                let change = Change { base: region.base.clone(), side: region.ours.clone() };
                self.changed(&[change], &[]);
            }
            Kind::Theirs => {
                let change = Change { base: region.base.clone(), side: region.theirs.clone() };
                self.changed(&[], &[change]);
            }
            // Both inserted the same text.
            _ if block::ids(ours) == block::ids(theirs) => self.both_kept(region),
            Kind::Beside { ours, theirs } => self.changed(ours, theirs),
            Kind::Kept | Kind::Overlap { .. } => match self.verdict(&hull) {
                Verdict::Ours => self.one(&hull, 1),
                Verdict::Theirs => self.one(&hull, 2),
                Verdict::Disputed => {
                    let base = &b.tokens[region.base.clone()];
                    self.disputed += words(base).max(words(ours)).max(words(theirs));
                    let tokens = match self.context.on_overlap {
                        OnOverlap::Ours => ours.to_vec(),
                        OnOverlap::Theirs => theirs.to_vec(),
                        OnOverlap::KeepBoth | OnOverlap::Fail => {
                            both(theirs.to_vec(), ours.to_vec(), true)
                        }
                    };
                    for token in tokens {
                        self.push(token);
                    }
                    self.report(OverlapKind::Text, hull.clone());
                }
            },
        }
    }

    /// Joins overlaps that only fillers separate, so that phrases are kept whole.
    fn join<'c>(&self, regions: Vec<Region<'c>>) -> Vec<Region<'c>> {
        let [base, ours, theirs] = self.sides;
        let is_disputed = |region: &Region<'_>| {
            let (ours, theirs) =
                (&ours.tokens[region.ours.clone()], &theirs.tokens[region.theirs.clone()]);
            matches!(region.kind, Kind::Overlap { .. })
                && block::ids(ours) != block::ids(theirs)
                && matches!(self.verdict(&region.hull()), Verdict::Disputed)
        };
        let is_between = |region: &Region<'_>| {
            let base = &base.tokens[region.base.clone()];
            matches!(region.kind, Kind::Kept) && base.iter().all(Piece::is_filler)
        };
        let mut joined: Vec<Region<'c>> = Vec::with_capacity(regions.len());
        // Whether the last overlap is disputed. It remains disputed when it is joined with another.
        let mut was_disputed = false;
        for region in regions {
            let is_disputed = is_disputed(&region);
            if is_disputed
                && was_disputed
                && let [.., first, between] = &mut joined[..]
                && is_between(between)
            {
                first.base.end = region.base.end;
                first.ours.end = region.ours.end;
                first.theirs.end = region.theirs.end;
                joined.pop();
            } else {
                if !is_between(&region) {
                    was_disputed = is_disputed;
                }
                joined.push(region);
            }
        }
        joined
    }

    fn verdict(&self, hull: &[Range<usize>; 3]) -> Verdict {
        if self.did_all(hull, 2, 1) {
            Verdict::Theirs
        } else if self.did_all(hull, 1, 2) {
            Verdict::Ours
        } else {
            Verdict::Disputed
        }
    }

    /// Whether one side removed and inserted all that the other removed and inserted. Tokens other
    /// than words are compared only if the other changed nothing else: of several equal spaces in a
    /// row, any may be the removed one.
    fn did_all(&self, hull: &[Range<usize>; 3], all: usize, part: usize) -> bool {
        let base = &self.sides[0].tokens[hull[0].clone()];
        let added = |which: usize| -> Vec<Token<'n>> {
            let tokens = &self.sides[which].tokens[hull[which].clone()];
            tokens.iter().filter(|token| token.at[0] == 0).copied().collect()
        };
        let (all_added, part_added) = (added(all), added(part));
        let is_removed = |token: &&Token<'_>| token.at[part] == 0;
        if self.unit == Unit::Line && edits_removed(base, part, &all_added, &part_added) {
            return false;
        }
        let has_words =
            part_added.iter().any(is_text) || base.iter().filter(is_removed).any(is_text);
        let is_compared = |token: &Token<'_>| !has_words || is_text(token);
        let mut removed = base.iter().filter(is_removed).filter(|token| is_compared(token));
        let mut rest = all_added.iter();
        let mut written = part_added.iter().filter(|token| is_compared(token));
        removed.all(|token| token.at[all] == 0)
            && written.all(|token| rest.any(|other| other.id == token.id))
    }

    /// Adds a token, and a space before it if two words would run together that are separate on
    /// each side.
    fn push(&mut self, token: Token<'n>) {
        if let Some(last) = self.tokens.last()
            && last.runs_into(&token)
            && !token.follows(last)
        {
            let marks = if last.marks == token.marks { last.marks } else { 0 };
            self.tokens.push(Token::space(self.unit, marks));
        }
        self.tokens.push(token);
    }

    /// Adds tokens that both sides contain, although either side may have changed their marks.
    fn both_kept(&mut self, region: &Region<'_>) {
        for (ours, theirs) in region.ours.clone().zip(region.theirs.clone()) {
            self.pair(ours, theirs);
        }
    }

    /// Adds the tokens of one side. Those that the other side also contains get its changes of
    /// marks.
    fn one(&mut self, hull: &[Range<usize>; 3], which: usize) {
        let [b, o, t] = self.sides;
        let side = if which == 1 { o } else { t };
        for place in hull[which].clone() {
            let token = side.tokens[place];
            let base = token.at[0].checked_sub(1).map(|base| &b.tokens[base]);
            match base.map(|base| (base.at[1].checked_sub(1), base.at[2].checked_sub(1))) {
                Some((Some(ours), Some(theirs))) => self.pair(ours, theirs),
                _ => self.push(token),
            }
        }
    }

    /// Adds a token that both sides contain.
    fn pair(&mut self, ours: usize, theirs: usize) {
        let [b, o, t] = self.sides;
        let (our, their) = (&o.tokens[ours], &t.tokens[theirs]);
        let base = our.at[0].checked_sub(1).filter(|_| our.at[0] == their.at[0]);
        let before = base.map(|base| &b.tokens[base]);
        let three = [before.map_or(0, |base| base.marks), our.marks, their.marks];
        let (marks, overlap) = self.marks.merge(three, self.context.on_overlap);
        // If only the spelling was changed, the new spelling is used.
        let is_spelt_by_us = before.is_some_and(|base| base.text == their.text);
        let (letter, other) = if is_spelt_by_us { (our, their) } else { (their, our) };
        // A node that already has the merged marks can be kept byte for byte.
        let token = if marks == other.marks && other.text == letter.text { other } else { letter };
        let at = [base.map_or(0, |base| base + 1), ours + 1, theirs + 1];
        self.push(Token { marks, at, ..*token });
        if overlap {
            let base = base.map_or(0..0, |base| base..base + 1);
            self.report_marks([base, ours..ours + 1, theirs..theirs + 1]);
        }
    }

    /// Adds neighbouring changes, none of which concerns tokens that both sides changed.
    fn changed(&mut self, ours: &[Change], theirs: &[Change]) {
        let theirs = theirs.iter().map(|change| (change, false));
        let mut changes: Vec<_> = theirs.chain(ours.iter().map(|change| (change, true))).collect();
        changes.sort_by_key(|(change, _)| (change.base.start, change.base.end));
        let mut before: Option<(Range<usize>, Vec<Token<'n>>)> = None;
        for (change, is_ours) in changes {
            let next = self.written(change, is_ours);
            let tokens = match before {
                None => next,
                Some((base, tokens)) => both(tokens, next, base == change.base),
            };
            before = Some((change.base.clone(), tokens));
        }
        for token in before.into_iter().flat_map(|(_, tokens)| tokens) {
            self.push(token);
        }
    }

    /// The tokens that a side inserted. If the other side added a mark to all replaced words of the
    /// base, or removed it from all of them, the tokens get that change.
    fn written(&mut self, change: &Change, is_ours: bool) -> Vec<Token<'n>> {
        let [b, o, t] = self.sides;
        let (side, other, which) = if is_ours { (o, t, 2) } else { (t, o, 1) };
        let mut tokens = side.tokens[change.side.clone()].to_vec();
        let replaced = &b.tokens[change.base.clone()];
        let mut marks = replaced.iter().filter(|base| base.is_word()).map(|base| {
            let place = base.at[which].checked_sub(1)?;
            Some((base.marks, other.tokens[place].marks))
        });
        let first = marks.next().flatten();
        if let Some((before, after)) = first
            && before != after
            && marks.all(|marks| marks == first)
        {
            let mut overlap = false;
            for token in &mut tokens {
                let three = if is_ours {
                    [before, token.marks, after]
                } else {
                    [before, after, token.marks]
                };
                let (merged, overlaps) = self.marks.merge(three, self.context.on_overlap);
                overlap |= overlaps;
                token.marks = merged;
            }
            let places =
                (replaced.first().map(|t| t.at[which]), replaced.last().map(|t| t.at[which]));
            if overlap && let (Some(start @ 1..), Some(end @ 1..)) = places {
                let other = start - 1..end;
                let (base, side) = (change.base.clone(), change.side.clone());
                let three = if is_ours { [base, side, other] } else { [base, other, side] };
                self.report_marks(three);
            }
        }
        tokens
    }

    fn report(&mut self, kind: OverlapKind, three: [Range<usize>; 3]) {
        let [b, o, t] = self.sides;
        let [base, ours, theirs] = three;
        self.context.report(Overlap::of(kind, b.range(&base), o.range(&ours), t.range(&theirs)));
    }

    /// Extends the overlap of marks directly before this one.
    fn report_marks(&mut self, three: [Range<usize>; 3]) {
        self.report(OverlapKind::Marks, three);
        if let [.., before, last] = &mut self.context.overlaps[..]
            && (before.kind, &before.path) == (OverlapKind::Marks, &last.path)
            && before.base.end == last.base.start
            && before.ours.end == last.ours.start
            && before.theirs.end == last.theirs.start
        {
            before.base.end = last.base.end;
            before.ours.end = last.ours.end;
            before.theirs.end = last.theirs.end;
            self.context.overlaps.pop();
        }
    }
}

/// The nodes of merged text: neighbours with the same marks are joined. A node that equals one in
/// the documents is kept byte for byte.
pub(super) fn compose(tokens: &[Token<'_>], marks: &Marks<'_>) -> Vec<Box<RawValue>> {
    #[derive(Serialize)]
    struct Node<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        marks: Option<&'a RawValue>,
        text: &'a str,
    }

    let is_leaf = |token: &Token<'_>| token.text.is_empty();
    let runs = tokens.chunk_by(|a, b| !is_leaf(a) && !is_leaf(b) && a.marks == b.marks);
    runs.filter_map(|run| {
        let first = run.first()?;
        let text: String = run.iter().map(|token| token.text).collect();
        let is_whole = |node: &Inline<'_>| match &node.content {
            Content::Text { text: whole, marks } => *whole == text && *marks == first.marks,
            Content::Leaf { .. } => true,
        };
        if let Part::Inline(node) = first.part
            && is_whole(node)
        {
            return Some(node.raw.to_owned());
        }
        let marks = (first.marks != 0).then(|| marks.json(first.marks));
        to_raw_value(&Node { r#type: "text", marks, text: &text }).ok()
    })
    .collect()
}
