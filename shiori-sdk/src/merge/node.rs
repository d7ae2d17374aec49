//! Merging the children of a node, and the content of a child that both sides changed.

use std::{borrow::Cow, ops::Range};

use serde_json::value::{RawValue, to_raw_value};

use super::{
    audit,
    block::{self, Block, Piece},
    context::Context,
    field::{self, Node},
    flow,
    hash::{Map, Set},
    overlap::{OnOverlap, Overlap, OverlapKind, Step},
    region::{self, Change, Region},
    replay,
    schema::{self, Kind},
    segment::Unit,
    table, text, token,
};

/// The blocks of the document, or the children of a node: those of base, ours and theirs.
type Three<'m, 'a> = [&'m [Block<'a>]; 3];

/// Merges the blocks of the document.
pub(super) fn document<'a>(context: &mut Context<'a>, three: Three<'_, 'a>) -> Vec<Part<'a>> {
    let mut parts = parts(context, Kind::Document, three);
    // Both sides together may have removed all blocks, but an editor requires one.
    if parts.iter().all(|part| part.blocks.is_empty()) && three.iter().all(|side| !side.is_empty())
    {
        let hull = three.map(|side| side.len()..side.len());
        let blocks = vec![Cow::Owned(schema::empty_paragraph())];
        parts.push(Part::new(hull, blocks));
        let needs_check = parts.iter().any(|part| part.needs_check);
        for part in &mut parts {
            part.needs_check = needs_check;
        }
    }
    parts
}

/// Merges the children of a node.
fn children<'a>(
    context: &mut Context<'a>,
    parent: Kind,
    three: Three<'_, 'a>,
) -> Vec<Cow<'a, RawValue>> {
    parts(context, parent, three).into_iter().flat_map(|part| part.blocks).collect()
}

fn parts<'a>(context: &mut Context<'a>, parent: Kind, three: Three<'_, 'a>) -> Vec<Part<'a>> {
    let [base, ours, theirs] = three;
    let our_changes = region::changes(base, ours);
    let their_changes = region::changes(base, theirs);
    let regions = region::regions(base.len(), &our_changes, &their_changes);
    let (our, their) =
        (Edits::of(base, &our_changes, ours), Edits::of(base, &their_changes, theirs));
    let moved = moved_words(context, base, [(&our_changes, ours), (&their_changes, theirs)]);
    let has_copies = our.has_copies(base) || their.has_copies(base);
    // Moved words and copies may be matched with blocks anywhere in the list.
    let is_ambiguous = !moved.is_empty() || has_copies;
    context.is_ambiguous |= parent == Kind::Document && is_ambiguous;
    let may_replay = parent == Kind::Document && !context.reports_shared;
    if may_replay
        && is_ambiguous
        && let Some(which) = replayed(context, &regions, three)
    {
        context.needs_check = true;
        let part = |region: &Region<'_>| {
            let blocks = borrowed(slices(&region.hull(), three)[which]);
            Part { needs_check: true, ..Part::new(region.hull(), blocks) }
        };
        return regions.iter().map(part).collect();
    }
    let mut needs_check = context.needs_check;
    let mut parts: Vec<Part<'a>> = Vec::with_capacity(regions.len());
    for group in region::groups(&regions, |place| base[place].is_filler()) {
        let is_plain = is_plain(group, three);
        context.needs_check = is_ambiguous || !is_plain;
        let from = parts.len();
        let hull = region::hull(group);
        let mut done = None;
        if may_replay && !is_ambiguous && region::is_of_both(group) {
            done = replayed(context, group, three);
        }
        if done.is_none() && group.iter().filter(|region| region.is_changed()).count() > 1 {
            done = did_all(&hull, base, &our, &their);
        }
        if let Some(which) = done {
            context.needs_check = true;
            let blocks = borrowed(slices(&hull, three)[which]);
            parts.push(Part { is_shared: true, ..Part::new(hull, blocks) });
        } else {
            for region in group {
                let hull = region.hull();
                let reported = context.overlaps.len();
                let side = did_all(&hull, base, &our, &their);
                let blocks = merge_region(context, parent, region, side, three);
                let overlaps = context.overlaps.split_off(reported);
                let is_shared = region.is_changed();
                parts.push(Part { is_shared, overlaps, ..Part::new(hull, blocks) });
            }
        }
        // A blank line that no side contains: one side removed the text of a block, and the other
        // side changed the block's type.
        let is_new_filler = |block: &Cow<'_, RawValue>| matches!(block, Cow::Owned(block) if block::is_filler(block));
        context.needs_check |=
            parts[from..].iter().flat_map(|part| &part.blocks).any(is_new_filler);
        for part in &mut parts[from..] {
            part.needs_check = context.needs_check;
        }
        needs_check |= context.needs_check;
        if context.reports_shared && is_plain && !has_copies && !region::is_of_both(group) {
            for part in &mut parts[from..] {
                let mut blocks = slices(&part.hull, three).into_iter().flatten();
                part.is_shared &= blocks
                    .any(|block| context.numbering.words(block).iter().any(|w| moved.contains(w)));
            }
        }
    }
    context.needs_check = needs_check;
    if parent == Kind::Document && context.reports_shared {
        report_shared(context, three, &mut parts);
    }
    for part in &mut parts {
        context.overlaps.append(&mut part.overlaps);
    }
    parts
}

