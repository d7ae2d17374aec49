//! Three-way merge of documents: what two devices wrote at once becomes one text.
//!
//! A merge needs the document that both sides started from. It compares top-level blocks
//! (paragraphs, headings, whole lists, …), and takes from each side what that side changed:
//!
//! ```
//! use shiori_sdk::{Document, merge::merge3};
//!
//! let base = Document::from_text("비가 왔다.\n우산이 없었다.");
//! let phone = Document::from_text("비가 왔다.\n우산이 없었다.\n버스를 기다렸다.");
//! let laptop = Document::from_text("아침부터 비가 왔다.\n우산이 없었다.\n떡볶이를 먹었다.");
//!
//! // The laptop saved first, so to the phone the laptop's document is `theirs`.
//! let merged = merge3(&base, &phone, &laptop);
//! assert!(merged.overlaps.is_empty());
//! assert_eq!(
//!     merged.document.block_texts(),
//!     ["아침부터 비가 왔다.", "우산이 없었다.", "떡볶이를 먹었다.", "버스를 기다렸다."]
//! );
//! ```
//!
//! # What is equal, and what is kept
//!
//! Blocks are equal when their JSON values are, whatever the order of keys. A block that is kept
//! is kept to the letter, so node types, marks and attributes that this crate does not know
//! survive. Where one side changed no more than the letter of a block, its letter is taken.
//!
//! # Where both sides worked at one place
//!
//! - *Both inserted at one place*, such as the end: both insertions are kept, theirs first since
//!   it was saved first. That is no overlap.
//! - *Both inserted the same block there*: it comes once. A merge cannot tell two people who wrote
//!   the same line from one who sent it twice, and the second is what happens when an answer is
//!   lost and a save is made again; were it kept twice, every such repetition would double the
//!   text. A block that one side inserted twice stays twice. Empty paragraphs and rules are
//!   never taken for the same text; they stay with the text around them. The same holds for what
//!   one inserted right beside a change of the other that ends or begins with it.
//! - *Both changed or removed the same block*, and not to the same: an [`Overlap`], which is
//!   resolved as [`OnOverlap`] says. [`merge3`] keeps both.
//!
//! A block that one side changed and the other left alone is no overlap, even when the other
//! changed or inserted right beside it.
//!
//! # Totality and bounds
//!
//! The merge has no I/O and never fails, and the same documents always give the same result. Its
//! work grows with the size of the documents times a bounded number of edits; when two documents
//! hold the same blocks in a wildly different order (more than 1,000 edits apart, new and removed
//! blocks not counted), all between what they begin and end with is taken to have been changed. The
//! result may have more nodes than [`DocumentLimits`](crate::DocumentLimits) allow; a server
//! refuses it then.

mod block;
mod diff;
mod field;
mod region;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range};

use serde_json::value::{RawValue, to_raw_value};

use crate::types::Document;
use block::{Block, Numbering};
use field::Fields;
use region::{Change, Kind};

/// Merges what two sides made of `base`, and keeps both where they overlap: `theirs`, which was
/// saved first, before `ours`.
///
/// No block that either side added or changed is lost.
pub fn merge3(base: &Document, ours: &Document, theirs: &Document) -> Merged {
    merge3_with(base, ours, theirs, OnOverlap::KeepBoth)
}

/// Merges what two sides made of `base`, and resolves overlaps as the caller asks.
///
/// ```
/// use shiori_sdk::{Document, merge::{OnOverlap, merge3_with}};
///
/// let base = Document::from_text("점심은 아직");
/// let ours = Document::from_text("점심은 국수");
/// let theirs = Document::from_text("점심은 김밥");
/// let merge = |on_overlap| merge3_with(&base, &ours, &theirs, on_overlap);
///
/// let both = merge(OnOverlap::KeepBoth);
/// assert_eq!(both.document.block_texts(), ["점심은 김밥", "점심은 국수"]);
/// assert_eq!(both.overlaps[0].base, 0..1);
/// assert_eq!(merge(OnOverlap::Ours).document, ours);
/// assert_eq!(merge(OnOverlap::Theirs).document, theirs);
/// ```
pub fn merge3_with(
    base: &Document,
    ours: &Document,
    theirs: &Document,
    on_overlap: OnOverlap,
) -> Merged {
    if let Some(document) = unmerged(base, ours, theirs) {
        return Merged { document: document.clone(), overlaps: Vec::new() };
    }
    let mut numbering = Numbering::default();
    let mut parts = |document| Parts::of(document, &mut numbering);
    let (Some(b), Some(o), Some(t)) = (parts(base), parts(ours), parts(theirs)) else {
        // What has not the shape of a document cannot be taken apart: it overlaps as a whole.
        let document = if on_overlap == OnOverlap::Theirs { theirs } else { ours };
        return Merged { document: document.clone(), overlaps: vec![Overlap::BESIDE_BLOCKS] };
    };

    let fields = field::merge(&b.fields, &o.fields, &t.fields, on_overlap);
    let mut overlaps = Vec::new();
    if fields.overlap {
        overlaps.push(Overlap::BESIDE_BLOCKS);
    }
    let blocks = merge_blocks(&b.blocks, &o.blocks, &t.blocks, on_overlap, &mut overlaps);
    let has_content = if o.has_content == b.has_content { t.has_content } else { o.has_content };
    let document = assemble(fields.fields, &blocks, has_content);
    Merged { document, overlaps }
}

