//! The marks of text, such as bold and links.

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::{RawValue, to_raw_value};

use super::{
    block::{Block, Numbering, Piece, ids},
    field::{Fields, MAX_MEMBERS},
    hash::Map,
    overlap::OnOverlap,
};

/// The lists of marks that occur, each with a number. Equal lists share a number; the empty list
/// has number 0.
pub(super) struct Marks<'a> {
    lists: Vec<List<'a>>,
    by_ids: Map<Vec<u32>, usize>,
    by_letter: Map<&'a str, usize>,
    /// Earlier results: most words of a text have the same marks.
    merged: Map<[usize; 3], (usize, bool)>,
}

struct List<'a> {
    marks: Vec<Block<'a>>,
    json: Cow<'a, RawValue>,
}

impl<'a> Marks<'a> {
    pub(super) fn new() -> Self {
        let mut marks = Self {
            lists: Vec::new(),
            by_ids: Map::default(),
            by_letter: Map::default(),
            merged: Map::default(),
        };
        marks.insert(Vec::new(), None);
        marks
    }

    /// The number of a node's marks; `None` if they are not a list, or more than [`MAX_MEMBERS`].
    pub(super) fn of(&mut self, raw: &'a RawValue, numbering: &mut Numbering<'a>) -> Option<usize> {
        if let Some(&number) = self.by_letter.get(raw.get()) {
            return Some(number);
        }
        let marks: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
        if marks.len() > MAX_MEMBERS {
            return None;
        }
        let marks = marks.into_iter().map(|mark| numbering.block(mark)).collect();
        let number = self.insert(marks, Some(raw));
        self.by_letter.insert(raw.get(), number);
        Some(number)
    }

    pub(super) fn json(&self, number: usize) -> &RawValue {
        &self.lists[number].json
    }

    /// Merges marks. The second result is whether the sides conflict: they set the same mark, such
    /// as a link, to different values, or set marks that exclude each other. Ours is used then, or
    /// theirs with [`OnOverlap::Theirs`].
    pub(super) fn merge(
        &mut self,
        [base, ours, theirs]: [usize; 3],
        on_overlap: OnOverlap,
    ) -> (usize, bool) {
        if ours == base || ours == theirs {
            return (theirs, false);
        }
        if theirs == base {
            return (ours, false);
        }
        if let Some(&merged) = self.merged.get(&[base, ours, theirs]) {
            return merged;
        }
        let [b, o, t] = [base, ours, theirs].map(|number| &self.lists[number].marks);
        let has = |marks: &[Block<'_>], mark: &Block<'_>| marks.iter().any(|m| m.id() == mark.id());
        // A mark is kept if neither side removed it.
        let from_theirs = t.iter().filter(|mark| !has(b, mark) || has(o, mark));
        let from_ours = o.iter().filter(|mark| !has(b, mark) && !has(t, mark));
        let marks: Vec<_> = from_theirs.chain(from_ours).copied().collect();

        let new_kinds = |side: &[Block<'a>], other: &[Block<'_>]| -> HashSet<_> {
            let new = side.iter().filter(|mark| !has(b, mark) && !has(other, mark));
            new.map(|mark| kind(mark.raw)).collect()
        };
        let merged = if new_kinds(o, t).is_disjoint(&new_kinds(t, o)) && self.can_be_one(&marks) {
            (self.insert(marks, None), false)
        } else {
            (if on_overlap == OnOverlap::Theirs { theirs } else { ours }, true)
        };
        self.merged.insert([base, ours, theirs], merged);
        merged
    }

    /// Whether an editor accepts these marks on one word. Editors exclude other marks on inline
    /// code, unless one of the documents combines them.
    fn can_be_one(&self, marks: &[Block<'_>]) -> bool {
        let is_code_with_others = |marks: &[Block<'_>]| {
            marks.len() > 1 && marks.iter().any(|mark| kind(mark.raw) == "code")
        };
        !is_code_with_others(marks)
            || self.lists.iter().any(|list| is_code_with_others(&list.marks))
    }

    fn insert(&mut self, marks: Vec<Block<'a>>, json: Option<&'a RawValue>) -> usize {
        let ids = ids(&marks);
        if let Some(&number) = self.by_ids.get(&ids) {
            return number;
        }
        let json = json.map_or_else(
            || {
                let marks: Vec<&RawValue> = marks.iter().map(|mark| mark.raw).collect();
                Cow::Owned(to_raw_value(&marks).expect("a list of JSON values serialises"))
            },
            Cow::Borrowed,
        );
        self.lists.push(List { marks, json });
        self.by_ids.insert(ids, self.lists.len() - 1);
        self.lists.len() - 1
    }
}

/// The type of a mark, or its JSON text if it has none.
fn kind(mark: &RawValue) -> Cow<'_, str> {
    let kind = Fields::of(mark).and_then(|fields| fields.text("type"));
    kind.unwrap_or(Cow::Borrowed(mark.get()))
}
