//! Merging what both sides wrote in one paragraph, heading or block of code.

use std::ops::Range;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    block::{self, Piece},
    context::Context,
    mark::Marks,
    overlap::{OnOverlap, Overlap, OverlapKind},
    region::{self, Change, Kind, Region},
    token::{Content, Inline, Side, Sort, Token, Unit, Words, words},
};

/// Words, and what is between them, of a text that is looked into.
const MAX_TOKENS: usize = 100_000;

/// Merges inline content. `None` when it is huge, was or became empty, or both sides rewrote so much
/// of it that whoever reads it is better served with both versions.
pub(super) fn merge<'a>(
    context: &mut Context<'a>,
    three: [&[&'a RawValue]; 3],
    unit: Unit,
) -> Option<Vec<Box<RawValue>>> {
    let mut marks = Marks::new();
    let nodes = three.map(|content| {
        let inline = |raw: &&'a RawValue| Inline::of(raw, &mut context.numbering, &mut marks);
        content.iter().map(inline).collect::<Vec<_>>()
    });
    let mut known = Words::default();
    let [b, o, t] = [0, 1, 2].map(|which| known.side(which, &nodes[which], unit));
    let sides = [&b, &o, &t];
    if sides.iter().any(|side| side.tokens.len() > MAX_TOKENS || words(&side.tokens) == 0) {
        return None;
    }
    let our_changes = region::changes(&b.tokens, &o.tokens);
    let their_changes = region::changes(&b.tokens, &t.tokens);
    let regions = region::regions(b.tokens.len(), &our_changes, &their_changes);
    let regions = join(regions, sides);

    let mut composer = Composer {
        our_places: places(&our_changes, b.tokens.len()),
        their_places: places(&their_changes, b.tokens.len()),
        sides,
        context,
        marks,
        unit,
        tokens: Vec::new(),
        shared: 0,
        disputed: 0,
    };
    for region in regions {
        composer.region(region);
    }
    if composer.disputed > 0 && composer.disputed >= composer.shared {
        return None;
    }
    Some(compose(&composer.tokens, &composer.marks))
}

/// Where a side has each token of the base that it left alone.
fn places(changes: &[Change], base_len: usize) -> Vec<Option<usize>> {
    let mut places = Vec::with_capacity(base_len);
    let mut at = 0;
    for change in changes {
        while places.len() < change.base.start {
            places.push(Some(at));
            at += 1;
        }
        places.resize(change.base.end, None);
        at = change.side.end;
    }
    while places.len() < base_len {
        places.push(Some(at));
        at += 1;
    }
    places
}

/// Takes overlaps that only fillers part for one: what somebody wrote in one go is read in one go.
fn join<'c>(regions: Vec<Region<'c>>, [base, ours, theirs]: [&Side<'_>; 3]) -> Vec<Region<'c>> {
    let is_disputed = |region: &Region<'_>| {
        let (ours, theirs) =
            (&ours.tokens[region.ours.clone()], &theirs.tokens[region.theirs.clone()]);
        matches!(region.kind, Kind::Overlap { .. }) && block::ids(ours) != block::ids(theirs)
    };
    let is_between = |region: &Region<'_>| {
        let base = &base.tokens[region.base.clone()];
        matches!(region.kind, Kind::Kept) && base.iter().all(Piece::is_filler)
    };
    let mut joined: Vec<Region<'c>> = Vec::with_capacity(regions.len());
    for region in regions {
        if let [.., first, between] = &mut joined[..]
            && is_between(between)
            && is_disputed(first)
            && is_disputed(&region)
        {
            first.base.end = region.base.end;
            first.ours.end = region.ours.end;
            first.theirs.end = region.theirs.end;
            joined.pop();
        } else {
            joined.push(region);
        }
    }
    joined
}

/// Puts the merged text together.
struct Composer<'m, 'a, 'n> {
    context: &'m mut Context<'a>,
    marks: Marks<'a>,
    unit: Unit,
    /// Base, ours and theirs.
    sides: [&'m Side<'n>; 3],
    our_places: Vec<Option<usize>>,
    their_places: Vec<Option<usize>>,
    tokens: Vec<Token<'n>>,
    /// Words that all three have.
    shared: usize,
    /// Words that both sides changed.
    disputed: usize,
}