/// What [`merge3`] makes of three documents.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Merged {
    /// The merged document. After [`OnOverlap::Fail`] it is of use only when `overlaps` is empty.
    pub document: Document,
    /// Where both sides changed the same blocks, in the order of the document.
    pub overlaps: Vec<Overlap>,
}

/// A place where both sides changed the same blocks, and not to the same.
///
/// The ranges are of top-level blocks, counted from 0, in each of the three documents. The range
/// of a side is empty where that side removed the blocks. All three are empty when it is not the
/// blocks that overlap but the fields beside them: both sides set the same attribute of the
/// document itself to different values, or one of the three has not even the shape of a document.
/// It cannot hold both, so it has ours then, and theirs under [`OnOverlap::Theirs`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Overlap {
    /// The blocks of the base that both sides changed.
    pub base: Range<usize>,
    /// What stands there in ours.
    pub ours: Range<usize>,
    /// What stands there in theirs.
    pub theirs: Range<usize>,
}

impl Overlap {
    const BESIDE_BLOCKS: Self = Self { base: 0..0, ours: 0..0, theirs: 0..0 };
}

/// What a merge does where both sides changed the same blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnOverlap {
    /// The merge is not wanted: the caller looks at [`Merged::overlaps`] and does not use the
    /// document.
    Fail,
    /// What theirs made of the blocks comes first, then what ours did, without repeating what both
    /// share. Where one side removed a block that the other changed, the changed block stays.
    KeepBoth,
    /// Ours wins at that place; what theirs did elsewhere is kept.
    Ours,
    /// Theirs wins at that place; what ours did elsewhere is kept.
    Theirs,
}

/// A document taken apart.
struct Parts<'a> {
    fields: Fields<'a>,
    blocks: Vec<Block<'a>>,
    has_content: bool,
}

impl<'a> Parts<'a> {
    /// `None` when it has not the shape of a document; it may not, since what was deserialised
    /// was not checked.
    fn of(document: &'a Document, numbering: &mut Numbering) -> Option<Self> {
        let mut fields = document.fields()?;
        let content = fields.remove("content");
        let blocks: Vec<&RawValue> =
            content.map_or(Ok(Vec::new()), |content| serde_json::from_str(content.get())).ok()?;
        let blocks = blocks.into_iter().map(|raw| numbering.block(raw)).collect();
        Some(Self { fields, blocks, has_content: content.is_some() })
    }
}

fn assemble(
    mut fields: BTreeMap<String, Box<RawValue>>,
    blocks: &[&RawValue],
    has_content: bool,
) -> Document {
    if has_content || !blocks.is_empty() {
        let content = to_raw_value(blocks).unwrap_or_else(|_| unreachable!("raw JSON is JSON"));
        fields.insert("content".to_owned(), content);
    }
    let fields = fields.iter().map(|(key, value)| (key.clone(), &**value)).collect();
    Document::from_fields(&fields)
}

fn merge_blocks<'a>(
    base: &[Block<'a>],
    ours: &[Block<'a>],
    theirs: &[Block<'a>],
    on_overlap: OnOverlap,
    overlaps: &mut Vec<Overlap>,
) -> Vec<&'a RawValue> {
    let our_changes = region::changes(base, ours);
    let their_changes = region::changes(base, theirs);

    let mut merged: Vec<&RawValue> = Vec::new();
    for region in region::regions(base.len(), &our_changes, &their_changes) {
        let (o, t) = (&ours[region.ours.clone()], &theirs[region.theirs.clone()]);
        let blocks = match region.kind {
            Kind::Kept => {
                let b = &base[region.base];
                merged.extend(b.iter().zip(o).zip(t).map(|((b, o), t)| letter(b, o, t)));
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
                overlaps.push(Overlap {
                    base: region.base,
                    ours: region.ours,
                    theirs: region.theirs,
                });
                match on_overlap {
                    OnOverlap::Ours => o.to_vec(),
                    OnOverlap::Theirs => t.to_vec(),
                    OnOverlap::KeepBoth | OnOverlap::Fail => {
                        block::union(&added(theirs, their_changes), &added(ours, our_changes))
                    }
                }
            }
        };
        merged.extend(blocks.iter().map(|block| block.raw));
    }
    merged
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

/// Where one side has no change at all, what the other made of the document, to the letter.
fn unmerged<'a>(
    base: &'a Document,
    ours: &'a Document,
    theirs: &'a Document,
) -> Option<&'a Document> {
    let [b, o, t] = [base, ours, theirs].map(Document::as_json);
    if o == b || o == t { Some(theirs) } else { (t == b).then_some(ours) }
}
