//! Checks whether one side already contains all changes of the other.
//!
//! This happens if a save is repeated because its first response was lost: then ours was already
//! merged into theirs, and nothing remains to be merged. Both are compared as streams of signs:
//! each word, each mark of a word, each node and each of its attributes is a separate sign.

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    ops::Range,
    rc::Rc,
};

use serde_json::value::RawValue;

use super::{
    block::{Block, Canonical, Known, Piece},
    field::{Fields, Node},
    hash::{Folded, Map, Set},
    region::{self, Change},
    schema::Kind,
    segment::{self, Sort, Unit},
};

/// The maximum depth of nodes that are compared by parts.
const MAX_DEPTH: usize = 32;

/// The signs of blocks, and the results of earlier comparisons. The check of a merge repeats most of
/// them.
#[derive(Clone, Default)]
pub(super) struct Signs<'a> {
    numbers: Numbers<'a>,
    known: Known<'a, OfBlock>,
    /// By the numbers of the blocks.
    held: Map<[Vec<u32>; 3], bool>,
}

/// The signs of a block.
struct OfBlock {
    /// Blocks with the same bytes share a number.
    number: u32,
    signs: Vec<Sign>,
}

impl<'a> Signs<'a> {
    /// Whether `all` contains the changes of `part` to the base: all of its insertions, and nothing
    /// that it removed.
    pub(super) fn hold(&mut self, [base, part, all]: [&[Block<'a>]; 3]) -> bool {
        let three = [base, part, all].map(|blocks| self.of_blocks(blocks));
        let key = three.each_ref().map(|blocks| blocks.iter().map(|block| block.number).collect());
        let compare = || {
            let [base, part, all] = three.map(|blocks| -> Vec<Sign> {
                blocks.iter().flat_map(|block| &block.signs).copied().collect()
            });
            holds([&base, &part, &all])
        };
        *self.held.entry(key).or_insert_with(compare)
    }

    fn of_blocks(&mut self, blocks: &[Block<'a>]) -> Vec<Rc<OfBlock>> {
        let Self { numbers, known, .. } = self;
        let read = |block: &Block<'a>| {
            known.get(block, |raw| {
                // Each word has white space behind it.
                let mut signs = Vec::with_capacity(2 * raw.get().len() / 16);
                numbers.of_node(&mut signs, raw, 0);
                // A document of four billion blocks does not fit into memory.
                numbers.blocks = numbers.blocks.saturating_add(1);
                OfBlock { number: numbers.blocks, signs }
            })
        };
        blocks.iter().map(read).collect()
    }
}

fn holds([base, part, all]: [&[Sign]; 3]) -> bool {
    let changed = region::changes(base, part);
    let since = region::changes(part, all);

    // If two words changed places, the comparison may find either of them to be the moved one.
    if has_moved(&changed, base, part) && has_moved(&since, part, all) {
        return false;
    }
    let (mut is_new, mut is_gone) = (vec![false; part.len()], vec![false; part.len()]);
    for change in &changed {
        is_new[change.side.clone()].fill(true);
    }
    for change in &since {
        is_gone[change.base.clone()].fill(true);
        // An insertion of `part` must not be interrupted by another edit.
        let Range { start, end } = change.base;
        let is_within = start > 0 && end < part.len() && is_new[start - 1] && is_new[end];
        if is_within && all[change.side.clone()].iter().any(|sign| sign.sort != Sort::White) {
            return false;
        }
    }
    // Of equal signs in a row, the comparison may find any to be the new one, so they are counted,
    // too.
    let surplus = surplus(&since, part, all);
    if keeps_removed([base, all], &changed, &surplus) {
        return false;
    }
    let is_there = |place: usize| {
        let id = &part[place].id;
        match part[place].sort {
            Sort::White => true,
            Sort::Punctuation => !is_gone[place],
            Sort::Word | Sort::Break => {
                !is_gone[place] && surplus.get(id).is_none_or(|count| *count >= 0)
            }
        }
    };
    let is_back = |change: &Change| {
        let removed = &base[change.base.clone()];
        let near = since.iter().filter(|next| {
            next.base.start <= change.side.end && change.side.start <= next.base.end
        });
        let added: Vec<&Sign> = near.flat_map(|next| &all[next.side.clone()]).collect();
        if removed.iter().copied().any(Sign::is_word) {
            let mut words = removed.iter().filter(|sign| sign.is_word());
            return words.any(|word| added.iter().any(|sign| sign.id == word.id));
        }
        let is_structure = |sign: &Sign| sign.sort == Sort::Break;
        if removed.iter().any(is_structure) {
            // An empty paragraph may remain of a node that was removed.
            let is_left = |sign: &Sign| sign.is_blank && removed.iter().all(|r| r.id != sign.id);
            return added.iter().any(|sign| is_structure(sign) && !is_left(sign));
        }
        // The node or word whose mark or attribute was removed may have been moved elsewhere.
        let owner = |sign: &Sign| matches!(sign.sort, Sort::Word | Sort::Break);
        if part[..change.side.start].iter().rposition(owner).is_some_and(|place| is_gone[place]) {
            return true;
        }
        let is_white = removed.iter().all(|sign| sign.sort == Sort::White);
        if removed.is_empty() || is_white && added.iter().any(|sign| sign.is_word()) {
            return false;
        }
        let mut rest = added.iter();
        removed.iter().all(|sign| rest.any(|other| other.id == sign.id))
    };
    changed.iter().all(|change| change.side.clone().all(is_there) && !is_back(change))
}

/// Whether `all` has a word more often than `part`, which removed it, and has it where it was in the
/// base. Otherwise, `all` inserted it elsewhere.
fn keeps_removed([base, all]: [&[Sign]; 2], changed: &[Change], surplus: &Map<u32, isize>) -> bool {
    let is_more =
        |sign: &Sign| sign.is_word() && surplus.get(&sign.id).is_some_and(|count| *count > 0);
    let removed = || changed.iter().flat_map(|change| change.base.clone());
    let mut doubtful = removed().filter(|place| is_more(&base[*place])).peekable();
    if doubtful.peek().is_none() {
        return false;
    }
    let mut is_kept = vec![true; base.len()];
    for change in region::changes(base, all) {
        is_kept[change.base].fill(false);
    }
    doubtful.any(|place| is_kept[place])
}

/// How many more of each sign there are after the changes than before.
fn surplus(changes: &[Change], before: &[Sign], after: &[Sign]) -> Map<u32, isize> {
    let mut counts = Map::default();
    for change in changes {
        for sign in &after[change.side.clone()] {
            *counts.entry(sign.id).or_default() += 1;
        }
        for sign in &before[change.base.clone()] {
            *counts.entry(sign.id).or_default() -= 1;
        }
    }
    counts
}

/// Whether a word was removed at one place and inserted at another.
fn has_moved(changes: &[Change], before: &[Sign], after: &[Sign]) -> bool {
    let removed: Set<u32> = changes
        .iter()
        .flat_map(|change| &before[change.base.clone()])
        .copied()
        .map(Sign::word)
        .collect();
    let mut added = changes.iter().flat_map(|change| &after[change.side.clone()]);
    added.any(|sign| sign.is_word() && removed.contains(&sign.id))
}

/// Whether `all` can contain the changes of `part`, by the words alone: it has the words that
/// `part` added, and not those that it removed. If new words are among the former, `all` may have
/// inserted the latter elsewhere. This is much faster than [`Signs::hold`], and usually sufficient.
pub(super) fn may_hold(words: &Map<u32, [usize; 3]>, part: usize, all: usize) -> bool {
    let has_new = words.values().any(|counts| counts[0] == 0 && counts[part] > 0);
    words.values().all(|counts| {
        let (base, part, all) = (counts[0], counts[part], counts[all]);
        (part <= base || all >= part) && (has_new || part >= base || all <= part)
    })
}

#[derive(Clone, Copy)]
struct Sign {
    id: u32,
    sort: Sort,
    /// Whether it represents a whole block without text.
    is_blank: bool,
}

impl Sign {
    /// The number of the word; `u32::MAX` for other signs.
    fn word(self) -> u32 {
        if self.is_word() { self.id } else { u32::MAX }
    }

    fn is_word(self) -> bool {
        self.sort == Sort::Word
    }
}

impl Piece for Sign {
    const MAX_EDITS: usize = 1_000;

    fn id(&self) -> u32 {
        self.id
    }

    fn is_filler(&self) -> bool {
        !self.is_word()
    }
}

/// Numbers signs by their hashes, and blocks.
#[derive(Clone, Default)]
struct Numbers<'a> {
    /// The number of blocks.
    blocks: u32,
    by_hash: Map<u64, u32>,
    /// The hashes of the marks of a list, which are in ascending order.
    marks: Map<&'a str, Rc<[u64]>>,
}

impl<'a> Numbers<'a> {
    fn push(&mut self, signs: &mut Vec<Sign>, sort: Sort, key: impl Hash) {
        let next = u32::try_from(self.by_hash.len()).unwrap_or(u32::MAX);
        let id = *self.by_hash.entry(hash(&key)).or_insert(next);
        signs.push(Sign { id, sort, is_blank: false });
    }

