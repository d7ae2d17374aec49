//! Text as a list of tokens: words, the white space and punctuation between them, and nodes that
//! are not text.

use std::{borrow::Cow, ops::Range};

use serde_json::value::RawValue;

use super::{
    block::{Numbering, Piece},
    field::Fields,
    hash::Map,
    mark::Marks,
    segment::{self, Sort, Unit},
};

/// Whether these nodes are inline. Unknown nodes may be inline or blocks.
pub(super) fn is_inline(content: &[&RawValue]) -> bool {
    content.iter().any(|raw| {
        let kind = Fields::of(raw).and_then(|fields| fields.text("type"));
        kind.is_some_and(|kind| {
            matches!(&*kind, "text" | "hardBreak" | "hard_break" | "mention" | "emoji")
        })
    })
}

/// An inline node.
pub(super) struct Inline<'a> {
    pub(super) raw: &'a RawValue,
    pub(super) content: Content<'a>,
}

pub(super) enum Content<'a> {
    Text {
        text: Cow<'a, str>,
        marks: usize,
    },
    /// Any other node, by its number.
    Leaf {
        id: u32,
        is_break: bool,
    },
}

impl<'a> Inline<'a> {
    pub(super) fn of(
        raw: &'a RawValue,
        numbering: &mut Numbering<'a>,
        marks: &mut Marks<'a>,
    ) -> Self {
        let fields = Fields::of(raw).unwrap_or_default();
        let kind = fields.text("type");
        let text = (kind.as_deref() == Some("text")).then(|| fields.text("text")).flatten();
        let marks = match fields.get("marks") {
            Some(Cow::Borrowed(list)) => marks.of(list, numbering),
            _ => Some(0),
        };
        let is_plain = fields.0.iter().all(|(key, _)| matches!(&**key, "type" | "text" | "marks"));
        let content = match (text, marks) {
            (Some(text), Some(marks)) if is_plain => Content::Text { text, marks },
            _ => Content::Leaf {
                id: numbering.block(raw).id(),
                is_break: matches!(kind.as_deref(), Some("hardBreak" | "hard_break")),
            },
        };
        Self { raw, content }
    }

    /// Whether it is something other than text.
    pub(super) fn is_leaf(&self) -> bool {
        matches!(self.content, Content::Leaf { .. })
    }
}

/// A part of a stream of text.
#[derive(Clone, Copy)]
pub(super) enum Part<'n> {
    Inline(&'n Inline<'n>),
    /// The start of a text block.
    Start,
    /// A block without text, by its number.
    Atom(u32),
    /// A space that the merge adds.
    Space,
}

/// A word, the white space or the punctuation between words, a node that is not text, or the start
/// of a block. Tokens with the same text are equal, whatever their marks.
#[derive(Clone, Copy)]
pub(super) struct Token<'n> {
    pub(super) id: u32,
    pub(super) sort: Sort,
    pub(super) text: &'n str,
    pub(super) marks: usize,
    /// The node that it is or belongs to.
    pub(super) part: Part<'n>,
    /// Its position in the base, ours and theirs, counted from 1; 0 in a document that does not
    /// contain it.
    pub(super) at: [usize; 3],
}

impl Token<'_> {
    /// A space that the merge adds between words.
    pub(super) fn space(unit: Unit, marks: usize) -> Self {
        let text = match unit {
            Unit::Word => " ",
            Unit::Line => "\n",
        };
        Self { id: u32::MAX, sort: Sort::White, text, marks, part: Part::Space, at: [0; 3] }
    }

    /// Whether it directly follows the other token on any side.
    pub(super) fn follows(&self, other: &Self) -> bool {
        let mut places = other.at.iter().zip(self.at);
        places.any(|(&before, at)| before > 0 && at == before + 1)
    }

    /// Whether the two would run together into one word without a space.
    pub(super) fn runs_into(&self, next: &Self) -> bool {
        let is_atom = |token: &Self| matches!(token.part, Part::Atom(_));
        let ends = [self.text.chars().next_back(), next.text.chars().next()];
        !matches!(self.sort, Sort::White | Sort::Break)
            && next.sort == Sort::Word
            && !is_atom(self)
            && !is_atom(next)
            && !ends.into_iter().flatten().any(segment::is_unspaced)
    }

    /// Whether it is a word, or counts as one.
    pub(super) fn is_word(&self) -> bool {
        self.sort == Sort::Word
    }
}

impl Piece for Token<'_> {
    /// A low bound: text that was reordered more than this counts as rewritten.
    const MAX_EDITS: usize = 100;

    fn id(&self) -> u32 {
        self.id
    }

    fn is_filler(&self) -> bool {
        !self.is_word()
    }

    /// Not if they contain the start of a block.
    fn are_in_place(side: &[Self]) -> bool {
        side.iter().all(|token| token.sort != Sort::Break)
    }
}

/// The text of one document.
pub(super) struct Side<'n> {
    pub(super) tokens: Vec<Token<'n>>,
    /// The offset of each token, and of the end, in UTF-16 code units and nodes.
    offsets: Vec<usize>,
}

impl Side<'_> {
    pub(super) fn range(&self, tokens: &Range<usize>) -> Range<usize> {
        self.offsets[tokens.start]..self.offsets[tokens.end]
    }
}

/// Numbers tokens by their text.
#[derive(Default)]
pub(super) struct Words<'n>(Map<Key<'n>, u32>);

#[derive(PartialEq, Eq, Hash)]
enum Key<'n> {
    Text(Cow<'n, str>),
    Node(u32),
    Start,
}

impl<'n> Words<'n> {
    /// The text of base (0), ours (1) or theirs (2).
    pub(super) fn side(
        &mut self,
        which: usize,
        parts: impl IntoIterator<Item = Part<'n>>,
        unit: Unit,
    ) -> Side<'n> {
        let mut side = Side { tokens: Vec::with_capacity(64), offsets: Vec::with_capacity(64) };
        side.offsets.push(0);
        let mut offset = 0;
        let mut push = |key, sort, text, marks, part, len| {
            let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
            let id = *self.0.entry(key).or_insert(next);
            let mut at = [0; 3];
            at[which] = side.tokens.len() + 1;
            side.tokens.push(Token { id, sort, text, marks, part, at });
            offset += len;
            side.offsets.push(offset);
        };
        for part in parts {
            match part {
                Part::Start => push(Key::Start, Sort::Break, "", 0, part, 0),
                Part::Atom(id) => push(Key::Node(id), Sort::Word, "", 0, part, 1),
                Part::Space => {}
                Part::Inline(node) => match &node.content {
                    Content::Text { text, marks } => {
                        let is_composed = matches!(segment::normalized(text), Cow::Borrowed(_));
                        segment::split(text, unit, |sort, text| {
                            let len = text.chars().map(char::len_utf16).sum();
                            let normalized = if is_composed {
                                Cow::Borrowed(text)
                            } else {
                                segment::normalized(text)
                            };
                            push(Key::Text(normalized), sort, text, *marks, part, len);
                        });
                    }
                    Content::Leaf { id, is_break } => {
                        let sort = if *is_break { Sort::White } else { Sort::Word };
                        push(Key::Node(*id), sort, "", 0, part, 1);
                    }
                },
            }
        }
        side
    }
}

/// The number of words among the tokens.
pub(super) fn words(tokens: &[Token<'_>]) -> usize {
    tokens.iter().filter(|token| token.is_word()).count()
}
