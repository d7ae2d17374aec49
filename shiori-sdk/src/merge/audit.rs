//! Checks the words of merged blocks: their number, their place and their marks.
//!
//! Words are identified by their text, so the place is only checked for words that occur once in a
//! list of blocks. The number is checked for all words.

use std::rc::Rc;

use serde_json::value::RawValue;

use super::{
    block::{self, Block, Canonical, Known, Outline, Piece},
    hash::Map,
    region,
    schema::Kind,
};

/// The words of the blocks that are merged.
pub(super) struct Audit<'a> {
    reader: Reader<'a>,
    base: Text,
    ours: Text,
    theirs: Text,
}

impl<'a> Audit<'a> {
    pub(super) fn of([base, ours, theirs]: [&[Block<'a>]; 3]) -> Self {
        let mut reader = Reader::default();
        let [base, ours, theirs] = [base, ours, theirs].map(|blocks| reader.text(blocks));
        Self { reader, base, ours, theirs }
    }

    /// Whether a merge without overlaps contains the insertions, moves, removals and marks of both
    /// sides. The order of the sides does not matter.
    pub(super) fn is_balanced(&mut self, merged: &[Block<'a>]) -> bool {
        let merged = &self.reader.text(merged);
        let Self { reader, base, ours, theirs } = self;
        let four = [base, ours, theirs, merged];
        are_as_many(reader.ids.len(), four)
            && are_in_order(four)
            && are_beside(base, ours, theirs, merged)
            && are_beside(base, theirs, ours, merged)
            && are_marked(four)
    }
}

/// The words that a side moved, given those that each of its changes removed and added.
pub(super) fn moved_words(changes: impl Iterator<Item = [Vec<u32>; 2]>) -> Vec<u32> {
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for [mut before, mut after] in changes {
        // Most changes are of a few words, so without the words around them there is little to sort.
        let start = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
        let rest = before[start..].iter().rev().zip(after[start..].iter().rev());
        let end = rest.take_while(|(one, other)| one == other).count();
        for words in [&mut before, &mut after] {
            words.truncate(words.len() - end);
            words.drain(..start);
        }
        before.sort_unstable();
        after.sort_unstable();
        removed.extend(difference(&before, &after));
        added.extend(difference(&after, &before));
    }
    added.sort_unstable();
    removed.retain(|word| added.binary_search(word).is_ok());
    removed
}

/// The multiset difference of two ascending lists.
fn difference(list: &[u32], other: &[u32]) -> Vec<u32> {
    let mut rest = other.iter().peekable();
    let is_missing = |entry: &&u32| {
        while rest.next_if(|other| other < entry).is_some() {}
        rest.next_if(|other| other == entry).is_none()
    };
    list.iter().filter(is_missing).copied().collect()
}

/// Reads the words of blocks.
#[derive(Default)]
struct Reader<'a> {
    known: Known<'a, Words>,
    /// The words, numbered in the order in which they were read.
    ids: Map<u32, usize>,
    /// The checksums of marks.
    marks: Map<&'a str, u64>,
}

/// The words of a block, and the number of blocks in it, including itself. Inline nodes are no
/// blocks.
struct Words {
    words: Vec<Word>,
    blocks: usize,
}

impl<'a> Reader<'a> {
    fn text(&mut self, blocks: &[Block<'a>]) -> Text {
        let (mut count, mut words) = (0, Vec::new());
        let blocks: Vec<_> = blocks.iter().map(|block| self.block(block)).collect();
        words.reserve(blocks.iter().map(|block| block.words.len()).sum());
        for read in blocks {
            words.extend(read.words.iter().map(|word| Word { block: word.block + count, ..*word }));
            count += read.blocks;
        }
        let mut places = vec![Place::default(); self.ids.len()];
        for (position, word) in words.iter().enumerate() {
            let place = &mut places[word.id];
            if place.count == 0 {
                place.first = position;
            }
            place.count += 1;
        }
        Text { words, places }
    }

    fn block(&mut self, block: &Block<'a>) -> Rc<Words> {
        let Self { known, ids, marks } = self;
        known.get(block, |raw| {
            let mut words = Words { words: block::vec_for_words(raw), blocks: 0 };
            let Ok(outline) = serde_json::from_str::<Outline<'a>>(raw.get()) else { return words };
            outline.visit(&mut |node| {
                words.blocks += usize::from(Kind::of(&node.r#type) != Kind::Inline);
                let block = words.blocks;
                let marks = node.marks.map_or(0, |list| {
                    *marks.entry(list.get()).or_insert_with(|| sum_of_marks(list))
                });
                node.words(&mut |word| {
                    let next = ids.len();
                    let id = *ids.entry(word).or_insert(next);
                    words.words.push(Word { id, block, marks });
                });
            });
            words
        })
    }
}

/// All words of a list of blocks in reading order.
struct Text {
    words: Vec<Word>,
    /// For each number of a word. Words that were read later do not occur in the text.
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Word {
    /// Its number, see [`Reader`].
    id: usize,
    /// The number of its block. Blocks without words are counted, too.
    block: usize,
    marks: u64,
}

impl Piece for Word {
    const MAX_EDITS: usize = 200;

    fn id(&self) -> u32 {
        u32::try_from(self.id).unwrap_or(u32::MAX)
    }

    fn is_filler(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Default)]
struct Place {
    count: i64,
    /// The first position, if there is any.
    first: usize,
}

impl Text {
    fn count(&self, id: usize) -> i64 {
        self.places.get(id).map_or(0, |place| place.count)
    }

    /// The position of a word, if it occurs once.
    fn place(&self, id: usize) -> Option<usize> {
        self.places.get(id).filter(|place| place.count == 1).map(|place| place.first)
    }
}

/// A checksum of marks that does not depend on their order.
fn sum_of_marks(list: &RawValue) -> u64 {
    let marks: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
    marks.iter().map(|mark| Canonical::of(mark).sum()).fold(0, u64::wrapping_add)
}

fn are_as_many(ids: usize, four: [&Text; 4]) -> bool {
    let [base, ours, theirs, merged] = four;
    (0..ids).all(|id| adds_up(four.map(|text| text.count(id))))
        || is_repeated(ids, [base, ours, theirs, merged])
        || is_repeated(ids, [base, theirs, ours, merged])
}

/// Whether the merged document is one side, and this side has all new words of the other side and
/// made its removals: the other side was merged into it before. Words that the other side removed
/// were inserted elsewhere.
fn is_repeated(ids: usize, [base, part, all, merged]: [&Text; 4]) -> bool {
    let mut new = (0..ids).filter(|&id| base.count(id) == 0 && part.count(id) > 0).peekable();
    if new.peek().is_none()
        || new.any(|id| all.count(id) < part.count(id))
        || (0..ids).any(|id| all.count(id) != merged.count(id))
    {
        return false;
    }
    let mut removed = vec![0; ids];
    for change in region::changes(&base.words, &all.words) {
        base.words[change.base].iter().for_each(|word| removed[word.id] += 1);
    }
    (0..ids).all(|id| removed[id] >= base.count(id) - part.count(id))
}

/// Whether a word occurs as often in the merged document as the other three permit. If both sides
/// added or removed occurrences, some or all of them may be the same.
fn adds_up([base, ours, theirs, merged]: [i64; 4]) -> bool {
    let all_different = (ours + theirs - base).max(0);
    let (least, most) = if ours <= base && theirs <= base {
        (all_different, ours.min(theirs))
    } else if ours >= base && theirs >= base {
        (ours.max(theirs), all_different)
    } else {
        // One side added occurrences, the other removed some. If the former side already contains
        // the removals, its number is correct.
        (all_different, ours.max(theirs))
    };
    (least..=most).contains(&merged)
}

/// Whether the words that both sides kept are in the order of the side that changed the order, and
/// divided into blocks as on the side that changed the division.
fn are_in_order(four: [&Text; 4]) -> bool {
    let is_kept = |id: &usize| four.iter().all(|text| text.place(*id).is_some());
    let [b, o, t, m] = four.map(|text| -> Vec<usize> {
        text.words.iter().map(|word| word.id).filter(is_kept).collect()
    });
    if o != b && t != b && o != t {
        return true;
    }
    if m != *(if o == b { &t } else { &o }) {
        return false;
    }
    if o != b || t != b {
        return true;
    }
    b.windows(2).all(|pair| {
        // The number of blocks from the first to the second, if no word is between them.
        let distances = four.map(|text| {
            let [one, other] = [text.place(pair[0])?, text.place(pair[1])?];
            (one + 1 == other).then(|| text.words[other].block - text.words[one].block)
        });
        let [Some(b), Some(o), Some(t), Some(m)] = distances else { return true };
        // If both sides changed the distance, any result is accepted.
        o != b && t != b || (m == 0) == (if (o == 0) == (b == 0) { t == 0 } else { o == 0 })
    })
}

/// Whether inserted words are between the words that they were inserted between.
fn are_beside(base: &Text, side: &Text, other: &Text, merged: &Text) -> bool {
    let is_old = |word: &Word| base.count(word.id) > 0;
    let is_kept =
        |word: &Word| [base, side, merged].iter().all(|text| text.place(word.id).is_some());
    let old_blocks = OldBlocks::of(merged, is_old);
    // The next kept word after each word.
    let mut after = None;
    let mut afters: Vec<Option<&Word>> = Vec::with_capacity(side.words.len());
    for word in side.words.iter().rev() {
        afters.push(after);
        after = if is_kept(word) { Some(word) } else { after };
    }
    let mut before: Option<&Word> = None;
    side.words.iter().zip(afters.into_iter().rev()).all(|(word, after)| {
        let last = before;
        before = if is_kept(word) { Some(word) } else { last };
        let before = last;
        let (false, Some(place), Some(_)) =
            (is_old(word), merged.place(word.id), side.place(word.id))
        else {
            return true;
        };
        let at = |word: &Word| merged.places[word.id].first;
        if let (Some(before), Some(after)) = (before, after)
            && at(before) < at(after)
            && !(at(before)..at(after)).contains(&place)
        {
            return false;
        }
        let is_here = |other: &&Word| other.block == word.block;
        match (before.filter(is_here), after.filter(is_here)) {
            (Some(before), Some(after)) => {
                let block = |word: &Word| merged.words[at(word)].block;
                [before, after].iter().any(|word| block(word) == merged.words[place].block)
                    || wrote_blocks_between(other, [before, after])
            }
            (Some(neighbour), None) | (None, Some(neighbour)) => {
                let (start, end) = (at(neighbour).min(place), at(neighbour).max(place));
                old_blocks.between(start, end) == 0
            }
            (None, None) => true,
        }
    })
}

/// Whether a side inserted blocks between two words.
fn wrote_blocks_between(side: &Text, ends: [&Word; 2]) -> bool {
    let [Some(start), Some(end)] = ends.map(|word| side.place(word.id)) else { return true };
    let ends = [start, end].map(|place| side.words[place].block);
    let between = side.words.get(start + 1..end).unwrap_or_default();
    between.iter().any(|word| !ends.contains(&word.block))
}

/// The blocks of a text with words, none of which are new.
struct OldBlocks {
    /// For each word, the number of its block among the blocks with words.
    numbers: Vec<usize>,
    /// For each number, the number of blocks before it that have no new word.
    old: Vec<usize>,
}

impl OldBlocks {
    fn of(text: &Text, is_old: impl Fn(&Word) -> bool) -> Self {
        let (mut numbers, mut old, mut count) = (Vec::with_capacity(text.words.len()), vec![], 0);
        for (number, block) in text.words.chunk_by(|one, next| one.block == next.block).enumerate()
        {
            numbers.extend(std::iter::repeat_n(number, block.len()));
            old.push(count);
            count += usize::from(block.iter().all(&is_old));
        }
        Self { numbers, old }
    }

    /// The number of such blocks between the blocks of two words.
    fn between(&self, start: usize, end: usize) -> usize {
        let (start, end) = (self.numbers[start], self.numbers[end]);
        if start == end { 0 } else { self.old[end] - self.old[start + 1] }
    }
}

/// Whether words that both sides kept have the marks of the side that changed them.
fn are_marked(four: [&Text; 4]) -> bool {
    four[0].words.iter().all(|word| {
        let places = four.map(|text| Some(text.words[text.place(word.id)?].marks));
        let [Some(b), Some(o), Some(t), Some(m)] = places else { return true };
        if o == b {
            m == t
        } else if t == b || t == o {
            m == o
        } else {
            true
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::{super::block::Numbering, *};

    /// Paragraphs of one text node each. Words after a `*` are bold.
    fn blocks(paragraphs: &[&str]) -> Vec<Box<RawValue>> {
        let paragraph = |text: &&str| {
            let node = match text.strip_prefix('*') {
                Some(text) => json!({"type": "text", "text": text, "marks": [{"type": "bold"}]}),
                None => json!({"type": "text", "text": text}),
            };
            to_raw_value(&json!({"type": "paragraph", "content": [node]})).expect("a JSON value")
        };
        paragraphs.iter().map(paragraph).collect()
    }

    #[track_caller]
    fn assert_balanced(is_so: bool, four: [&[&str]; 4]) {
        let four = &four.map(blocks);
        let mut numbering = Numbering::default();
        let [base, ours, theirs, merged] = four.each_ref().map(|list| {
            let list: Vec<&RawValue> = list.iter().map(|raw| &**raw).collect();
            numbering.blocks(&list, &[])
        });
        for three in [[&base[..], &ours, &theirs], [&base, &theirs, &ours]] {
            assert_eq!(Audit::of(three).is_balanced(&merged), is_so);
        }
    }

    #[test]
    fn the_number_of_a_word_follows_from_both_sides() {
        assert_balanced(true, [&["a b"], &["a b c"], &["a d"], &["a d c"]]);
        // Both inserted the same word, once or at two places.
        assert_balanced(true, [&["a b"], &["c a b"], &["a b c"], &["c a b"]]);
        assert_balanced(true, [&["a b"], &["c a b"], &["a b c"], &["c a b c"]]);
        // One side removed the word, the other added it twice. The second line is the same merge
        // repeated.
        assert_balanced(true, [&["a"], &[], &["a a a"], &["a a"]]);
        assert_balanced(true, [&["a"], &[], &["a a"], &["a a"]]);
        // One side already contains the new word of the other, so the word that this replaced was
        // inserted elsewhere. Without a new word it may be the one that was removed.
        assert_balanced(true, [&["a b"], &["c b"], &["c b a"], &["c b a"]]);
        assert_balanced(false, [&["a b"], &["b"], &["b a"], &["b a"]]);
        // A word is lost, one occurs twice, and one is restored.
        assert_balanced(false, [&["a b"], &["a b c"], &["a b d"], &["a b d"]]);
        assert_balanced(false, [&["a", "b"], &["b", "a"], &["b a"], &["b a", "a"]]);
        assert_balanced(false, [&["a", "b"], &["b", "a"], &["b"], &["b", "a"]]);
    }

    #[test]
    fn words_have_the_order_and_blocks_of_the_side_that_changed_them() {
        assert_balanced(true, [&["a b", "c"], &["c", "a b"], &["a b", "c d"], &["c d", "a b"]]);
        assert_balanced(false, [&["a b", "c"], &["c", "a b"], &["a b", "c d"], &["a b", "c d"]]);
        assert_balanced(true, [&["a b c"], &["a", "b c"], &["a b c d"], &["a", "b c d"]]);
        assert_balanced(false, [&["a b c"], &["a", "b c"], &["a b c d"], &["a b c d"]]);
    }

    #[test]
    fn inserted_words_stay_between_the_same_words() {
        assert_balanced(true, [&["a b"], &["a x b"], &["a", "b"], &["a x", "b"]]);
        assert_balanced(true, [&["a b"], &["a x b"], &["a", "b"], &["a", "x b"]]);
        assert_balanced(false, [&["a b"], &["a x b"], &["a", "b"], &["a", "b x"]]);
        assert_balanced(false, [&["a b"], &["a x b"], &["a", "b"], &["a", "x", "b"]]);
        // Only new blocks may separate a word at the end of a block from that block.
        let [base, ours, theirs] = [&["a", "b"], &["a x", "b"], &["b", "a"]];
        assert_balanced(true, [base, ours, theirs, &["b", "a x"]]);
        assert_balanced(
            false,
            [&["a", "b", "c"], &["a x", "b", "c"], &["c", "b", "a"], &["x c", "b", "a"]],
        );
    }

    #[test]
    fn words_have_the_marks_of_the_side_that_changed_them() {
        assert_balanced(true, [&["a", "b"], &["*a", "b"], &["b", "a"], &["b", "*a"]]);
        assert_balanced(false, [&["a", "b"], &["*a", "b"], &["b", "a"], &["b", "a"]]);
    }

    #[test]
    fn moved_words_are_those_that_were_removed_and_added_by_different_changes() {
        let moved = |changes: &[[&[u32]; 2]]| {
            moved_words(changes.iter().map(|change| change.map(<[u32]>::to_vec)))
        };
        assert_eq!(moved(&[[&[1, 2], &[2, 3]], [&[4], &[]]]), Vec::<u32>::new());
        assert_eq!(moved(&[[&[1, 2], &[2]], [&[4], &[1, 4]]]), [1]);
        assert_eq!(moved(&[[&[1, 1], &[1]], [&[], &[1]]]), [1]);
    }
}
