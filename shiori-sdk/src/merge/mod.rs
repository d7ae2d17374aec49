//! Three-way merge of documents: combines the concurrent changes of two devices into one document.
//!
//! A merge needs the base, the document that both sides started from. It applies the changes of
//! both sides to it: to blocks (paragraphs, headings, lists, …), list items, and words within a
//! paragraph:
//!
//! ```
//! use shiori_sdk::{Document, merge::merge3};
//!
//! let base = Document::from_text("아침에 비가 왔다. 우산이 없었다.");
//! let phone = Document::from_text("아침에 비가 왔다. 그런데 우산이 없었다.\n버스를 기다렸다.");
//! let laptop = Document::from_text("아침에 큰비가 왔다. 우산이 없었다.\n떡볶이를 먹었다.");
//!
//! // The laptop saved first, so on the phone the laptop's document is `theirs`.
//! let merged = merge3(&base, &phone, &laptop);
//! assert!(merged.overlaps.is_empty());
//! assert_eq!(
//!     merged.document.block_texts(),
//!     ["아침에 큰비가 왔다. 그런데 우산이 없었다.", "떡볶이를 먹었다.", "버스를 기다렸다."]
//! );
//! ```
//!
//! # What is equal, and what is kept
//!
//! Blocks are equal if their JSON values are equal, whatever the order of keys; texts are equal if
//! they are canonically equivalent (Unicode NFC). Content that is kept is kept byte for byte,
//! including unknown node types, marks and attributes. If one side changed only the spelling of a
//! value, its spelling is used.
//!
//! # What both sides changed
//!
//! If both sides changed one block and its type is the same in all three documents, its content is
//! merged. (These types count as the same: paragraph and heading, bullet list and ordered list,
//! table cell and table header.)
//!
//! - *Attributes and other fields* are merged one by one: one side may tick a task while the other
//!   edits its text.
//! - *Nodes that contain blocks*, such as lists, list items, quotes and unknown nodes: their
//!   children are merged like the blocks of the document. If both sides together removed all
//!   children, the node is removed, or keeps an empty paragraph if its parent requires the node.
//! - *Tables* are merged by rows and columns, then by cells. A table with merged cells is merged
//!   only if neither side changed its shape.
//! - *Text* is merged by words. White space, punctuation and inline nodes such as a mention are
//!   separate units. Scripts without spaces are segmented by UAX #29. *Code* is merged by lines.
//! - *Marks*, such as bold or a link, are merged independently of the words. If one side rewrote
//!   words, and the other side added a mark to all of them or removed it from all of them, the new
//!   words get that change.
//! - *Text that was moved among blocks*, because a paragraph was split or joined, a list item was
//!   sunk or lifted, or a block was wrapped: the text of neighbouring blocks is merged as one, so
//!   an edit by the other side is applied in the block that contains the words now.
//!
//! Both sides may change the same place:
//!
//! - *Both inserted*: both insertions are kept, theirs first, because it was saved first. This is not
//!   an overlap. A space separates words that would run together.
//! - *Both inserted the same*: it is kept once. A merge cannot distinguish two users who wrote the
//!   same line from one user whose save was repeated after a lost response. Content that one side
//!   inserted twice is kept twice. If one insertion contains the other one in order, only the
//!   longer one is kept.
//! - *Both changed or removed the same blocks, words or attributes*, in different ways: an
//!   [`Overlap`] is reported and resolved as [`OnOverlap`] specifies. [`merge3`] keeps both
//!   versions. If most words of a block overlap, the result would be unreadable, so the block
//!   overlaps as a whole and both versions of it are kept. Of two values of an attribute, or two
//!   marks that exclude each other, ours is kept.
//! - *Both moved the same text*, to different places: an overlap, because the result contains the
//!   text twice.
//!
//! A change that only one side made is never an overlap, even next to an insertion by the other
//! side. A mark on a word that the other side removed is removed with the word.
//!
//! # What a merge guarantees
//!
//! If the usual editors (ProseMirror, TipTap) accept the three documents, they accept the result. A
//! merge without overlaps
//!
//! - repeats no text and loses no text that a side inserted,
//! - keeps text with its marks where it was written, and restores nothing that a side removed,
//! - is stable: merging a side into the result again changes nothing.
//!
//! If changes of both sides may affect each other, the blocks with these changes are checked for these
//! properties. If the check fails, the places of these changes are overlaps. The check identifies
//! words by their text: it counts the words of these blocks, and compares the places of words that
//! occur once in them. So if one side only removed a word that the other side inserted elsewhere, a
//! repeated merge may report an overlap, because the word may also have been moved.
//!
//! # Bounds
//!
//! A merge has no I/O and never fails, and the same documents give the same result. Its work is
//! proportional to the size of the documents times a bounded number of edits. Lists of blocks that
//! are more than 1,000 edits apart, not counting new and removed blocks, are treated as changed
//! from the first difference to the last; so are texts that are more than 100 edits of their common
//! words apart. The content of nodes is merged down to a depth of 64, up to 1,000 fields and
//! 100,000 units of text each, as long as that reads the documents at most 8 times. Beyond these
//! bounds, nodes that both sides changed overlap as a whole. A check takes up to ten more merges of
//! the blocks that need it.
//!
//! The result may exceed [`DocumentLimits`](crate::DocumentLimits); a server rejects it then.

