//! Three-way merge of documents: what two devices wrote at once becomes one text.
//!
//! A merge needs the document that both sides started from. It takes from each side what that side
//! changed: blocks (paragraphs, headings, lists, …), items of lists, and words within a paragraph:
//!
//! ```
//! use shiori_sdk::{Document, merge::merge3};
//!
//! let base = Document::from_text("아침에 비가 왔다. 우산이 없었다.");
//! let phone = Document::from_text("아침에 비가 왔다. 그런데 우산이 없었다.\n버스를 기다렸다.");
//! let laptop = Document::from_text("아침에 큰비가 왔다. 우산이 없었다.\n떡볶이를 먹었다.");
//!
//! // The laptop saved first, so to the phone the laptop's document is `theirs`.
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
//! Blocks are equal when their JSON values are, whatever the order of keys. A block that is kept
//! is kept to the letter, so node types, marks and attributes that this crate does not know
//! survive. Where one side changed no more than the letter of a block, its letter is taken.
//!
//! # Inside a block that both sides changed
//!
//! A block that both changed, and that is of the same type with both, is merged inside. (A
//! paragraph may become a heading, or a list an ordered one, while the other side edits it.)
//!
//! - *Attributes and other fields* one by one: a task is ticked while its text is edited.
//! - *What holds blocks*, such as lists, their items, quotes, tables, or a node that is unknown: its
//!   children, as the blocks of the document are. Where together both sides removed all of them, the
//!   block goes, too. The rows of a table keep the same width, or else overlap as a whole.
//! - *Text*, which is any node with text in it: by words. White space, the punctuation around a
//!   word, and each node that is no text, such as a mention, stand for themselves. *Code* is
//!   merged by lines.
//! - *Marks*, such as bold or a link, apart from the words: one side may mark a word while the other
//!   corrects it. Where a side rewrote several words, they take the marks that the other gave to,
//!   or took from, all of them alike; otherwise they are as they were written.
//!
//! Neighbouring text with the same marks becomes one node; a node that has the text and the marks
//! that it had before is kept to the letter.
//!
//! # Where both sides worked at one place
//!
//! - *Both inserted at one place*, such as the end: both insertions are kept, theirs first since
//!   it was saved first. That is no overlap. Words are parted by a space where neither side wrote
//!   one, and what goes right behind a word, such as its full stop, stays there.
//! - *Both inserted the same block there*: it comes once. A merge cannot tell two people who wrote
//!   the same line from one who sent it twice, and the second is what happens when an answer is
//!   lost and a save is made again; were it kept twice, every such repetition would double the
//!   text. A block that one side inserted twice stays twice. Empty paragraphs and rules are
//!   never taken for the same text; they stay with the text around them. The same holds for what
//!   one inserted right beside a change of the other that ends or begins with it. Words come once
//!   where all that one side inserted begins or ends what the other did.
//! - *Both changed or removed the same block, words or attribute*, and not to the same: an
//!   [`Overlap`], which tells its place, and is resolved there as [`OnOverlap`] says. [`merge3`]
//!   keeps both: for words, what theirs wrote there and then what ours did. Where the words that
//!   both changed are as many as those that both left alone, or more, or one side emptied the text,
//!   nobody could read that: the whole block overlaps, and is kept twice. So it does where both gave
//!   an attribute or field a different text; of two numbers or truth values ours is taken.
//!
//! What one side changed and the other left alone is no overlap, even when the other changed or
//! inserted right beside it. A mark on a word that the other side removed goes with the word.
//!
//! # Totality and bounds
//!
//! The merge has no I/O and never fails, and the same documents always give the same result. Its
//! work grows with the size of the documents times a bounded number of edits: when two documents
//! hold the same blocks in a wildly different order (more than 1,000 edits apart, new and removed
//! blocks not counted), all between what they begin and end with is taken to have been changed, and
//! so it is of two texts that are 100 edits of their common words apart. Nodes are looked into down
//! to a depth of 64, up to 1,000 fields and some 50,000 words each, and as long as that does not read
//! the documents more than 8 times in all; beyond, what both changed overlaps as a whole. The result may have more nodes than
//! [`DocumentLimits`](crate::DocumentLimits) allow; a server refuses it then.

mod audit;
mod block;
mod context;
mod diff;
mod field;
mod flow;
mod mark;
mod node;
mod overlap;
mod region;
mod replay;
mod schema;
mod segment;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod token;

pub use overlap::{OnOverlap, Overlap, OverlapKind, Step};

