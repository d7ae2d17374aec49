//! The blocks of documents, comparable across documents.

use std::collections::HashMap;

use serde_json::{Value, value::RawValue};

use super::diff;
use crate::types::Document;

/// A part of a document as far as equality goes: whatever the order of keys and the spelling of
/// numbers.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Canonical {
    Value(Value),
    /// What no tree can hold is equal by letter alone.
    Letter(String),
}

impl Canonical {
    pub(super) fn of(raw: &RawValue) -> Self {
        Document::value_of(raw).map_or_else(|| Self::Letter(raw.get().to_owned()), Self::Value)
    }

    fn is_filler(&self) -> bool {
        let Self::Value(node) = self else { return false };
        match node["type"].as_str() {
            Some("paragraph") => node["content"].as_array().is_none_or(Vec::is_empty),
            Some("horizontalRule" | "horizontal_rule") => true,
            _ => false,
        }
    }
}

/// A top-level block, to the letter.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// Blocks with the same number are equal.
    pub(super) id: u32,
    pub(super) raw: &'a RawValue,
    /// Whether it is an empty paragraph or a rule. Such a block belongs to the text around it: two
    /// of them being equal says nothing.
    is_filler: bool,
}

/// Numbers blocks by their canonical form.
#[derive(Default)]
pub(super) struct Numbering(HashMap<Canonical, (u32, bool)>);

impl Numbering {
    pub(super) fn block<'a>(&mut self, raw: &'a RawValue) -> Block<'a> {
        let canonical = Canonical::of(raw);
        // A document of four billion blocks does not fit into memory.
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let is_filler = canonical.is_filler();
        let (id, is_filler) = *self.0.entry(canonical).or_insert((next, is_filler));
        Block { id, raw, is_filler }
    }
}

pub(super) fn ids(blocks: &[Block<'_>]) -> Vec<u32> {
    blocks.iter().map(|block| block.id).collect()
}

/// The places of what two lists have in common, ascending in both. Text is matched first, and
/// fillers only between it: a blank line is like any other, and would lead the search astray.
pub(super) fn matches(a: &[Block<'_>], b: &[Block<'_>]) -> Vec<(usize, usize)> {
    let mut matches = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (i_end, j_end) in anchors(a, b).into_iter().chain([(a.len(), b.len())]) {
        let between = diff::matches(&ids(&a[i..i_end]), &ids(&b[j..j_end]));
        matches.extend(between.into_iter().map(|(x, y)| (i + x, j + y)));
        matches.push((i_end, j_end));
        (i, j) = (i_end + 1, j_end + 1);
    }
    matches.pop();
    matches
}

/// Like [`matches`], of the blocks that are no fillers.
fn anchors(a: &[Block<'_>], b: &[Block<'_>]) -> Vec<(usize, usize)> {
    let ids = |blocks: &[Block<'_>], filler: u32| -> Vec<u32> {
        blocks.iter().map(|block| if block.is_filler { filler } else { block.id }).collect()
    };
    diff::matches(&ids(a, u32::MAX), &ids(b, u32::MAX - 1))
}

/// All of both lists, each in its own order, the first before the second where they differ. What
/// they share comes once: a block that is `n` times in the one and `m` times in the other is
/// `max(n, m)` times in the union. Fillers are not shared that way, but go with their own text.
pub(super) fn union<'a>(first: &[Block<'a>], second: &[Block<'a>]) -> Vec<Block<'a>> {
    let matches = anchors(first, second);

    // What both hold in a different order.
    let mut moved: HashMap<u32, usize> = HashMap::new();
    for block in first.iter().filter(|block| !block.is_filler) {
        *moved.entry(block.id).or_default() += 1;
    }
    for &(i, _) in &matches {
        moved.entry(first[i].id).and_modify(|count| *count -= 1);
    }
    let mut is_moved = |block: &Block<'_>| {
        let count = moved.get_mut(&block.id).filter(|count| **count > 0);
        !block.is_filler && count.map(|count| *count -= 1).is_some()
    };

    let mut union = Vec::with_capacity(first.len() + second.len());
    let (mut i, mut j) = (0, 0);
    for (i_end, j_end) in matches.into_iter().chain([(first.len(), second.len())]) {
        let left = &first[i..i_end];
        let right: Vec<_> = second[j..j_end].iter().filter(|b| !is_moved(b)).copied().collect();
        // No more than fillers can be equal here; where one side has the other's and more, its
        // own are enough.
        if begins_or_ends_with(left, &right) {
            union.extend_from_slice(left);
        } else {
            if !begins_or_ends_with(&right, left) {
                union.extend_from_slice(left);
            }
            union.extend_from_slice(&right);
        }
        union.extend(first.get(i_end));
        (i, j) = (i_end + 1, j_end + 1);
    }
    union
}

fn begins_or_ends_with(blocks: &[Block<'_>], part: &[Block<'_>]) -> bool {
    let (blocks, part) = (ids(blocks), ids(part));
    blocks.starts_with(&part) || blocks.ends_with(&part)
}