impl<'n> Composer<'_, '_, 'n> {
    fn region(&mut self, region: Region<'_>) {
        let [b, o, t] = self.sides;
        let (ours, theirs) = (&o.tokens[region.ours.clone()], &t.tokens[region.theirs.clone()]);
        match region.kind {
            Kind::Kept => {
                self.shared += words(theirs);
                self.kept(&region);
            }
            Kind::Ours => {
                self.changed(&[Change { base: region.base, side: region.ours }], &[]);
            }
            Kind::Theirs => {
                self.changed(&[], &[Change { base: region.base, side: region.theirs }]);
            }
            // Both wrote the same.
            _ if block::ids(ours) == block::ids(theirs) => self.kept(&region),
            Kind::Beside { ours, theirs } => self.changed(ours, theirs),
            Kind::Overlap { .. } => {
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
                self.report(OverlapKind::Text, [region.base, region.ours, region.theirs]);
            }
        }
    }

    /// Adds a token, and a space where words would run into each other that did so on no side.
    fn push(&mut self, token: Token<'n>) {
        if let Some(last) = self.tokens.last()
            && (last.sort != Sort::White && token.sort == Sort::Word)
            && !token.follows(last)
        {
            let marks = if last.marks == token.marks { last.marks } else { 0 };
            let (sort, text) = (Sort::White, self.unit.space());
            self.tokens.push(Token { id: u32::MAX, sort, text, marks, node: None, at: [0; 3] });
        }
        self.tokens.push(token);
    }

    /// What both have, though either may have changed its marks.
    fn kept(&mut self, region: &Region<'_>) {
        let [b, o, t] = self.sides;
        let is_each = region.base.len() == region.ours.len();
        for (i, (ours, theirs)) in region.ours.clone().zip(region.theirs.clone()).enumerate() {
            let start = region.base.start;
            let base = if is_each { start + i..start + i + 1 } else { region.base.clone() };
            let before = if is_each { b.tokens[start + i].marks } else { 0 };
            let (o, t) = (&o.tokens[ours], &t.tokens[theirs]);
            let three = [before, o.marks, t.marks];
            let (marks, overlap) = self.marks.merge(three, self.context.on_overlap);
            let token = if marks == t.marks { t } else { o };
            let at = [if is_each { start + i + 1 } else { 0 }, ours + 1, theirs + 1];
            self.push(Token { marks, at, ..*token });
            if overlap {
                self.report_marks([base, ours..ours + 1, theirs..theirs + 1]);
            }
        }
    }

    /// What stands in for neighbouring parts of the base, none of which both sides changed.
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

    /// What a side wrote, with the marks that the other gave to, or took from, all the words of the
    /// base that it stands for.
    fn written(&mut self, change: &Change, is_ours: bool) -> Vec<Token<'n>> {
        let [b, o, t] = self.sides;
        let (side, other, places) =
            if is_ours { (o, t, &self.their_places) } else { (t, o, &self.our_places) };
        let mut tokens = side.tokens[change.side.clone()].to_vec();
        let marks = change.base.clone().map(|i| {
            let base = &b.tokens[i];
            (base, places[i].map(|place| other.tokens[place].marks))
        });
        let mut marks = marks
            .filter(|(base, _)| base.sort == Sort::Word)
            .map(|(base, other)| other.map(|other| (base.marks, other)));
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
            if overlap
                && let Some(start) = places[change.base.start]
                && let Some(last) = places[change.base.end - 1]
            {
                let other = start..last + 1;
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

    /// An overlap of marks next to the one before is the same.
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

/// Both in a row; once, when the one begins or ends with the other. Of what was written at one place,
/// that which goes with the word before it comes first.
fn both<'n>(
    mut first: Vec<Token<'n>>,
    mut second: Vec<Token<'n>>,
    at_one_place: bool,
) -> Vec<Token<'n>> {
    if block::begins_or_ends_with(&first, &second) {
        return first;
    }
    if block::begins_or_ends_with(&second, &first) {
        return second;
    }
    let is_apart =
        |tokens: &[Token<'_>]| tokens.first().is_some_and(|token| token.sort == Sort::White);
    if at_one_place && is_apart(&first) && !is_apart(&second) {
        (first, second) = (second, first);
    }
    first.extend(second);
    first
}

/// The nodes of merged text: neighbours with the same marks are one. What became again what one of
/// the documents has is that, to the letter.
fn compose(tokens: &[Token<'_>], marks: &Marks<'_>) -> Vec<Box<RawValue>> {
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
        if let Some(node) = first.node.filter(|node| is_whole(node)) {
            return Some(node.raw.to_owned());
        }
        let marks = (first.marks != 0).then(|| marks.json(first.marks));
        to_raw_value(&Node { r#type: "text", marks, text: &text }).ok()
    })
    .collect()
}
