//! The blocks of documents, comparable across documents.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    rc::Rc,
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    diff,
    field::Fields,
    schema::Kind,
    segment::{self, Sort, Unit},
};
use crate::types::Document;

/// A member of the lists that are compared.
pub(super) trait Piece {
    /// Edits beyond which two lists of them are taken to have nothing in common.
    const MAX_EDITS: usize;

    /// Pieces with the same number are equal.
    fn id(&self) -> u32;

    /// Whether it belongs to its neighbours, such as an empty paragraph: two equal ones need not be
    /// the same one.
    fn is_filler(&self) -> bool;

    /// Whether as many pieces in place of as many are each in the place of one.
    fn are_in_place(_: &[Self]) -> bool
    where
        Self: Sized,
    {
        true
    }

    /// Stretches of two lists with nothing in common that became each other by edits, ascending in
    /// both.
    fn links(_: &[Self], _: &[Self]) -> Vec<(Range<usize>, Range<usize>)>
    where
        Self: Sized,
    {
        Vec::new()
    }
}

/// A part of a document as far as equality goes: whatever the order of keys, the spelling of
/// numbers and the Unicode normalization of text.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Canonical {
    Value(Value),
    /// What no tree can hold is equal by letter alone.
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
        // An escape may spell a mark that follows a letter.
        let value =
            Document::value_of(&json).map(|value| match segment::normalized(&value.to_string()) {
                Cow::Owned(json) => Document::value_of(&json).unwrap_or(value),
                Cow::Borrowed(_) => value,
            });
        value.map_or_else(|| Self::Letter(raw.get().to_owned()), Self::Value)
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

    /// Blocks are linked by words that they share in the same order: by one that is in no other
    /// block, or by half of the words of the shorter. A block that was split is linked to each of
    /// its parts.
    fn links(a: &[Self], b: &[Self]) -> Vec<(Range<usize>, Range<usize>)> {
        // What is alone on both sides needs no choice, nor what was edited in place.
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
    /// How many words each block has.
    lengths: Vec<usize>,
    counts: HashMap<u32, usize>,
}

impl Linked {
    fn of(list: &[Block<'_>]) -> Self {
        let mut linked = Self {
            words: Vec::new(),
            blocks: Vec::new(),
            lengths: Vec::new(),
            counts: HashMap::new(),
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

/// Whether two blocks begin and end alike, and differ in less than a quarter in between.
fn are_near(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let (shorter, longer) = (one.len().min(other.len()), one.len().max(other.len()));
    let start = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let end = one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    4 * (start + end).min(shorter) > 3 * longer
}

/// Edits beyond which the words of two lists of blocks are taken to have nothing in common.
const MAX_WORD_EDITS: usize = 200;

/// The text of a block: its words as numbers, in reading order. Two words may rarely have the same.
/// A node without text, such as a mention or an image, counts as a word. It is known by its `id` or
/// `src`, if it has one, since its other attributes may be changed.
pub(super) fn words(block: &RawValue) -> Vec<u32> {
    // Few words have less than so many bytes, with their node.
    let mut words = Vec::with_capacity(block.get().len() / 16);
    if let Ok(node) = serde_json::from_str::<Outline<'_>>(block.get()) {
        node.visit(&mut |node| node.words(&mut |word| words.push(word)));
    }
    words
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

/// How many entries two ascending lists share.
pub(super) fn shared<T: Ord>(a: &[T], b: &[T]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        i += usize::from(x <= y);
        j += usize::from(y <= x);
        shared += usize::from(x == y);
    }
    shared
}

/// What is read of a node for its words.
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
        // Half of the bits are enough.
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

/// Numbers blocks by their canonical form. Few are ever parsed for it: most are equal to the
/// letter, or differ in what no spelling changes.
#[derive(Default)]
pub(super) struct Numbering<'a> {
    /// The first block of each sum, and whether it is among those by value.
    by_sum: HashMap<u64, (Block<'a>, bool)>,
    /// Those that share their sum with others.
    by_value: HashMap<Canonical, Block<'a>>,
    /// The words of each block that were asked for.
    words: HashMap<u32, Rc<[u32]>>,
    next: u32,
}

impl<'a> Numbering<'a> {
    /// Numbers a list, given one that it was likely made from.
    pub(super) fn blocks(&mut self, list: &[&'a RawValue], from: &[Block<'a>]) -> Vec<Block<'a>> {
        let mut at = 0;
        let mut number = |&raw: &&'a RawValue| {
            // An unchanged block is at most a few blocks ahead.
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
        sum_of(&segment::normalized(json))
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

/// The places of what two lists have in common, ascending in both: what they begin and end with, and
/// pieces that are no fillers in between. A blank line is like any other, and would lead the search
/// astray.
pub(super) fn anchors<P: Piece>(a: &[P], b: &[P]) -> Vec<(usize, usize)> {
    // Most is as it was.
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

/// The places of the fillers that two lists have in common.
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

/// All of both lists, each in its own order, the first before the second where they differ. What
/// they share comes once: a block that is `n` times in the one and `m` times in the other is
/// `max(n, m)` times in the union. Fillers are not shared: they stay with their neighbours.
pub(super) fn union<'a>(first: &[Block<'a>], second: &[Block<'a>]) -> Vec<Block<'a>> {
    let matches = matching(first, second, |block| !block.is_filler);

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