/// The side, ours (1) or theirs (2), that already contains the changes of the other side in these
/// regions. If each contains those of the other, the blocks are merged.
fn replayed<'a>(
    context: &mut Context<'a>,
    regions: &[Region<'_>],
    three: Three<'_, 'a>,
) -> Option<usize> {
    // If only one side changed a block, the other side does not contain the change.
    let has_own = |side: usize| {
        let mut hulls = regions.iter().filter(|r| r.is_of(side)).map(Region::hull);
        hulls.any(|hull| !hull[0].is_empty() && !hull[side].is_empty())
    };
    let orders: Vec<_> = [(1, 2), (2, 1)].into_iter().filter(|(part, _)| !has_own(*part)).collect();
    if orders.is_empty() || !regions.iter().any(Region::is_changed) {
        return None;
    }
    let sides = changed_blocks(regions, three);
    let is_same = |(ours, theirs): (&Block<'_>, &Block<'_>)| ours.raw.get() == theirs.raw.get();
    if sides[1].len() == sides[2].len() && sides[1].iter().zip(&sides[2]).all(is_same) {
        return None;
    }
    let mut words: Map<u32, [usize; 3]> = Map::default();
    for region in regions.iter().filter(|region| region.is_changed()) {
        let slices = slices(&region.hull(), three);
        for (which, blocks) in slices.into_iter().enumerate() {
            for block in blocks {
                for word in context.numbering.words(block).iter() {
                    words.entry(*word).or_default()[which] += 1;
                }
            }
        }
    }
    let mut holding = orders.into_iter().filter_map(|(part, all)| {
        if !replay::may_hold(&words, part, all) {
            return None;
        }
        context.spend(sides.iter().flatten().map(|block| block.raw))?;
        let three = [&sides[0][..], &sides[part], &sides[all]];
        context.signs.hold(three).then_some(all)
    });
    let all = holding.next()?;
    holding.next().is_none().then_some(all)
}

/// The blocks of base, ours and theirs that a side changed, each with the one before and behind it.
fn changed_blocks<'a>(regions: &[Region<'_>], three: Three<'_, 'a>) -> [Vec<Block<'a>>; 3] {
    let hull = region::hull(regions);
    [0, 1, 2].map(|which| {
        let blocks = regions.iter().flat_map(|region| {
            let blocks = slices(&region.hull(), three)[which];
            match blocks {
                [first, .., last] if !region.is_changed() => vec![*first, *last],
                _ => blocks.to_vec(),
            }
        });
        let Range { start, end } = hull[which];
        let before = three[which][..start].last();
        let behind = three[which][end..].first();
        before.copied().into_iter().chain(blocks).chain(behind.copied()).collect()
    })
}

