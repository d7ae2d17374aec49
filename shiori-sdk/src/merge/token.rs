//! Text as a list of tokens: words, what is between them, and nodes that are no text.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use serde_json::value::RawValue;

use super::{
    block::{Numbering, Piece},
    field::Fields,
    mark::Marks,
};

/// What text is merged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Word,
    Line,
}

impl Unit {
    /// What parts two insertions that would else run into each other.
    pub(super) fn space(self) -> &'static str {
        match self {
            Self::Word => " ",
            Self::Line => "\n",
        }
    }
}

/// Whether such nodes stand within a line. One that is unknown may be either.
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
    /// Anything else, by its number.
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    White,
    Punctuation,
    /// A word, a line of code, or a node such as an image.
    Word,
}

/// A word, the white space or the punctuation between two, or a node that is no text. Tokens with
/// the same text are equal, whatever their marks.
#[derive(Clone, Copy)]
pub(super) struct Token<'n> {
    pub(super) id: u32,
    pub(super) sort: Sort,
    pub(super) text: &'n str,
    pub(super) marks: usize,
    /// What it was part of; `None` for a space that the merge adds.
    pub(super) node: Option<&'n Inline<'n>>,
    /// Its place in the base, in ours and in theirs, counted from 1; 0 where it is not.
    pub(super) at: [usize; 3],
}

impl Token<'_> {
    /// Whether it directly follows the other on any side.
    pub(super) fn follows(&self, other: &Self) -> bool {
        let mut places = other.at.iter().zip(self.at);
        places.any(|(&before, at)| before > 0 && at == before + 1)
    }
}

impl Piece for Token<'_> {
    /// Few: text that was reordered that much was written anew.
    const MAX_EDITS: usize = 100;

    fn id(&self) -> u32 {
        self.id
    }

    fn is_filler(&self) -> bool {
        self.sort != Sort::Word
    }
}

/// The text of one document.
pub(super) struct Side<'n> {
    pub(super) tokens: Vec<Token<'n>>,
    /// Where each token begins, and the last ends, as [`OverlapKind::Text`] counts.
    pub(super) offsets: Vec<usize>,
}

impl Side<'_> {
    pub(super) fn range(&self, tokens: &Range<usize>) -> Range<usize> {
        self.offsets[tokens.start]..self.offsets[tokens.end]
    }
}

/// Numbers tokens by their text.
#[derive(Default)]
pub(super) struct Words<'n>(HashMap<Key<'n>, u32>);

#[derive(PartialEq, Eq, Hash)]
enum Key<'n> {
    Text(&'n str),
    Leaf(u32),
}

impl<'n> Words<'n> {
    /// The text of base (0), ours (1) or theirs (2).
    pub(super) fn side<'a: 'n>(
        &mut self,
        which: usize,
        nodes: &'n [Inline<'a>],
        unit: Unit,
    ) -> Side<'n> {
        let mut side = Side { tokens: Vec::new(), offsets: vec![0] };
        let mut offset = 0;
        let mut push = |key, sort, text, marks, node, len| {
            let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
            let id = *self.0.entry(key).or_insert(next);
            let mut at = [0; 3];
            at[which] = side.tokens.len() + 1;
            side.tokens.push(Token { id, sort, text, marks, node: Some(node), at });
            offset += len;
            side.offsets.push(offset);
        };
        for node in nodes {
            match &node.content {
                Content::Text { text, marks } => split(text, unit, |sort, text| {
                    let len = text.chars().map(char::len_utf16).sum();
                    push(Key::Text(text), sort, text, *marks, node, len);
                }),
                Content::Leaf { id, is_break } => {
                    let sort = if *is_break { Sort::White } else { Sort::Word };
                    push(Key::Leaf(*id), sort, "", 0, node, 1);
                }
            }
        }
        side
    }
}

/// Cuts text into tokens, which together are the whole text.
fn split<'n>(text: &'n str, unit: Unit, mut token: impl FnMut(Sort, &'n str)) {
    if unit == Unit::Line {
        for line in text.split_inclusive('\n') {
            let end = line.strip_suffix('\n').unwrap_or(line);
            for (sort, part) in [(Sort::Word, end), (Sort::White, &line[end.len()..])] {
                if !part.is_empty() {
                    token(sort, part);
                }
            }
        }
        return;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let words = rest.trim_start();
        let (white, _) = rest.split_at(rest.len() - words.len());
        let end = words.find(char::is_whitespace).unwrap_or(words.len());
        let (word, after) = words.split_at(end);
        // Punctuation within a word, as in 10:30, is part of it.
        let opened = word.trim_start_matches(is_punctuation);
        let bare = opened.trim_end_matches(is_punctuation);
        let parts = [
            (Sort::White, white),
            (Sort::Punctuation, &word[..word.len() - opened.len()]),
            (Sort::Word, bare),
            (Sort::Punctuation, &opened[bare.len()..]),
        ];
        for (sort, part) in parts {
            if !part.is_empty() {
                token(sort, part);
            }
        }
        rest = after;
    }
}

fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | '!' | '?' | ';' | ':' | '…' | '~' | '(' | ')' | '[' | ']' | '"' | '\''
            | '“'..='”' | '‘'..='’' | '«' | '»' | '、' | '。' | '，' | '！' | '？' | '：' | '；'
            | '「'..='』' | '《' | '》'
    )
}

/// How many of them are words.
pub(super) fn words(tokens: &[Token<'_>]) -> usize {
    tokens.iter().filter(|token| token.sort == Sort::Word).count()
}
