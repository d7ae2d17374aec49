//! Merging the children of a node, and what both sides changed inside one of them.

use std::borrow::Cow;

use serde_json::value::{RawValue, to_raw_value};

use super::{
    block::{self, Block},
    context::Context,
    field::{self, Node},
    overlap::{OnOverlap, Overlap, OverlapKind, Step},
    region::{self, Change, Kind},
    text,
    token::{self, Unit},
};

/// Merges the children of a node, or the blocks of the document.
pub(super) fn children<'a>(
    context: &mut Context<'a>,
    base: &[Block<'a>],
    ours: &[Block<'a>],
    theirs: &[Block<'a>],
) -> Vec<Cow<'a, RawValue>> {
    let our_changes = region::changes(base, ours);
    let their_changes = region::changes(base, theirs);

    let mut merged = Vec::new();
    for region in region::regions(base.len(), &our_changes, &their_changes) {
        let b = &base[region.base.clone()];
        let (o, t) = (&ours[region.ours.clone()], &theirs[region.theirs.clone()]);
        let blocks = match region.kind {
            Kind::Kept => {
                let letters = b.iter().zip(o).zip(t).map(|((b, o), t)| letter(b, o, t));
                merged.extend(letters.map(Cow::Borrowed));
                continue;
            }
            Kind::Ours => o.to_vec(),
            Kind::Theirs => t.to_vec(),
            _ if block::ids(o) == block::ids(t) => t.to_vec(),
            Kind::Beside { ours: our_changes, theirs: their_changes } => {
                let theirs = their_changes.iter().map(|change| (change, theirs));
                let ours = our_changes.iter().map(|change| (change, ours));
                let mut changes: Vec<_> = theirs.chain(ours).collect();
                changes.sort_by_key(|(change, _)| (change.base.start, change.base.end));
                changes.into_iter().fold(Vec::new(), |before, (change, side)| {
                    block::union(&before, &side[change.side.clone()])
                })
            }
            Kind::Overlap { ours: our_changes, theirs: their_changes } => {
                let step = Step {
                    base: region.base.start,
                    ours: region.ours.start,
                    theirs: region.theirs.start,
                };
                if let ([b], [o], [t]) = (b, o, t)
                    && let Some(node) = inside(context, step, [b, o, t])
                {
                    if let Inside::Node(node) = node {
                        merged.push(Cow::Owned(node));
                    }
                    continue;
                }
                context.report(Overlap::of(
                    OverlapKind::Nodes,
                    region.base,
                    region.ours,
                    region.theirs,
                ));
                match context.on_overlap {
                    OnOverlap::Ours => o.to_vec(),
                    OnOverlap::Theirs => t.to_vec(),
                    OnOverlap::KeepBoth | OnOverlap::Fail => {
                        block::union(&added(theirs, their_changes), &added(ours, our_changes))
                    }
                }
            }
        };
        merged.extend(blocks.iter().map(|block| Cow::Borrowed(block.raw)));
    }
    merged
}

/// Merges what both sides made of one node. `None` when the two versions are better kept apart;
/// then it has reported nothing.
fn inside<'a>(context: &mut Context<'a>, step: Step, three: [&Block<'a>; 3]) -> Option<Inside> {
    let three = three.map(|block| block.raw);
    context.descend(step, three, |context| node(context, three))
}

fn node<'a>(context: &mut Context<'a>, three: [&'a RawValue; 3]) -> Option<Inside> {
    let [b, o, t] = three.map(|raw| Node::of(raw.get()));
    let (b, o, t) = (b?, o?, t?);
    let [kind, our_kind, their_kind] = [&b, &o, &t].map(|node| node.fields.text("type"));
    let kind = kind?;
    if !alike(&kind, &our_kind?) || !alike(&kind, &their_kind?) {
        return None;
    }
    let merged = field::merge(&b.fields, &o.fields, &t.fields, context.on_overlap);
    if merged.loses_text {
        return None;
    }
    if merged.overlap {
        context.report(Overlap::of(OverlapKind::Fields, 0..0, 0..0, 0..0));
    }

    let contents = [&b.content, &o.content, &t.content];
    let content = if contents.iter().any(|content| token::is_inline(content)) {
        let unit =
            if matches!(&*kind, "codeBlock" | "code_block") { Unit::Line } else { Unit::Word };
        let content = text::merge(context, contents.map(Vec::as_slice), unit)?;
        content.into_iter().map(Cow::Owned).collect()
    } else {
        let is_row = matches!(&*kind, "tableRow" | "table_row");
        let b = context.numbering.blocks(&b.content, &[]);
        let [o, t] = [&o, &t].map(|side| context.numbering.blocks(&side.content, &b));
        let reported = context.overlaps.len();
        let content = children(context, &b, &o, &t);
        // A row that is wider or narrower than either side made it would break the table.
        let is_broken =
            content.len() + b.len() != o.len() + t.len() || context.has_overlap_here(reported);
        if is_row && is_broken {
            return None;
        }
        if content.is_empty() && !o.is_empty() && !t.is_empty() {
            return Some(Inside::Gone);
        }
        content
    };

    let mut fields = merged.fields;
    if !content.is_empty() {
        fields.insert_content(o.content_at.or(t.content_at), &content);
    }
    to_raw_value(&fields).ok().map(Inside::Node)
}

/// What became of a node that both sides changed.
enum Inside {
    Node(Box<RawValue>),
    /// Together they removed all that was in it, and an empty list is none.
    Gone,
}

/// Whether one may be turned into the other while it stays the same block with the same kind of
/// content.
fn alike(one: &str, other: &str) -> bool {
    const ALIKE: [[&str; 2]; 3] =
        [["paragraph", "heading"], ["bulletList", "orderedList"], ["bullet_list", "ordered_list"]];
    one == other || ALIKE.iter().any(|kinds| kinds.contains(&one) && kinds.contains(&other))
}

/// What a side put in the place of the blocks that it changed. A block that it left alone is not
/// among them: in an overlap the other side changed or removed that one.
fn added<'a>(side: &[Block<'a>], changes: &[Change]) -> Vec<Block<'a>> {
    changes.iter().flat_map(|change| &side[change.side.clone()]).copied().collect()
}

/// The text of a block whose value neither side changed: that of the side that changed the letter.
fn letter<'a>(base: &Block<'a>, ours: &Block<'a>, theirs: &Block<'a>) -> &'a RawValue {
    if theirs.raw.get() == base.raw.get() { ours.raw } else { theirs.raw }
}