mod audit;
mod block;
mod check;
mod context;
mod diff;
mod field;
mod flow;
mod hash;
mod insertion;
mod mark;
mod node;
mod overlap;
mod region;
mod replay;
mod schema;
mod segment;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod token;

pub use overlap::{OnOverlap, Overlap, OverlapKind, Step};

use crate::types::Document;
use block::Numbering;
use context::Context;
use field::Node;

/// Merges the changes that two sides made to `base`. Where they overlap, both versions are kept:
/// `theirs`, which was saved first, before `ours`.
///
/// No word that either side added or changed is lost.
pub fn merge3(base: &Document, ours: &Document, theirs: &Document) -> Merged {
    merge3_with(base, ours, theirs, OnOverlap::KeepBoth)
}

/// Merges the changes that two sides made to `base`, and resolves overlaps as `on_overlap`
/// specifies.
///
/// ```
/// use shiori_sdk::{Document, merge::{OnOverlap, OverlapKind, merge3_with}};
///
/// let base = Document::from_text("점심은 아직");
/// let ours = Document::from_text("점심은 국수");
/// let theirs = Document::from_text("점심은 김밥");
/// let merge = |on_overlap| merge3_with(&base, &ours, &theirs, on_overlap);
///
/// let both = merge(OnOverlap::KeepBoth);
/// assert_eq!(both.document.block_texts(), ["점심은 김밥", "점심은 국수"]);
/// assert_eq!((both.overlaps[0].kind, &both.overlaps[0].base), (OverlapKind::Nodes, &(0..1)));
/// assert_eq!(merge(OnOverlap::Ours).document, ours);
/// assert_eq!(merge(OnOverlap::Theirs).document, theirs);
///
/// // With more words around it, only the one word overlaps.
/// let [base, ours, theirs] = ["국수", "칼국수", "김밥"]
///     .map(|dish| Document::from_text(&format!("점심은 회사 앞에서 {dish} 먹었다.")));
/// let both = merge3_with(&base, &ours, &theirs, OnOverlap::KeepBoth);
/// assert_eq!(both.document.block_texts(), ["점심은 회사 앞에서 김밥 칼국수 먹었다."]);
/// assert_eq!((both.overlaps[0].kind, &both.overlaps[0].ours), (OverlapKind::Text, &(11..14)));
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
    let (merged, is_sound) = merge_once([base, ours, theirs], on_overlap, false);
    if is_sound { merged } else { merge_once([base, ours, theirs], on_overlap, true).0 }
}

/// Merges the documents. The second result is `false` if there are no overlaps and the check of the
/// result failed. With `reports_shared`, all places where changes of both sides may affect each
/// other are overlaps, and nothing is checked.
fn merge_once(
    [base, ours, theirs]: [&Document; 3],
    on_overlap: OnOverlap,
    reports_shared: bool,
) -> (Merged, bool) {
    let bytes = [base, ours, theirs].iter().map(|document| document.as_json().len()).sum();
    let [b, o, t] = [base, ours, theirs].map(|document| Node::of(document.as_json()));
    let (Some(b), Some(o), Some(t)) = (b, o, t) else {
        // A value without the structure of a document cannot be merged by parts, so it overlaps as
        // a whole.
        let document = if on_overlap == OnOverlap::Theirs { theirs } else { ours };
        let overlaps = vec![Overlap::BESIDE_BLOCKS];
        return (Merged { document: document.clone(), overlaps }, true);
    };

    let mut numbering = Numbering::default();
    let base = numbering.blocks(&b.content, &[]);
    let [ours, theirs] = [&o, &t].map(|side| numbering.blocks(&side.content, &base));
    let three = [&base[..], &ours, &theirs];
    let mut context = Context::new(on_overlap, numbering, bytes);
    context.reports_shared = reports_shared;
    let fields = field::merge(&b.fields, &o.fields, &t.fields, on_overlap);
    if fields.overlap {
        context.report(Overlap::BESIDE_BLOCKS);
    }
    let parts = node::document(&mut context, three);
    let is_sound =
        reports_shared || !context.overlaps.is_empty() || check::is_sound(&context, three, &parts);
    let overlaps = context.overlaps;

    let at =
        if o.content_at.is_some() == b.content_at.is_some() { t.content_at } else { o.content_at };
    let blocks: Vec<_> = parts.into_iter().flat_map(|part| part.blocks).collect();
    let mut fields = fields.fields;
    if at.is_some() || !blocks.is_empty() {
        fields.insert_content(at, &blocks);
    }
    let fields = fields.0.iter().map(|(key, value)| (key.clone().into_owned(), &**value)).collect();
    let document = Document::from_fields(&fields);
    (Merged { document, overlaps }, is_sound)
}

/// The result of [`merge3`] and [`merge3_with`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Merged {
    /// The merged document. With [`OnOverlap::Fail`] it is meaningful only if `overlaps` is empty.
    pub document: Document,
    /// The places that both sides changed, in the order of the document. They do not depend on
    /// [`OnOverlap`].
    pub overlaps: Vec<Overlap>,
}

/// If one side changed nothing, the other side's document, byte for byte.
fn unmerged<'a>(
    base: &'a Document,
    ours: &'a Document,
    theirs: &'a Document,
) -> Option<&'a Document> {
    let [b, o, t] = [base, ours, theirs].map(Document::as_json);
    if o == b || o == t { Some(theirs) } else { (t == b).then_some(ours) }
}
