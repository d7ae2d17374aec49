//! Properties of merging, checked on generated documents.

mod documents;

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::types::DocumentLimits;
use documents::*;

fn blocks(document: &Document) -> Vec<Value> {
    document.to_value()["content"].as_array().cloned().unwrap_or_default()
}

fn is_filler(block: &Value) -> bool {
    *block == json!({"type": "paragraph"}) || *block == json!({"type": "horizontalRule"})
}

/// The sorted letters of a text, without white space.
fn letters(document: &Document) -> Vec<char> {
    let mut letters: Vec<char> = document.block_texts().concat().chars().collect();
    letters.retain(|c| !c.is_whitespace());
    letters.sort_unstable();
    letters
}

fn words(document: &Document) -> HashSet<String> {
    // A mention is a separate word, although nothing separates it from the next.
    let texts = document.block_texts().join("\n").replace("동생", " 동생 ");
    let words = texts.split_whitespace();
    words.map(|word| word.trim_matches(['.', ',']).to_owned()).collect()
}

/// Whether all text has the form that editors write, if it had it before.
fn is_canonical(node: &Value) -> bool {
    let content = node["content"].as_array().map_or(&[][..], Vec::as_slice);
    node["text"] != ""
        && !content.windows(2).any(|pair| is_joined(&pair[0], &pair[1]))
        && content.iter().all(is_canonical)
}

/// The node that the path of an overlap leads to.
fn at<'v>(document: &'v Value, overlap: &Overlap, side: fn(&Step) -> usize) -> &'v Value {
    overlap.path.iter().fold(document, |node, step| &node["content"][side(step)])
}

/// The end of its content, in the unit of the overlap.
fn end_of(node: &Value, kind: OverlapKind) -> usize {
    let content = node["content"].as_array().map_or(&[][..], Vec::as_slice);
    match kind {
        OverlapKind::Nodes => content.len(),
        OverlapKind::Fields => 0,
        OverlapKind::Text | OverlapKind::Marks => content
            .iter()
            .map(|node| node["text"].as_str().map_or(1, |text| text.encode_utf16().count()))
            .sum(),
    }
}

const POLICIES: [OnOverlap; 4] =
    [OnOverlap::Fail, OnOverlap::KeepBoth, OnOverlap::Ours, OnOverlap::Theirs];

