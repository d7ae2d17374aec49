//! Comparing and joining the insertions of two sides at one place of a text.

use std::collections::HashSet;

use super::{
    segment::{self, Sort, Unit},
    token::Token,
};

/// Whether the other side's lines contain edited versions of the lines that one side removed.
pub(super) fn edits_removed(
    base: &[Token<'_>],
    part: usize,
    all: &[Token<'_>],
    added: &[Token<'_>],
) -> bool {
    let words = |lines: &mut dyn Iterator<Item = &Token<'_>>| {
        let mut words = HashSet::new();
        for line in lines {
            segment::split(line.text, Unit::Word, |sort, text| {
                if sort == Sort::Word {
                    words.insert(segment::normalized(text).into_owned());
                }
            });
        }
        words
    };
    let removed = words(&mut base.iter().filter(|line| line.at[part] == 0));
    let added = words(&mut added.iter());
    words(&mut all.iter()).iter().any(|word| removed.contains(word) && !added.contains(word))
}

/// Whether it is a word or the start of a block.
pub(super) fn is_text(token: &Token<'_>) -> bool {
    matches!(token.sort, Sort::Word | Sort::Break)
}

/// Whether `all` contains the tokens of `part` in order. White space is compared only if there is
/// nothing else.
fn contains(all: &[Token<'_>], part: &[Token<'_>]) -> bool {
    let is_in = |is_compared: &dyn Fn(&Token<'_>) -> bool| {
        let mut rest = all.iter();
        part.iter().filter(|token| is_compared(token)).all(|token| rest.any(|t| t.id == token.id))
    };
    if part.iter().all(|token| token.sort == Sort::White) {
        is_in(&|_| true)
    } else {
        is_in(&|token| token.sort != Sort::White)
    }
}

/// Both, one after the other; only the longer if it contains the other. Of insertions at one place,
/// text that continues the block before it comes first, and new blocks come last.
pub(super) fn both<'n>(
    mut first: Vec<Token<'n>>,
    mut second: Vec<Token<'n>>,
    at_one_place: bool,
) -> Vec<Token<'n>> {
    if contains(&first, &second) {
        return first;
    }
    if contains(&second, &first) {
        return second;
    }
    let rank = |tokens: &[Token<'_>]| match tokens.first().map(|token| token.sort) {
        Some(Sort::Break) => 2,
        Some(Sort::White) => 1,
        _ => 0,
    };
    if at_one_place && rank(&second) < rank(&first) {
        (first, second) = (second, first);
    }
    // The text before the first new block of an insertion continues the block before it.
    let head = |tokens: &[Token<'_>]| tokens.iter().position(|token| token.sort == Sort::Break);
    if let (true, Some(first_head), Some(second_head)) = (at_one_place, head(&first), head(&second))
    {
        let (first_tail, second_tail) =
            (first.split_off(first_head), second.split_off(second_head));
        return [first, second, first_tail, second_tail].concat();
    }
    first.extend(second);
    first
}
