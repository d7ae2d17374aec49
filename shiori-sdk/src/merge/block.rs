//! The blocks of documents, comparable across documents.

use std::{
    borrow::Cow,
    collections::hash_map::Entry,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    rc::Rc,
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    diff,
    field::Fields,
    hash::Map,
    schema::Kind,
    segment::{self, Sort, Unit},
};
use crate::types::Document;

/// An element of the lists that are compared.
pub(super) trait Piece {
    /// The number of edits beyond which two lists are treated as having nothing in common.
    const MAX_EDITS: usize;

    /// A number that equal pieces share.
    fn id(&self) -> u32;

    /// Whether it only separates its neighbours, such as an empty paragraph. Equal fillers need not
    /// correspond to each other.
    fn is_filler(&self) -> bool;

    /// Whether a replacement by the same number of pieces replaces them one by one.
    fn are_in_place(_: &[Self]) -> bool
    where
        Self: Sized,
    {
        true
    }

    /// Pairs of ranges of two lists with nothing in common, each an edited version of the other,
    /// ascending in both.
    fn links(_: &[Self], _: &[Self]) -> Vec<(Range<usize>, Range<usize>)>
    where
        Self: Sized,
    {
        Vec::new()
    }
}

/// A part of a document in a form that is the same for equal values: it does not depend on the
/// order of keys, the spelling of numbers or the Unicode normalization of text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Canonical {
    Value(Value),
    /// A value that cannot be parsed into a tree is equal only to the same bytes.
    Letter(String),
}

impl Canonical {
    pub(super) fn sum(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn of(raw: &RawValue) -> Self {
        let json = segment::normalized(raw.get());
        let value = Document::value_of(&json).map(|value| {
            // An escape may represent a combining mark, so text with escapes is parsed first.
            if !json.contains('\\') {
                return value;
            }
            match segment::normalized(&value.to_string()) {
                Cow::Owned(json) => Document::value_of(&json).unwrap_or(value),
                Cow::Borrowed(_) => value,
            }
        });
        value.map_or_else(|| Self::Letter(raw.get().to_owned()), Self::Value)
    }
}

/// A block, byte for byte.
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

    /// Blocks are linked if they share words in the same order: one word that no other block
    /// contains, or half of the words of the shorter block. A block that was split is linked to
    /// each of its parts.
    fn links(a: &[Self], b: &[Self]) -> Vec<(Range<usize>, Range<usize>)> {
        // A single block on both sides needs no search, and neither do blocks edited in place.
        let is_edited = |(a, b): (&Self, &Self)| are_near(a.raw.get(), b.raw.get());
        if a.len().saturating_mul(b.len()) < 2
            || a.len() == b.len() && a.iter().zip(b).all(is_edited)
        {
            return Vec::new();
        }
        let [a, b] = [a, b].map(Linked::of);
        let mut links: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        let matches = diff::matches(&a.words, &b.words, MAX_WORD_EDITS);
        let of_blocks = |&(i, j): &(usize, usize)| (a.blocks[i], b.blocks[j]);
        for run in matches.chunk_by(|one, other| of_blocks(one) == of_blocks(other)) {
            let (i, j) = of_blocks(&run[0]);
            let is_unique = |&(i, j): &(usize, usize)| a.is_unique(i) && b.is_unique(j);
            if 2 * run.len() < a.lengths[i].min(b.lengths[j]) && !run.iter().any(is_unique) {
                continue;
            }
            match links.last_mut() {
                Some((one, other)) if i < one.end || j < other.end => {
                    (one.end, other.end) = (i + 1, j + 1);
                }
                _ => links.push((i..i + 1, j..j + 1)),
            }
        }
        links
    }
}

/// The words of neighbouring blocks.
struct Linked {
    words: Vec<u32>,
    /// The block of each word.
    blocks: Vec<usize>,
    /// The number of words of each block.
    lengths: Vec<usize>,
    counts: Map<u32, usize>,
}