proptest! {
    #[test]
    fn trap_11_a_side_without_changes_gives_the_other_document(base in any_document(), x in any_document()) {
        let respelt = |document: &Document| {
            let json = serde_json::to_string_pretty(&document.to_value()).expect("serialises");
            from_json(&json)
        };
        let merged = merge3(&base, &x, &base).document;
        prop_assert_eq!(merged.as_json(), x.as_json());
        for policy in POLICIES {
            for merged in [
                merge3_with(&base, &x, &respelt(&base), policy),
                merge3_with(&base, &respelt(&base), &x, policy),
                merge3_with(&base, &x, &respelt(&x), policy),
            ] {
                prop_assert_eq!(merged.document.to_value(), x.to_value());
                prop_assert_eq!(merged.overlaps, vec![]);
            }
        }
    }

    #[test]
    fn additions_saved_again_change_nothing(
        base in vec(block(), 0..10),
        ours in vec(addition(), 0..5),
        theirs in vec(addition(), 0..5),
    ) {
        // Every block is unique, as the sentences of people usually are.
        let mut number = 0;
        let mut distinct = |block: Value| {
            number += 1;
            let mut block = if is_filler(&block) { line("밤") } else { block };
            block["attrs"]["number"] = json!(number);
            block
        };
        let base: Vec<_> = base.into_iter().map(&mut distinct).collect();
        let base = document(&base, None);
        let [ours, theirs] = [ours, theirs].map(|additions| {
            let mut blocks = blocks(&base);
            for (at, new) in additions {
                let at = at.index(blocks.len() + 1);
                blocks.splice(at..at, new.into_iter().map(&mut distinct));
            }
            document(&blocks, None)
        });

        let once = merge3(&base, &ours, &theirs);
        prop_assert_eq!(&once.overlaps, &[]);
        prop_assert_eq!(
            blocks(&once.document).len(),
            blocks(&ours).len() + blocks(&theirs).len() - blocks(&base).len()
        );
        let again = merge3(&base, &ours, &once.document);
        prop_assert_eq!(again.document, once.document);
        prop_assert_eq!(again.overlaps, []);
    }

    #[test]
    fn trap_11_the_sides_are_symmetric_but_for_order([base, ours, theirs] in three()) {
        let one = merge3(&base, &ours, &theirs);
        let other = merge3(&base, &theirs, &ours);
        let turned: Vec<_> = other
            .overlaps
            .into_iter()
            .map(|o| Overlap {
                ours: o.theirs,
                theirs: o.ours,
                path: o
                    .path
                    .iter()
                    .map(|step| Step { ours: step.theirs, theirs: step.ours, ..*step })
                    .collect(),
                ..o
            })
            .collect();
        // If both sides inserted blocks beside an overlap, those of one side belong to it. Which side
        // that is depends on the order.
        let places = |overlaps: &[Overlap]| -> Vec<_> {
            overlaps.iter().map(|o| (o.kind, o.path.clone(), o.base.clone())).collect()
        };
        prop_assert_eq!(places(&one.overlaps), places(&turned));
        prop_assert_eq!(letters(&one.document), letters(&other.document));
        if one.overlaps.is_empty() {
            prop_assert_eq!(
                &one.document.to_value()["attrs"],
                &other.document.to_value()["attrs"]
            );
            for policy in POLICIES {
                let same = merge3_with(&base, &ours, &theirs, policy);
                prop_assert_eq!(same.document.to_value(), one.document.to_value());
            }
        }
    }

    #[test]
    fn trap_11_no_added_word_is_lost_and_no_word_is_invented([base, ours, theirs] in three()) {
        let [before, o, t] = [&base, &ours, &theirs].map(words);
        for (policy, kept) in [
            (OnOverlap::KeepBoth, &(&o | &t)),
            (OnOverlap::Ours, &o),
            (OnOverlap::Theirs, &t),
        ] {
            let merged = words(&merge3_with(&base, &ours, &theirs, policy).document);
            for word in kept - &before {
                prop_assert!(merged.contains(&word), "{policy:?}: {word} of {base:#?} {}\n{}\n{}", base.as_json(), ours.as_json(), theirs.as_json());
            }
            for word in &merged {
                prop_assert!(o.contains(word) || t.contains(word), "{policy:?}: {word}");
            }
        }
    }

    #[test]
    fn overlaps_do_not_depend_on_the_policy([base, ours, theirs] in three()) {
        let overlaps = merge3(&base, &ours, &theirs).overlaps;
        for policy in POLICIES {
            let merged = merge3_with(&base, &ours, &theirs, policy);
            prop_assert_eq!(&merged.overlaps, &overlaps);
            let again = merge3_with(&base, &ours, &theirs, policy).document;
            prop_assert_eq!(merged.document.as_json(), again.as_json());
        }
    }

    #[test]
    fn edits_of_separate_words_of_one_paragraph_do_not_overlap(
        ours in vec(word_edit(), 0..4),
        theirs in vec(word_edit(), 0..4),
        start in marks(),
        end in marks(),
    ) {
        let half = |words: [&str; 4], marks: &Value| {
            joined(vec![json!({"type": "text", "marks": marks, "text": words.join(" ")})])
        };
        let first = half(["하나", "둘", "셋", "넷"], &start);
        let last = half(["다섯", "여섯", "일곱", "여덟"], &end);
        let edited = |half: &[Value], edits: Vec<WordEdit>| {
            let mut half = half.to_vec();
            for edit in edits.into_iter().filter(|edit| !matches!(edit, WordEdit::Remove(_))) {
                edit_words(&mut half, &edit);
            }
            half
        };
        let whole = |first: &[Value], last: &[Value]| {
            let content = [first, &[text(" 가 나 "), json!({"type": "hardBreak"}), text(" 다 라 ")], last];
            let content = joined(content.concat());
            document(&[json!({"type": "paragraph", "content": content})], None)
        };
        let (our_first, their_last) = (edited(&first, ours), edited(&last, theirs));
        let merged = merge3(
            &whole(&first, &last),
            &whole(&our_first, &last),
            &whole(&first, &their_last),
        );
        prop_assert_eq!(merged.overlaps, vec![]);
        prop_assert_eq!(merged.document.to_value(), whole(&our_first, &their_last).to_value());
    }

    #[test]
    fn appended_blocks_are_at_the_end(
        base in any_document(),
        ours in vec(block(), 0..4),
        theirs in vec(block(), 0..4),
    ) {
        let append = |new: &[Value]| document(&[blocks(&base), new.to_vec()].concat(), None);
        let merged = merge3(&document(&blocks(&base), None), &append(&ours), &append(&theirs));
        prop_assert_eq!(merged.overlaps, vec![]);
        let merged = blocks(&merged.document);
        let kept = blocks(&base).len();
        prop_assert_eq!(&merged[..kept], &blocks(&base)[..]);
        // Theirs is contained in its order, unless ours contains its text, for example in a quote.
        let mut rest = merged[kept..].iter();
        let is_there = theirs.iter().all(|block| rest.any(|other| other == block));
        let text = |blocks: &[Value]| document(blocks, None).block_texts().join("\n");
        let is_in_ours = merged[kept..] == ours[..] && text(&ours).contains(&text(&theirs));
        prop_assert!(is_there || is_in_ours);
    }

    #[test]
    fn overlaps_are_ascending_and_within_the_documents([base, ours, theirs] in three()) {
        let merged = merge3(&base, &ours, &theirs);
        let all = |range: fn(&Overlap) -> &Range<usize>, side: fn(&Step) -> usize, document: &Document| {
            let document = document.to_value();
            // Positions are compared from the outermost node inwards.
            let places = merged.overlaps.iter().map(|overlap| {
                let path = overlap.path.iter().map(side);
                path.chain([range(overlap).start]).collect::<Vec<_>>()
            });
            let is_empty = |overlap: &Overlap| range(overlap).is_empty();
            let places: Vec<_> = places.zip(&merged.overlaps).collect();
            assert!(places.windows(2).all(|pair| {
                pair[0].0 < pair[1].0
                    || is_empty(pair[0].1)
                    || is_empty(pair[1].1)
                    || pair[0].1.kind != pair[1].1.kind
            }));
            assert!(merged.overlaps.iter().all(|overlap| {
                range(overlap).end <= end_of(at(&document, overlap, side), overlap.kind)
            }));
        };
        all(|overlap| &overlap.base, |step| step.base, &base);
        all(|overlap| &overlap.ours, |step| step.ours, &ours);
        all(|overlap| &overlap.theirs, |step| step.theirs, &theirs);
    }

    #[test]
    fn trap_11_the_result_is_a_document([base, ours, theirs] in three()) {
        for policy in POLICIES {
            let merged = merge3_with(&base, &ours, &theirs, policy).document;
            prop_assert_eq!(merged.check(&DocumentLimits::default()), Ok(()));
            prop_assert!(is_canonical(&merged.to_value()));
        }
    }

    #[test]
    fn arbitrary_objects_are_merged(documents in prop::array::uniform3(
        prop::sample::select(vec![
            "{}", r#"{"content":3}"#, r#"{"content":[1,"a",null,[]]}"#, r#"{"\udc00":1}"#,
            r#"{"type":"doc","attrs":3,"content":[]}"#, r#"{"attrs":{"\ud800":"\ud800"}}"#,
            r#"{"content":[{"type":"paragraph"},{"type":3},{"a":"\ud800"}],"attrs":null}"#,
            r#"{"content":[{"type":"paragraph","content":[{"type":"text","text":"비 눈"}]}]}"#,
            r#"{"content":[{"type":"paragraph","content":[{"type":"text","text":"비 \ud800"}]}]}"#,
            r#"{"content":[{"type":"paragraph","content":[{"type":"text","text":"비 눈","marks":3}]}]}"#,
            r#"{"content":[{"type":"paragraph","content":[{"type":"text"},null,{"text":"비 눈"}]}]}"#,
            r#"{"content":[{"type":"paragraph","type":"x","content":[{"type":"text","text":"비 눈"}]}]}"#,
            r#"{"content":[{"type":"paragraph","content":[{"type":"text","text":"안개 눈","marks":[1]}]}]}"#,
            r#"{"content":[{"type":"paragraph","attrs":[],"content":[{"type":"text","text":" "},3]}]}"#,
        ]),
    )) {
        let [base, ours, theirs] = documents.map(|json| {
            serde_json::from_str::<Document>(json).expect("an object")
        });
        for policy in POLICIES {
            let yielded = merge3_with(&base, &ours, &base, policy);
            prop_assert_eq!(yielded.document, ours.clone());
            let merged = merge3_with(&base, &ours, &theirs, policy);
            prop_assert!(serde_json::from_str::<Document>(merged.document.as_json()).is_ok());
        }
    }
}