    /// The order of marks has no meaning.
    fn marks(&mut self, fields: &Fields<'a>) -> Rc<[u64]> {
        let Some(Cow::Borrowed(list)) = fields.get("marks") else { return Rc::default() };
        let read = || {
            let list: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
            let mut marks: Vec<u64> = list.into_iter().map(|m| hash(&Canonical::of(m))).collect();
            marks.sort_unstable();
            marks.into()
        };
        self.marks.entry(list.get()).or_insert_with(read).clone()
    }

    fn of_node(&mut self, signs: &mut Vec<Sign>, raw: &'a RawValue, depth: usize) {
        let node = if depth < MAX_DEPTH { Node::of(raw.get()) } else { None };
        let Some(node) = node else {
            return self.push(signs, Sort::Word, ("value", Canonical::of(raw)));
        };
        let name = node.fields.text("type").unwrap_or_default();
        if let Some(text) = node.fields.text("text") {
            let marks = self.marks(&node.fields);
            segment::split(&text, Unit::Word, |sort, text| {
                let text = segment::normalized(text);
                self.push(signs, sort, ("text", &text));
                if sort == Sort::Word {
                    for mark in &*marks {
                        let key = ("mark", mark, &text);
                        self.push(signs, Sort::Punctuation, key);
                    }
                }
            });
            return;
        }
        if node.content.is_empty() {
            let is_blank = Kind::of(&name).is_text_block();
            let sort = if is_blank { Sort::Break } else { Sort::Word };
            self.push(signs, sort, ("value", Canonical::of(raw)));
            signs.last_mut().into_iter().for_each(|sign| sign.is_blank = is_blank);
            return;
        }
        self.push(signs, Sort::Break, ("node", &name));
        for (key, value) in &node.fields.0 {
            let Cow::Borrowed(value) = *value else { continue };
            match Fields::of(value) {
                _ if key == "type" => {}
                Some(attributes) if key == "attrs" => {
                    for (key, value) in &attributes.0 {
                        let key = ("attribute", key, Canonical::of(value));
                        self.push(signs, Sort::Punctuation, key);
                    }
                }
                _ => {
                    let key = ("field", key, Canonical::of(value));
                    self.push(signs, Sort::Punctuation, key);
                }
            }
        }
        for child in node.content {
            self.of_node(signs, child, depth + 1);
        }
        self.push(signs, Sort::Break, ("end", &name));
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = Folded::fixed();
    value.hash(&mut hasher);
    hasher.finish()
}
