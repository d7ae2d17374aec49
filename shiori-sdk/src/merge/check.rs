//! Checks a merge without overlaps: whether its words are where they were written, and whether it is
//! stable.
//!
//! Only the parts that need it are checked, together with the unchanged blocks beside them, so the
//! work is proportional to these parts.

use std::{borrow::Cow, ops::Range};

use serde_json::value::RawValue;

use super::{
    audit::Audit,
    block::{Block, Piece},
    context::Context,
    node::{self, Part},
};
use crate::types::Document;

type Three<'m, 'a> = [&'m [Block<'a>]; 3];

/// Whether the words of a merge are where they were written, and merging either side into the
/// result again gives the same result, for both orders of the sides. A save that is repeated after
/// a lost response causes such a merge.
pub(super) fn is_sound<'a>(
    context: &Context<'a>,
    three: Three<'_, 'a>,
    parts: &'a [Part<'a>],
) -> bool {
    if !parts.iter().any(|part| part.needs_check) {
        return true;
    }
    let is_sound = |excerpt: Excerpt<'a>| is_sound_excerpt(context.of_same_blocks(), excerpt);
    match is_sound(Excerpt::of(three, parts, |part| part.needs_check)) {
        // Other changes may decide how the blocks are matched.
        (_, true) if !parts.iter().all(|part| part.needs_check) => {
            is_sound(Excerpt::of(three, parts, |_| true)).0
        }
        (is_sound, _) => is_sound,
    }
}

/// The second result is whether the blocks may be matched with others anywhere in the document.
fn is_sound_excerpt<'a>(mut context: Context<'a>, excerpt: Excerpt<'a>) -> (bool, bool) {
    let Excerpt { three, merged } = excerpt;
    let [base, ours, theirs] = three.each_ref().map(Vec::as_slice);
    let mut audit = Audit::of([base, ours, theirs]);
    let Some(turned) = merge(&mut context, [base, theirs, ours]) else {
        return (false, context.is_ambiguous);
    };
    let turned: Vec<&RawValue> = turned.iter().map(|block| &**block).collect();
    if !is_stable(&mut context, &mut audit, [base, ours, theirs], &merged, &turned) {
        return (false, context.is_ambiguous);
    }
    // The check of equal results is the same for both orders of the sides. The turned blocks do not
    // live as long as those that were numbered so far, so the context must live shorter, too.
    let (mut context, mut audit) = (context, audit);
    let is_sound = are_same_bytes(&turned, &merged)
        || is_stable(&mut context, &mut audit, [base, theirs, ours], &turned, &merged);
    (is_sound, context.is_ambiguous)
}

/// The blocks of the parts that are checked, and the unchanged blocks beside them.
struct Excerpt<'a> {
    three: [Vec<Block<'a>>; 3],
    merged: Vec<&'a RawValue>,
}

impl<'a> Excerpt<'a> {
    fn of(
        three: Three<'_, 'a>,
        parts: &'a [Part<'a>],
        is_checked: impl Fn(&Part<'_>) -> bool,
    ) -> Self {
        let mut excerpt = Self { three: [Vec::new(), Vec::new(), Vec::new()], merged: Vec::new() };
        for (i, part) in parts.iter().enumerate() {
            if is_checked(part) {
                excerpt.add(three, part.hull.clone(), part.blocks.iter());
                continue;
            }
            let is_behind = i > 0 && is_checked(&parts[i - 1]);
            let is_before = parts.get(i + 1).is_some_and(&is_checked);
            if !is_behind && !is_before {
                continue;
            }
            // Only kept blocks are beside such a part. One of them that is not a filler separates
            // it from other changes.
            let len = part.blocks.len();
            let is_separate = |place: &usize| !three[0][part.hull[0].start + place].is_filler();
            let start = (0..len).find(is_separate).map_or(len, |place| place + 1);
            let end = (0..len).rfind(is_separate).unwrap_or(0);
            let start = if is_behind { start } else { 0 };
            let end = if is_before { end.max(start) } else { len };
            for range in [0..start, end..len] {
                let of_hull =
                    |hull: &Range<usize>| hull.start + range.start..hull.start + range.end;
                excerpt.add(
                    three,
                    part.hull.each_ref().map(of_hull),
                    part.blocks[range.clone()].iter(),
                );
            }
        }
        excerpt
    }

    fn add(
        &mut self,
        three: Three<'_, 'a>,
        hull: [Range<usize>; 3],
        merged: impl Iterator<Item = &'a Cow<'a, RawValue>>,
    ) {
        for ((all, blocks), range) in self.three.iter_mut().zip(three).zip(hull) {
            all.extend_from_slice(&blocks[range]);
        }
        self.merged.extend(merged.map(|block| &**block));
    }
}

/// Whether a merge has all words at their places, and merging either side into it changes nothing,
/// given also the result for the other order of the sides.
fn is_stable<'a>(
    context: &mut Context<'a>,
    audit: &mut Audit<'a>,
    [base, ours, theirs]: Three<'_, 'a>,
    merged: &[&'a RawValue],
    turned: &[&RawValue],
) -> bool {
    let all = &context.numbering.blocks(merged, theirs)[..];
    if !audit.is_balanced(all) {
        return false;
    }
    let [b, o, t] = [base, ours, theirs].map(raws);
    let is_repeated = |[ours, theirs]: [&[Block<'a>]; 2]| {
        let [one, other] = [ours, theirs].map(raws);
        let are = |first: &[&RawValue], second: &[&RawValue]| {
            are_same_bytes(&one, first) && are_same_bytes(&other, second)
        };
        // The result is known if at most one side made changes, or if it is one of these merges.
        let known: Option<&[&RawValue]> =
            if are_same_bytes(&one, &b) || are_same_bytes(&one, &other) {
                Some(&other)
            } else if are_same_bytes(&other, &b) {
                Some(&one)
            } else if are(&o, &t) {
                Some(merged)
            } else if are(&t, &o) {
                Some(turned)
            } else {
                None
            };
        match known {
            Some(again) => are_equal(again, merged),
            None => merge(context, [base, ours, theirs]).is_some_and(|again| {
                are_equal(&again.iter().map(|block| &**block).collect::<Vec<_>>(), merged)
            }),
        }
    };
    [[ours, all], [all, ours], [all, theirs], [theirs, all]].into_iter().all(is_repeated)
}

fn raws<'a>(blocks: &[Block<'a>]) -> Vec<&'a RawValue> {
    blocks.iter().map(|block| block.raw).collect()
}

/// The merged blocks, unless there are overlaps.
fn merge<'a>(context: &mut Context<'a>, three: Three<'_, 'a>) -> Option<Vec<Cow<'a, RawValue>>> {
    context.restart(three.iter().copied().flatten().map(|block| block.raw.get().len()).sum());
    let parts = node::document(context, three);
    context.overlaps.is_empty().then(|| parts.into_iter().flat_map(|part| part.blocks).collect())
}

fn are_same_bytes(one: &[&RawValue], other: &[&RawValue]) -> bool {
    let is_same = |(one, other): (&&RawValue, &&RawValue)| one.get() == other.get();
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}

/// Whether the blocks have the same JSON values.
fn are_equal(one: &[&RawValue], other: &[&RawValue]) -> bool {
    let is_equal = |(one, other): (&&RawValue, &&RawValue)| {
        let value = |raw: &RawValue| Document::value_of(raw.get());
        one.get() == other.get() || value(one).is_some() && value(one) == value(other)
    };
    one.len() == other.len() && one.iter().zip(other).all(is_equal)
}