/// The result of merging a part of the children.
pub(super) struct Part<'a> {
    /// Its ranges in base, ours and theirs.
    pub(super) hull: [Range<usize>; 3],
    pub(super) blocks: Vec<Cow<'a, RawValue>>,
    /// Whether it must be checked.
    pub(super) needs_check: bool,
    /// Whether changes of both sides may affect each other in it: both changed it, or words were
    /// moved into it or out of it. Only set if such parts are reported.
    is_shared: bool,
    overlaps: Vec<Overlap>,
}

impl<'a> Part<'a> {
    fn new(hull: [Range<usize>; 3], blocks: Vec<Cow<'a, RawValue>>) -> Self {
        Self { hull, blocks, needs_check: false, is_shared: false, overlaps: Vec::new() }
    }
}

fn borrowed<'a>(blocks: &[Block<'a>]) -> Vec<Cow<'a, RawValue>> {
    blocks.iter().map(|block| Cow::Borrowed(block.raw)).collect()
}

/// The blocks of each document in a part.
fn slices<'m, 'a>(hull: &[Range<usize>; 3], three: Three<'m, 'a>) -> Three<'m, 'a> {
    [0, 1, 2].map(|which| &three[which][hull[which].clone()])
}

fn merge_region<'a>(
    context: &mut Context<'a>,
    parent: Kind,
    region: &Region<'_>,
    did_all: Option<usize>,
    three: Three<'_, 'a>,
) -> Vec<Cow<'a, RawValue>> {
    let hull = region.hull();
    let [b, o, t] = slices(&hull, three);
    match region.kind {
        region::Kind::Kept => {
            let letters = b.iter().zip(o).zip(t).map(|((b, o), t)| letter(b, o, t));
            letters.map(Cow::Borrowed).collect()
        }
        region::Kind::Ours => borrowed(o),
        region::Kind::Theirs => borrowed(t),
        _ if block::ids(o) == block::ids(t) => borrowed(t),
        region::Kind::Beside { ours: our_changes, theirs: their_changes } => {
            let [_, ours, theirs] = three;
            let theirs = their_changes.iter().map(|change| (change, theirs));
            let ours = our_changes.iter().map(|change| (change, ours));
            let mut changes: Vec<_> = theirs.chain(ours).collect();
            changes.sort_by_key(|(change, _)| (change.base.start, change.base.end));
            let blocks = changes.into_iter().fold(Vec::new(), |before, (change, side)| {
                block::union(&before, &side[change.side.clone()])
            });
            borrowed(&blocks)
        }
        region::Kind::Overlap { ours: our_changes, theirs: their_changes } => {
            let [_, ours, theirs] = three;
            let (our, their) = (added(ours, our_changes), added(theirs, their_changes));
            match did_all {
                Some(1) => return borrowed(o),
                Some(_) => return borrowed(t),
                None => {}
            }
            let both = block::union(&their, &our);
            if let ([b], [o], [t]) = (b, o, t)
                && b.is_filler()
                && parent.takes_twice(Kind::of_node(b.raw))
                && are_different_texts(o, t)
            {
                // Text that both wrote into an empty paragraph counts as inserted by both.
                return borrowed(&both);
            }
            let step = Step {
                base: region.base.start,
                ours: region.ours.start,
                theirs: region.theirs.start,
            };
            if let ([b], [o], [t]) = (b, o, t)
                && let Some(inside) = inside(context, parent, step, [b, o, t])
            {
                return inside.into_iter().map(Cow::Owned).collect();
            }
            let flowed = flow(context, [b, o, t]);
            context.needs_check |= flowed.is_some();
            if let Some(flowed) = &flowed
                && !flowed.overlap
            {
                return flowed.blocks.iter().cloned().map(Cow::Owned).collect();
            }
            context.report(of_nodes(hull));
            match (context.on_overlap, flowed) {
                (OnOverlap::Ours, _) => borrowed(o),
                (OnOverlap::Theirs, _) => borrowed(t),
                (_, Some(flowed)) => flowed.blocks.into_iter().map(Cow::Owned).collect(),
                (_, None) => borrowed(&both),
            }
        }
    }
}

