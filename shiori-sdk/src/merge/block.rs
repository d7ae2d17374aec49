//! The blocks of documents, comparable across documents.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{diff, field::Fields};
use crate::types::Document;

/// A member of the lists that are compared.
pub(super) trait Piece {
    /// Edits beyond which two lists of them are taken to have nothing in common.
    const MAX_EDITS: usize;

    /// Pieces with the same number are equal.
    fn id(&self) -> u32;

    /// Whether it belongs to what is around it, such as an empty paragraph: two of them being equal
    /// says nothing.
    fn is_filler(&self) -> bool;

    /// Those of two lists with nothing in common that are the same but for an edit, ascending in
    /// both.
    fn pairs(_: &[Self], _: &[Self]) -> Vec<(usize, usize)>
    where
        Self: Sized,
    {
        Vec::new()
    }
}

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
}

/// A block, to the letter.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    id: u32,
    pub(super) raw: &'a RawValue,
    /// Whether it is an empty paragraph or a rule.
    is_filler: bool,
}

impl Piece for Block<'_> {
    const MAX_EDITS: usize = 1_000;

    fn id(&self) -> u32 {
        self.id
    }

    fn is_filler(&self) -> bool {
        self.is_filler
    }

    /// Each takes the one that shares the most words with it, when those are more than half of the
    /// words of the shorter.
    fn pairs(a: &[Self], b: &[Self]) -> Vec<(usize, usize)> {
        // What stands alone on both sides needs no choice.
        if !(2..=MAX_PAIRS).contains(&a.len().saturating_mul(b.len())) {
            return Vec::new();
        }
        let [a, b] =
            [a, b].map(|list| list.iter().map(|block| words(block.raw)).collect::<Vec<_>>());
        let (mut pairs, mut from) = (Vec::new(), 0);
        for (i, a) in a.iter().enumerate() {
            let shared = (from..b.len()).map(|j| (shared(a, &b[j]), j));
            let alike = shared.filter(|&(shared, j)| 2 * shared > a.len().min(b[j].len()));
            // Of several that share as many, the first.
            if let Some((_, j)) = alike.rev().max_by_key(|&(shared, _)| shared) {
                pairs.push((i, j));
                from = j + 1;
            }
        }
        pairs
    }
}

/// Comparisons of blocks with blocks beyond which none is made.
const MAX_PAIRS: usize = 1_000;

/// The words of a block, as numbers in ascending order; two words may rarely have the same.
fn words(block: &RawValue) -> Vec<u64> {
    #[derive(Deserialize)]
    struct Node<'a> {
        #[serde(borrow, default)]
        text: Cow<'a, str>,
        #[serde(borrow, default)]
        content: Vec<Node<'a>>,
    }

    fn gather(node: &Node<'_>, words: &mut Vec<u64>) {
        words.extend(node.text.split_whitespace().map(|word| {
            let mut hasher = DefaultHasher::new();
            word.hash(&mut hasher);
            hasher.finish()
        }));
        for node in &node.content {
            gather(node, words);
        }
    }

    let mut words = Vec::new();
    if let Ok(node) = serde_json::from_str(block.get()) {
        gather(&node, &mut words);
    }
    words.sort_unstable();
    words
}

/// How many numbers two ascending lists share.
fn shared(a: &[u64], b: &[u64]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        i += usize::from(x <= y);
        j += usize::from(y <= x);
        shared += usize::from(x == y);
    }
    shared
}

/// Numbers blocks by their canonical form. Few are ever parsed for it: most are equal to the
/// letter, or differ in what no spelling changes.
#[derive(Default)]
pub(super) struct Numbering<'a> {
    /// The first block of each sum, and whether it is among those by value.
    by_sum: HashMap<u64, (Block<'a>, bool)>,
    /// Those that share their sum with others.
    by_value: HashMap<Canonical, Block<'a>>,
    next: u32,
}

impl<'a> Numbering<'a> {
    /// Numbers a list, given one that it was likely made from.
    pub(super) fn blocks(&mut self, list: &[&'a RawValue], from: &[Block<'a>]) -> Vec<Block<'a>> {
        let mut at = 0;
        let mut number = |&raw: &&'a RawValue| {
            // What was left alone stands a few blocks on.
            let near = from.iter().enumerate().skip(at).take(4);
            let mut equal = near.filter(|(_, block)| block.raw.get() == raw.get());
            let Some((i, block)) = equal.next() else { return self.block(raw) };
            at = i + 1;
            Block { raw, ..*block }
        };
        list.iter().map(&mut number).collect()
    }

    pub(super) fn block(&mut self, raw: &'a RawValue) -> Block<'a> {
        let block = match self.by_sum.entry(sum(raw)) {
            Entry::Occupied(entry) if entry.get().0.raw.get() == raw.get() => entry.get().0,
            Entry::Occupied(mut entry) => {
                let (first, is_by_value) = entry.get_mut();
                if !*is_by_value {
                    self.by_value.insert(Canonical::of(first.raw), *first);
                    *is_by_value = true;
                }
                let new = Block { id: self.next, raw, is_filler: is_filler(raw) };
                *self.by_value.entry(Canonical::of(raw)).or_insert(new)
            }
            Entry::Vacant(entry) => {
                let new = Block { id: self.next, raw, is_filler: is_filler(raw) };
                entry.insert((new, false)).0
            }
        };
        if block.id == self.next {
            // A document of four billion blocks does not fit into memory.
            self.next = self.next.saturating_add(1);
        }
        Block { raw, ..block }
    }
}