use std::borrow::Cow;

use crate::types::Document;
use context::Context;
use field::Node;
use schema::Kind;

/// Merges what two sides made of `base`, and keeps both where they overlap: `theirs`, which was
/// saved first, before `ours`.
///
/// No word that either side added or changed is lost.
pub fn merge3(base: &Document, ours: &Document, theirs: &Document) -> Merged {
    merge3_with(base, ours, theirs, OnOverlap::KeepBoth)
}

/// Merges what two sides made of `base`, and resolves overlaps as the caller asks.
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
/// // With more words around it, it is the one word that overlaps.
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
    let (merged, is_involved) = merge_once([base, ours, theirs], on_overlap, false);
    if !is_involved || !merged.overlaps.is_empty() || is_stable([base, ours, theirs], &merged) {
        return merged;
    }
    merge_once([base, ours, theirs], on_overlap, true).0
}

/// Whether the merge gives the same when either side is merged into it again, as happens when an
/// answer is lost and a save is made again. It does for both orders of the sides, or for none.
fn is_stable([base, ours, theirs]: [&Document; 3], merged: &Merged) -> bool {
    let is_stable = |ours, theirs, document: &Document| {
        is_repeated([base, ours, document], document)
            && is_repeated([base, document, theirs], document)
    };
    is_stable(ours, theirs, &merged.document) && {
        let (turned, _) = merge_once([base, theirs, ours], OnOverlap::KeepBoth, false);
        turned.overlaps.is_empty() && is_stable(theirs, ours, &turned.document)
    }
}

/// Whether the merge of the three is the document.
fn is_repeated([base, ours, theirs]: [&Document; 3], document: &Document) -> bool {
    if let Some(again) = unmerged(base, ours, theirs) {
        return again == document;
    }
    let (again, _) = merge_once([base, ours, theirs], OnOverlap::KeepBoth, false);
    again.overlaps.is_empty() && again.document == *document
}

/// Merges without a look at what a repetition gives; the second result is whether it may give
/// something else. Where `is_reported`, the parts that are the reason are overlaps.
fn merge_once(
    [base, ours, theirs]: [&Document; 3],
    on_overlap: OnOverlap,
    is_reported: bool,
) -> (Merged, bool) {
    let bytes = [base, ours, theirs].iter().map(|document| document.as_json().len()).sum();
    let mut context = Context::new(on_overlap, bytes);
    context.reports_involved = is_reported;
    let [b, o, t] = [base, ours, theirs].map(|document| Node::of(document.as_json()));
    let (Some(b), Some(o), Some(t)) = (b, o, t) else {
        // What has not the shape of a document cannot be taken apart: it overlaps as a whole.
        let document = if on_overlap == OnOverlap::Theirs { theirs } else { ours };
        let overlaps = vec![Overlap::BESIDE_BLOCKS];
        return (Merged { document: document.clone(), overlaps }, false);
    };

    let fields = field::merge(&b.fields, &o.fields, &t.fields, on_overlap);
    if fields.overlap {
        context.report(Overlap::BESIDE_BLOCKS);
    }
    let base = context.numbering.blocks(&b.content, &[]);
    let [ours, theirs] = [&o, &t].map(|side| context.numbering.blocks(&side.content, &base));
    let mut blocks = node::children(&mut context, Kind::Document, [&base, &ours, &theirs]);
    let contents = [&b.content, &o.content, &t.content];
    // Both sides together may have removed all blocks, and an editor needs one.
    if blocks.is_empty() && contents.iter().all(|content| !content.is_empty()) {
        blocks.push(Cow::Owned(schema::empty_paragraph()));
    }

    let at =
        if o.content_at.is_some() == b.content_at.is_some() { t.content_at } else { o.content_at };
    let mut fields = fields.fields;
    if at.is_some() || !blocks.is_empty() {
        fields.insert_content(at, &blocks);
    }
    let fields = fields.0.iter().map(|(key, value)| (key.clone().into_owned(), &**value)).collect();
    let document = Document::from_fields(&fields);
    (Merged { document, overlaps: context.overlaps }, context.is_involved)
}

/// What [`merge3`] makes of three documents.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Merged {
    /// The merged document. After [`OnOverlap::Fail`] it is of use only when `overlaps` is empty.
    pub document: Document,
    /// Where both sides changed the same, in the order of the document. Whatever
    /// [`OnOverlap`] says, they are the same.
    pub overlaps: Vec<Overlap>,
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
