//! Generates documents, and edits of them like those of people in an editor, from a seed.

mod blocks;
mod documents;
mod lines;
mod lists;
mod tables;
mod text;
mod tree;

use serde_json::Value;

use tree::*;

/// The edits of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    Typing,
    Enter,
    Lists,
    Wrapping,
    Marks,
    Tables,
    Moves,
    Pastes,
    Blocks,
    Details,
    Attributes,
    Everything,
}

impl Habit {
    pub(crate) const ALL: [Self; 12] = [
        Self::Typing,
        Self::Enter,
        Self::Lists,
        Self::Wrapping,
        Self::Marks,
        Self::Tables,
        Self::Moves,
        Self::Pastes,
        Self::Blocks,
        Self::Details,
        Self::Attributes,
        Self::Everything,
    ];

    #[allow(clippy::too_many_lines)] // A list for each habit.
    fn edits(self) -> Vec<Edit> {
        match self {
            Self::Typing => vec![
                Writer::insert,
                Writer::insert,
                Writer::append,
                Writer::remove,
                Writer::replace,
                Writer::line_break,
            ],
            Self::Enter => vec![
                Writer::split,
                Writer::split,
                Writer::split,
                Writer::join,
                Writer::join,
                Writer::new_line,
                Writer::blank_line,
                Writer::cut_across,
                Writer::insert,
                Writer::append,
                Writer::remove,
                Writer::replace,
            ],
            Self::Lists => vec![
                Writer::sink,
                Writer::lift,
                Writer::add_item,
                Writer::remove_item,
                Writer::move_item,
                Writer::turn_list,
                Writer::split,
                Writer::join,
                Writer::list,
                Writer::insert,
                Writer::remove,
            ],
            Self::Wrapping => vec![
                Writer::quote,
                Writer::unquote,
                Writer::list,
                Writer::lift,
                Writer::turn_block,
                Writer::insert,
                Writer::remove,
                Writer::replace,
            ],
            Self::Marks => vec![
                Writer::mark,
                Writer::mark,
                Writer::mark,
                Writer::insert,
                Writer::remove,
                Writer::replace,
            ],
            Self::Tables => vec![
                Writer::add_row,
                Writer::remove_row,
                Writer::add_column,
                Writer::remove_column,
                Writer::merge_cells,
                Writer::turn_cell,
                Writer::insert,
                Writer::replace,
            ],
            Self::Moves => vec![
                Writer::move_block,
                Writer::move_block,
                Writer::move_item,
                Writer::move_words,
                Writer::insert,
                Writer::remove,
                Writer::remove_blocks,
            ],
            Self::Pastes => vec![
                Writer::paste_blocks,
                Writer::paste_words,
                Writer::paste_words,
                Writer::new_line,
                Writer::remove,
                Writer::remove_blocks,
            ],
            Self::Blocks => vec![
                Writer::paste_blocks,
                Writer::remove_blocks,
                Writer::remove_blocks,
                Writer::cut_across,
                Writer::rule,
                Writer::image,
                Writer::turn_block,
                Writer::insert,
            ],
            Self::Details => vec![
                Writer::details,
                Writer::remove_blocks,
                Writer::insert,
                Writer::append,
                Writer::remove,
                Writer::replace,
                Writer::new_line,
                Writer::split,
            ],
            Self::Attributes => vec![
                Writer::align,
                Writer::align,
                Writer::tick,
                Writer::turn_block,
                Writer::insert,
                Writer::append,
                Writer::fill,
            ],
            Self::Everything => {
                let others = Self::ALL.iter().filter(|habit| **habit != Self::Everything);
                others.flat_map(|habit| habit.edits()).collect()
            }
        }
    }
}

type Edit = fn(&mut Writer, &mut Value);

/// A base, and two edited versions of it.
#[derive(Debug)]
pub(super) struct Triple {
    pub(super) base: Value,
    pub(super) ours: Value,
    pub(super) theirs: Value,
}

/// The triple of a seed. All words in it are unique: those of the base, of ours and of theirs are
/// numbered from different first syllables.
pub(super) fn triple(habit: Habit, seed: u64) -> Triple {
    let random = Random(seed.wrapping_mul(0x9E37_79B9).wrapping_add(habit as u64));
    let mut writer = Writer::new(random, '가', habit);
    let base = writer.document();
    let mut side = |first| {
        (writer.first, writer.count) = (first, 0);
        let mut doc = base.clone();
        for _ in 0..=writer.random.below(3) {
            writer.edit(&mut doc);
        }
        doc
    };
    let (ours, theirs) = (side('나'), side('다'));
    Triple { base, ours, theirs }
}

/// `SplitMix64`, by G. Steele, D. Lea and C. Flood (2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())).cloned() }
    }
}

pub(crate) struct Writer {
    pub(crate) random: Random,
    /// The first syllable of new words.
    first: char,
    count: usize,
    habit: Habit,
}

impl Writer {
    /// A writer whose words start with this syllable and are all different.
    pub(crate) fn new(random: Random, first: char, habit: Habit) -> Self {
        Self { random, first, count: 0, habit }
    }

    /// One edit of the habit.
    pub(crate) fn edit(&mut self, doc: &mut Value) {
        let edits = self.habit.edits();
        let edit = edits[self.random.below(edits.len())];
        edit(self, doc);
    }

    pub(crate) fn word(&mut self) -> String {
        let syllable = |n: usize| {
            let n = u32::try_from(n % 400).expect("small");
            char::from_u32('가' as u32 + n * 28).expect("a syllable")
        };
        self.count += 1;
        let word = format!("{}{}{}", self.first, syllable(self.count / 400), syllable(self.count));
        match self.random.below(9) {
            0 => format!("{word}."),
            1 => format!("{word},"),
            _ => word,
        }
    }

    fn words(&mut self, count: usize) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn some_words(&mut self) -> String {
        let count = 1 + self.random.below(3);
        self.words(count)
    }

    // Choosing the place of an edit.

    fn find(&mut self, doc: &Value, is_wanted: impl Fn(&Value) -> bool) -> Option<Path> {
        let found = find(doc, &is_wanted);
        self.random.pick(&found)
    }

    fn text_block(&mut self, doc: &Value) -> Option<Path> {
        self.find(doc, is_text_block)
    }

    /// A text block with words in it.
    fn written(&mut self, doc: &Value) -> Option<(Path, Vec<Piece>, Vec<usize>)> {
        let is_written =
            |node: &Value| is_text_block(node) && pieces(node).iter().any(Piece::is_word);
        let path = self.find(doc, is_written)?;
        let pieces = pieces(at(doc, &path));
        let words = words_of(&pieces);
        Some((path, pieces, words))
    }

    /// The position of any block.
    fn place(&mut self, doc: &Value) -> (Path, usize) {
        let holds_blocks = |node: &Value| {
            matches!(
                kind(node),
                "doc" | "blockquote" | "detailsContent" | "tableCell" | "tableHeader"
            )
        };
        let parent = if self.random.one_in(3) {
            self.find(doc, holds_blocks).unwrap_or_default()
        } else {
            vec![]
        };
        let place = self.random.below(children(at(doc, &parent)).len() + 1);
        (parent, place)
    }
}