/// The same for all letters of one value: no order of keys, white space or spelling of a number
/// changes it. Escapes would, so what has any is first spelled as this crate does.
fn sum(raw: &RawValue) -> u64 {
    let json = raw.get();
    if json.contains('\\') {
        match Canonical::of(raw) {
            Canonical::Value(value) => sum_of(&value.to_string()),
            Canonical::Letter(letter) => sum_of(&letter),
        }
    } else {
        sum_of(json)
    }
}

fn sum_of(json: &str) -> u64 {
    // Every second part is a string, but for an escape, which does not change how many there are.
    let parts = json.split('"').enumerate().map(|(i, part)| match i % 2 {
        0 => part.bytes().filter(|&b| b > b'9' && b != b'e' && b != b'E').map(u64::from).sum(),
        _ => mix(part.as_bytes()),
    });
    parts.fold(0, u64::wrapping_add)
}

/// A quick hash. What shares one by chance is only compared more closely.
fn mix(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0, |sum: u64, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

/// Whether it is an empty paragraph or a rule.
fn is_filler(block: &RawValue) -> bool {
    if block.get().contains(r#""type":"text""#) {
        return false;
    }
    let Some(fields) = Fields::of(block) else { return false };
    let is_kind = |kinds: &[&str]| fields.text("type").is_some_and(|kind| kinds.contains(&&*kind));
    let is_empty = || {
        let content = fields
            .get("content")
            .and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
        content.is_none_or(|content| content.is_empty())
    };
    is_kind(&["horizontalRule", "horizontal_rule"]) || is_kind(&["paragraph"]) && is_empty()
}

pub(super) fn ids<P: Piece>(pieces: &[P]) -> Vec<u32> {
    pieces.iter().map(Piece::id).collect()
}

/// The places of what two lists have in common, ascending in both. Text is matched first, and
/// fillers only between it: a blank line is like any other, and would lead the search astray.
pub(super) fn matches<P: Piece>(a: &[P], b: &[P]) -> Vec<(usize, usize)> {
    // Most is as it was.
    let is_equal = |(a, b): &(&P, &P)| a.id() == b.id();
    let start = a.iter().zip(b).take_while(is_equal).count();
    let end = a[start..].iter().rev().zip(b[start..].iter().rev()).take_while(is_equal).count();
    let (a_end, b_end) = (a.len() - end, b.len() - end);

    let mut matches: Vec<_> = (0..start).map(|i| (i, i)).collect();
    let (mut i, mut j) = (start, start);
    let anchors = anchors(&a[start..a_end], &b[start..b_end]).into_iter();
    let anchors = anchors.map(|(x, y)| (start + x, start + y));
    for (i_end, j_end) in anchors.chain((0..=end).map(|k| (a_end + k, b_end + k))) {
        if i < i_end && j < j_end {
            let between = diff::matches(&ids(&a[i..i_end]), &ids(&b[j..j_end]), P::MAX_EDITS);
            matches.extend(between.into_iter().map(|(x, y)| (i + x, j + y)));
        }
        matches.push((i_end, j_end));
        (i, j) = (i_end + 1, j_end + 1);
    }
    matches.pop();
    matches
}

/// Like [`matches`], of the pieces that are no fillers.
fn anchors<P: Piece>(a: &[P], b: &[P]) -> Vec<(usize, usize)> {
    let ids = |pieces: &[P], filler: u32| -> Vec<u32> {
        pieces.iter().map(|piece| if piece.is_filler() { filler } else { piece.id() }).collect()
    };
    diff::matches(&ids(a, u32::MAX), &ids(b, u32::MAX - 1), P::MAX_EDITS)
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

pub(super) fn begins_or_ends_with<P: Piece>(pieces: &[P], part: &[P]) -> bool {
    let (pieces, part) = (ids(pieces), ids(part));
    pieces.starts_with(&part) || pieces.ends_with(&part)
}