impl Linked {
    fn of(list: &[Block<'_>]) -> Self {
        let mut linked = Self {
            words: Vec::new(),
            blocks: Vec::new(),
            lengths: Vec::new(),
            counts: Map::default(),
        };
        for (i, block) in list.iter().enumerate() {
            let words = words(block.raw);
            for word in &words {
                *linked.counts.entry(*word).or_default() += 1;
            }
            linked.blocks.extend(std::iter::repeat_n(i, words.len()));
            linked.lengths.push(words.len());
            linked.words.extend(words);
        }
        linked
    }

    fn is_unique(&self, place: usize) -> bool {
        self.counts.get(&self.words[place]) == Some(&1)
    }
}

/// Whether two blocks have the same beginning and end, and less than a quarter differs in between.
fn are_near(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let (shorter, longer) = (one.len().min(other.len()), one.len().max(other.len()));
    let start = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let end = one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    4 * (start + end).min(shorter) > 3 * longer
}

/// The number of edits beyond which the words of two lists of blocks are treated as having nothing
/// in common.
const MAX_WORD_EDITS: usize = 200;

/// The text of a block: its words as numbers, in reading order. Different words rarely share a
/// number. A node without text, such as a mention or an image, counts as a word. Its number depends
/// only on its `id` or `src`, if it has one, because other attributes may be changed.
pub(super) fn words(block: &RawValue) -> Vec<u32> {
    let mut words = vec_for_words(block);
    if let Ok(node) = serde_json::from_str::<Outline<'_>>(block.get()) {
        node.visit(&mut |node| node.words(&mut |word| words.push(word)));
    }
    words
}

/// An empty list with room for the words of most blocks.
pub(super) fn vec_for_words<T>(block: &RawValue) -> Vec<T> {
    // Including their node, few words take fewer than 16 bytes.
    Vec::with_capacity(block.get().len() / 16)
}

/// Whether two blocks share at least half of the characters of the longer.
pub(super) fn resembles(one: &RawValue, other: &RawValue) -> bool {
    let [one, other] = [one, other].map(|block| {
        let mut letters: Vec<char> = Vec::new();
        if let Ok(node) = serde_json::from_str::<Outline<'_>>(block.get()) {
            node.visit(&mut |node| letters.extend(segment::normalized(&node.text).chars()));
        }
        letters.retain(|c| !c.is_whitespace());
        letters.sort_unstable();
        letters
    });
    let longer = one.len().max(other.len());
    longer > 0 && 2 * shared(&one, &other) >= longer
}

/// The number of entries that two ascending lists share.
pub(super) fn shared<T: Ord>(a: &[T], b: &[T]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        i += usize::from(x <= y);
        j += usize::from(y <= x);
        shared += usize::from(x == y);
    }
    shared
}

/// The fields of a node that are read for its words.
#[derive(Deserialize)]
pub(super) struct Outline<'a> {
    #[serde(borrow, default)]
    pub(super) r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    attrs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) marks: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Vec<Outline<'a>>,
}