/// Whether both contain text, and neither contains all of the other's text.
fn are_different_texts(one: &Block<'_>, other: &Block<'_>) -> bool {
    let (one, other) = (block::words(one.raw), block::words(other.raw));
    let holds = |all: &[u32], part: &[u32]| {
        let mut rest = all.iter();
        part.iter().all(|word| rest.any(|other| other == word))
    };
    !holds(&one, &other) && !holds(&other, &one)
}

fn of_nodes([base, ours, theirs]: [Range<usize>; 3]) -> Overlap {
    Overlap::of(OverlapKind::Nodes, base, ours, theirs)
}

/// The words that a side moved from one block to another.
fn moved_words<'a>(
    context: &mut Context<'a>,
    base: &[Block<'a>],
    sides: [(&[Change], &[Block<'a>]); 2],
) -> Set<u32> {
    if sides.iter().any(|(changes, _)| changes.is_empty()) {
        return Set::default();
    }
    let mut words = |blocks: &[Block<'a>]| -> Vec<u32> {
        blocks.iter().flat_map(|block| context.numbering.words(block).to_vec()).collect()
    };
    let moved =
        sides.iter().flat_map(|(changes, side)| {
            audit::moved_words(changes.iter().map(|change| {
                [words(&base[change.base.clone()]), words(&side[change.side.clone()])]
            }))
        });
    moved.collect()
}

/// Whether the changes in a group of regions are unambiguous: none of them contains a blank line or
/// rule, and each concerns one block or it is the only one.
fn is_plain(group: &[Region<'_>], three: Three<'_, '_>) -> bool {
    let changed: Vec<_> = group.iter().filter(|region| region.is_changed()).collect();
    let is_of_one_block =
        |region: &&Region<'_>| slices(&region.hull(), three).iter().all(|blocks| blocks.len() == 1);
    let is_alone = matches!(changed[..], [region] if region.kind.is_plain());
    let blocks = changed.iter().flat_map(|region| slices(&region.hull(), three));
    !blocks.flatten().any(Piece::is_filler) && (is_alone || changed.iter().all(is_of_one_block))
}

/// Reports overlaps for parts in which changes of both sides may affect each other.
fn report_shared<'a>(context: &mut Context<'a>, three: Three<'_, 'a>, parts: &mut [Part<'a>]) {
    for part in parts.iter_mut().filter(|part| part.is_shared && part.overlaps.is_empty()) {
        report_part(context, three, part);
    }
}

/// Turns a part that was merged without an overlap into an overlap.
fn report_part<'a>(context: &mut Context<'a>, three: Three<'_, 'a>, part: &mut Part<'a>) {
    let reported = context.overlaps.len();
    context.report(of_nodes(part.hull.clone()));
    part.overlaps = context.overlaps.split_off(reported);
    let which = match context.on_overlap {
        OnOverlap::Ours => 1,
        OnOverlap::Theirs => 2,
        OnOverlap::KeepBoth | OnOverlap::Fail => return,
    };
    part.blocks = borrowed(slices(&part.hull, three)[which]);
}

/// The blocks of the base that a side removed or changed, and the blocks that it inserted instead.
struct Edits<'m, 'a> {
    side: &'m [Block<'a>],
    is_removed: Vec<bool>,
    is_added: Vec<bool>,
}

impl<'m, 'a> Edits<'m, 'a> {
    fn of(base: &[Block<'a>], changes: &[Change], side: &'m [Block<'a>]) -> Self {
        let (mut is_removed, mut is_added) = (vec![false; base.len()], vec![false; side.len()]);
        for change in changes {
            is_removed[change.base.clone()].fill(true);
            is_added[change.side.clone()].fill(true);
        }
        Self { side, is_removed, is_added }
    }

    /// Whether a block was added that the base already contains.
    fn has_copies(&self, base: &[Block<'_>]) -> bool {
        let mut ids: Set<u32> = Set::default();
        let mut added = (0..self.side.len()).filter(|&place| self.is_added[place]).peekable();
        if added.peek().is_none() {
            return false;
        }
        ids.extend(base.iter().map(Piece::id));
        added.any(|place| !ids.insert(self.side[place].id()))
    }

    fn added(&self, range: &Range<usize>) -> impl Iterator<Item = &'m Block<'a>> {
        range.clone().filter(|&place| self.is_added[place]).map(|place| &self.side[place])
    }
}

/// The side, ours (1) or theirs (2), that made all changes that the other side made: the other side
/// was merged into it before. A block that one side removed and the other changed does not count.
fn did_all(
    [base_range, our_range, their_range]: &[Range<usize>; 3],
    base: &[Block<'_>],
    ours: &Edits<'_, '_>,
    theirs: &Edits<'_, '_>,
) -> Option<usize> {
    // Of several blank lines in a row, any may be the one that was removed.
    let removed_more = |all: &Edits<'_, '_>, part: &Edits<'_, '_>, part_range: &Range<usize>| {
        let is_text = |place: &usize| part.is_removed[*place] && !base[*place].is_filler();
        let has_text = base_range.clone().any(|place| is_text(&place))
            || part.added(part_range).any(|block| !block.is_filler());
        base_range.clone().all(|place| {
            all.is_removed[place] || !part.is_removed[place] || has_text && base[place].is_filler()
        })
    };
    let added_more = |all: &Edits<'_, '_>, all_range, part: &Edits<'_, '_>, part_range| {
        if part.added(part_range).next().is_none() {
            let mut removed = base_range.clone().filter(|&place| part.is_removed[place]);
            return !removed.any(|place| {
                all.added(all_range).any(|new| block::resembles(base[place].raw, new.raw))
            });
        }
        let has_text = part.added(part_range).any(|block| !block.is_filler());
        let mut rest = all.added(all_range);
        let mut wanted = part.added(part_range).filter(|block| !(has_text && block.is_filler()));
        wanted.all(|block| rest.any(|other| other.id() == block.id()))
    };
    if removed_more(theirs, ours, our_range) && added_more(theirs, their_range, ours, our_range) {
        Some(2)
    } else if removed_more(ours, theirs, their_range)
        && added_more(ours, our_range, theirs, their_range)
    {
        Some(1)
    } else {
        None
    }
}

/// Merges blocks whose text was moved among them.
fn flow<'a>(context: &mut Context<'a>, three: Three<'_, 'a>) -> Option<flow::Flowed> {
    let is_text = |blocks: &[Block<'_>]| matches!(blocks, [block] if Kind::of_node(block.raw).is_text_block());
    // Text that is in a single block on all sides was not moved among blocks.
    if three.iter().any(|blocks| blocks.is_empty()) || three.iter().all(|blocks| is_text(blocks)) {
        return None;
    }
    context.spend(three.iter().flat_map(|blocks| blocks.iter()).map(|block| block.raw))?;
    let flowed = flow::merge(context, three)?;
    // The order matters where both sides inserted text, so both orders must be possible.
    let [base, ours, theirs] = three;
    let turned = flow::merge(context, [base, theirs, ours])?;
    (turned.overlap == flowed.overlap).then_some(flowed)
}

/// Merges both versions of one node. `None` if the two versions are better kept as they are; then
/// no overlap was reported.
fn inside<'a>(
    context: &mut Context<'a>,
    parent: Kind,
    step: Step,
    three: [&Block<'a>; 3],
) -> Option<Inside> {
    let three = three.map(|block| block.raw);
    context.descend(step, three, |context| node(context, parent, three))
}

/// The merged node; `None` if together both sides removed its whole content.
type Inside = Option<Box<RawValue>>;

fn node<'a>(context: &mut Context<'a>, parent: Kind, three: [&'a RawValue; 3]) -> Option<Inside> {
    let [b, o, t] = three.map(|raw| Node::of(raw.get()));
    let (b, o, t) = (b?, o?, t?);
    let [name, our_name, their_name] = [&b, &o, &t].map(|node| node.fields.text("type"));
    let name = name?;
    if !alike(&name, &our_name?) || !alike(&name, &their_name?) {
        return None;
    }
    let kind = Kind::of(&name);
    let merged = field::merge(&b.fields, &o.fields, &t.fields, context.on_overlap);
    if merged.loses_text {
        return None;
    }
    if merged.overlap {
        context.report(Overlap::of(OverlapKind::Fields, 0..0, 0..0, 0..0));
    }

    let contents = [&b.content, &o.content, &t.content].map(Vec::as_slice);
    let content = if kind.is_text_block()
        || contents.iter().any(|content| token::is_inline(content))
    {
        let unit = if kind == Kind::Code { Unit::Line } else { Unit::Word };
        text::merge(context, contents, unit, !parent.takes_twice(kind))?
    } else if kind == Kind::Table {
        context.needs_check = true;
        table::merge(context, contents, &mut |context, steps, cells| cell(context, steps, cells))?
    } else {
        let b = context.numbering.blocks(&b.content, &[]);
        let [o, t] = [&o, &t].map(|side| context.numbering.blocks(&side.content, &b));
        let content = children(context, kind, [&b, &o, &t]);
        if content.is_empty() && !o.is_empty() && !t.is_empty() && !kind.stays_when_empty() {
            return Some(None);
        }
        schema::settle(kind, contents, content)?
    };
    if kind == Kind::Table && content.is_empty() {
        return Some(None);
    }

    let mut fields = merged.fields;
    if !content.is_empty() {
        fields.insert_content(o.content_at.or(t.content_at), &content);
    }
    to_raw_value(&fields).ok().map(Some)
}

/// Merges a cell of a table.
fn cell<'a>(
    context: &mut Context<'a>,
    [row, cell]: [Step; 2],
    three: [&Block<'a>; 3],
) -> Option<Box<RawValue>> {
    let raw = three.map(|block| block.raw);
    context.descend(row, raw, |context| inside(context, Kind::Row, cell, three)?)
}

/// Whether the types differ only in a way that keeps the kind of content, so that a change from one
/// to the other does not make a new block.
fn alike(one: &str, other: &str) -> bool {
    const ALIKE: [[&str; 2]; 5] = [
        ["paragraph", "heading"],
        ["bulletList", "orderedList"],
        ["bullet_list", "ordered_list"],
        ["tableCell", "tableHeader"],
        ["table_cell", "table_header"],
    ];
    one == other || ALIKE.iter().any(|names| names.contains(&one) && names.contains(&other))
}

/// The blocks that a side inserted in place of those that it changed, without the blocks that it
/// did not change: in an overlap the other side changed or removed those.
fn added<'a>(side: &[Block<'a>], changes: &[Change]) -> Vec<Block<'a>> {
    changes.iter().flat_map(|change| &side[change.side.clone()]).copied().collect()
}

/// The JSON text of a block whose value neither side changed: that of the side that changed the
/// spelling.
fn letter<'a>(base: &Block<'a>, ours: &Block<'a>, theirs: &Block<'a>) -> &'a RawValue {
    if theirs.raw.get() == base.raw.get() { ours.raw } else { theirs.raw }
}