impl Outline<'_> {
    /// Calls the visitor with the node and all nodes in it, in reading order.
    pub(super) fn visit<'n>(&'n self, visitor: &mut dyn FnMut(&'n Self)) {
        visitor(self);
        for node in &self.content {
            node.visit(visitor);
        }
    }

    /// The words of the node itself, see [`words`].
    pub(super) fn words(&self, word: &mut dyn FnMut(u32)) {
        // 32 bits are enough.
        let mut push = |hash: u64| word(u32::try_from(hash >> 32).unwrap_or_default());
        segment::split(&segment::normalized(&self.text), Unit::Word, |sort, word| {
            if sort == Sort::Word {
                push(mix(word.as_bytes()));
            }
        });
        if let Some(attrs) = self.attrs
            && self.text.is_empty()
            && self.content.is_empty()
            && matches!(Kind::of(&self.r#type), Kind::Unknown | Kind::Inline)
        {
            let fields = Fields::of(attrs).unwrap_or_default();
            let name = fields.text("id").or_else(|| fields.text("src"));
            let mut hasher = DefaultHasher::new();
            match name {
                Some(name) => (&self.r#type, name).hash(&mut hasher),
                None => (&self.r#type, Canonical::of(attrs)).hash(&mut hasher),
            }
            push(hasher.finish());
        }
    }
}

/// What is known of blocks that were read before. Each block is read once.
pub(super) struct Known<'a, T>(Map<&'a str, Rc<T>>);

impl<T> Clone for Known<'_, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Known<'_, T> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<'a, T> Known<'a, T> {
    pub(super) fn get(&mut self, block: &Block<'a>, read: impl FnOnce(&'a RawValue) -> T) -> Rc<T> {
        self.0.entry(block.raw.get()).or_insert_with(|| Rc::new(read(block.raw))).clone()
    }
}

/// Numbers blocks by their canonical form. Few blocks are parsed for it: most have the same bytes,
/// or differ in a checksum that does not depend on the spelling.
#[derive(Default, Clone)]
pub(super) struct Numbering<'a> {
    /// The first block of each checksum, and whether `by_value` contains it.
    by_sum: Map<u64, (Block<'a>, bool)>,
    /// Blocks that share their checksum with others. Values are shared by clones of the numbering.
    by_value: Map<Rc<Canonical>, Block<'a>>,
    /// The same blocks by their bytes.
    by_letter: Map<&'a str, Block<'a>>,
    /// The words of blocks, by the block's number, as far as they were requested.
    words: Map<u32, Rc<[u32]>>,
    next: u32,
}

impl<'a> Numbering<'a> {
    /// Numbers the blocks of a list, given a list that it was probably derived from.
    pub(super) fn blocks(&mut self, list: &[&'a RawValue], from: &[Block<'a>]) -> Vec<Block<'a>> {
        let mut at = 0;
        let mut number = |&raw: &&'a RawValue| {
            // An unchanged block is usually at most a few blocks ahead.
            let near = from.iter().enumerate().skip(at).take(4);
            let mut equal = near.filter(|(_, block)| block.raw.get() == raw.get());
            let Some((i, block)) = equal.next() else { return self.block(raw) };
            at = i + 1;
            Block { raw, ..*block }
        };
        list.iter().map(&mut number).collect()
    }

    /// The words of a block, see [`words`].
    pub(super) fn words(&mut self, block: &Block<'_>) -> Rc<[u32]> {
        self.words.entry(block.id).or_insert_with(|| words(block.raw).into()).clone()
    }

    pub(super) fn block(&mut self, raw: &'a RawValue) -> Block<'a> {
        let block = match self.by_sum.entry(sum(raw)) {
            Entry::Occupied(entry) if entry.get().0.raw.get() == raw.get() => entry.get().0,
            Entry::Occupied(mut entry) => match self.by_letter.entry(raw.get()) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(by_letter) => {
                    let (first, is_by_value) = entry.get_mut();
                    if !*is_by_value {
                        self.by_value.insert(Rc::new(Canonical::of(first.raw)), *first);
                        *is_by_value = true;
                    }
                    let new = Block { id: self.next, raw, is_filler: is_filler(raw) };
                    let block = self.by_value.entry(Rc::new(Canonical::of(raw))).or_insert(new);
                    *by_letter.insert(*block)
                }
            },
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

/// A checksum that is the same for all spellings of one value: it does not depend on the order of
/// keys, white space or the spelling of numbers. Escapes would change it, so a value with escapes
/// is serialised again first.
fn sum(raw: &RawValue) -> u64 {
    let json = raw.get();
    if json.contains('\\') {
        match Canonical::of(raw) {
            Canonical::Value(value) => sum_of(&value.to_string()),
            Canonical::Letter(letter) => sum_of(&letter),
        }
    } else {
        sum_of(&segment::normalized(json))
    }
}

fn sum_of(json: &str) -> u64 {
    let (mut sum, mut rest) = (0_u64, json);
    loop {
        let mut bytes = rest.bytes();
        // What is not a string is short.
        for byte in bytes.by_ref().take_while(|&byte| byte != b'"') {
            let is_counted = byte > b'9' && byte != b'e' && byte != b'E';
            sum = sum.wrapping_add(if is_counted { byte.into() } else { 0 });
        }
        rest = &rest[rest.len() - bytes.len()..];
        if rest.is_empty() {
            return sum;
        }
        // Escaped quotes divide a string, but equally for equal values, which are serialised in the
        // same way.
        let (string, after) = rest.split_once('"').unwrap_or((rest, ""));
        sum = sum.wrapping_add(mix(string.as_bytes()));
        rest = after;
    }
}

/// A fast hash. Values with the same hash are compared in full.
fn mix(bytes: &[u8]) -> u64 {
    let add = |sum: u64, word: [u8; 8]| {
        (sum.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    };
    let (words, rest) = bytes.as_chunks();
    let sum = words.iter().copied().fold(0, add);
    if rest.is_empty() {
        return sum;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    add(sum, last)
}

/// Whether it is an empty paragraph or a rule.
pub(super) fn is_filler(block: &RawValue) -> bool {
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

/// The positions of the common pieces of two lists, ascending in both: the common beginning and
/// end, and in between the pieces that are not fillers. Blank lines are equal to each other
/// wherever they are, so matching them would give misleading results.
pub(super) fn anchors<P: Piece>(a: &[P], b: &[P]) -> Vec<(usize, usize)> {
    // Most pieces are unchanged.
    let is_equal = |(a, b): &(&P, &P)| a.id() == b.id();
    let start = a.iter().zip(b).take_while(is_equal).count();
    let end = a[start..].iter().rev().zip(b[start..].iter().rev()).take_while(is_equal).count();
    let (a_end, b_end) = (a.len() - end, b.len() - end);

    let middle = matching(&a[start..a_end], &b[start..b_end], |piece| !piece.is_filler());
    let mut anchors: Vec<_> = (0..start).map(|i| (i, i)).collect();
    anchors.extend(middle.into_iter().map(|(i, j)| (start + i, start + j)));
    anchors.extend((0..end).map(|i| (a_end + i, b_end + i)));
    anchors
}

/// The positions of the fillers that two lists have in common.
pub(super) fn matching_fillers<P: Piece>(a: &[P], b: &[P]) -> Vec<(usize, usize)> {
    matching(a, b, Piece::is_filler)
}

fn matching<P: Piece>(a: &[P], b: &[P], is_wanted: impl Fn(&P) -> bool) -> Vec<(usize, usize)> {
    if !a.iter().any(&is_wanted) || !b.iter().any(&is_wanted) {
        return Vec::new();
    }
    let ids = |pieces: &[P], other: u32| -> Vec<u32> {
        pieces.iter().map(|piece| if is_wanted(piece) { piece.id() } else { other }).collect()
    };
    diff::matches(&ids(a, u32::MAX), &ids(b, u32::MAX - 1), P::MAX_EDITS)
}

/// The union of two lists, each in its own order, the first before the second where they differ.
/// Shared blocks occur once: a block that is `n` times in the one and `m` times in the other is
/// `max(n, m)` times in the union. Fillers are not shared: they stay with their neighbours.
pub(super) fn union<'a>(first: &[Block<'a>], second: &[Block<'a>]) -> Vec<Block<'a>> {
    let matches = matching(first, second, |block| !block.is_filler);

    // Blocks that both contain in a different order.
    let mut moved: Map<u32, usize> = Map::default();
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
        // Only fillers can be equal here. If one begins or ends with the other, it is used alone.
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
