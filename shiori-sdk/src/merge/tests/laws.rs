//! The laws of merging, on generated documents.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::types::DocumentLimits;

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn paragraph(words: &str) -> Value {
    json!({"type": "paragraph", "content": [text(words)]})
}

/// A block of the kinds that an editor makes. The words are few, so that documents repeat
/// themselves and share blocks by chance.
fn block() -> impl Strategy<Value = Value> {
    let words = || prop::sample::select(vec!["비", "맑음", "버스", "국수", "산책", "늦잠", "편지"]);
    let inline = (words(), any::<bool>()).prop_map(|(word, bold)| {
        if bold {
            json!({"type": "text", "text": word, "marks": [{"type": "bold"}]})
        } else {
            text(word)
        }
    });
    let item = (words(), prop::option::of(words()), any::<bool>());
    prop_oneof![
        2 => Just(json!({"type": "paragraph"})),
        1 => Just(json!({"type": "horizontalRule"})),
        5 => vec(inline, 1..4).prop_map(|content| json!({"type": "paragraph", "content": content})),
        1 => (1..4, words()).prop_map(|(level, word)| {
            json!({"type": "heading", "attrs": {"level": level}, "content": [text(word)]})
        }),
        1 => vec((words(), prop::option::of(words())), 1..3).prop_map(|items| {
            let items = items.into_iter().map(|(word, nested)| {
                let nested = nested.map(|word| json!({"type": "bulletList", "content": [
                    {"type": "listItem", "content": [paragraph(word)]},
                ]}));
                let content: Vec<Value> = [Some(paragraph(word)), nested].into_iter().flatten().collect();
                json!({"type": "listItem", "content": content})
            });
            json!({"type": "bulletList", "content": items.collect::<Vec<_>>()})
        }),
        1 => vec(item, 1..3).prop_map(|items| {
            let items = items.into_iter().map(|(word, more, checked)| {
                let more = more.map(|word| json!({"type": "hardBreak", "marks": [{"type": word}]}));
                let content: Vec<Value> = [Some(text(word)), more].into_iter().flatten().collect();
                json!({"type": "taskItem", "attrs": {"checked": checked}, "content": [
                    {"type": "paragraph", "content": content},
                ]})
            });
            json!({"type": "taskList", "content": items.collect::<Vec<_>>()})
        }),
        1 => words().prop_map(|word| json!({"type": "blockquote", "content": [paragraph(word)]})),
        1 => (words(), any::<u32>()).prop_map(|(word, n)| {
            json!({"type": "x-unknown", "zeta": {"word": word, "n": n}, "attrs": {"a": null}})
        }),
    ]
}

/// What somebody does to a document at some place in it.
#[derive(Debug, Clone)]
enum Edit {
    Insert(Index, Vec<Value>),
    Append(Vec<Value>),
    Change(Index, Value),
    Remove(Index, usize),
    Move(Index, Index),
}

fn addition() -> impl Strategy<Value = (Index, Vec<Value>)> {
    (any::<Index>(), vec(block(), 1..4))
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => addition().prop_map(|(at, new)| Edit::Insert(at, new)),
        2 => vec(block(), 1..4).prop_map(Edit::Append),
        3 => (any::<Index>(), block()).prop_map(|(at, new)| Edit::Change(at, new)),
        2 => (any::<Index>(), 1_usize..4).prop_map(|(at, count)| Edit::Remove(at, count)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Move(from, to)),
    ]
}

fn apply(blocks: &mut Vec<Value>, edit: Edit) {
    match edit {
        Edit::Insert(at, new) => {
            let at = at.index(blocks.len() + 1);
            blocks.splice(at..at, new);
        }
        Edit::Append(new) => blocks.extend(new),
        _ if blocks.is_empty() => {}
        Edit::Change(at, new) => {
            let at = at.index(blocks.len());
            blocks[at] = new;
        }
        Edit::Remove(at, count) => {
            let at = at.index(blocks.len());
            blocks.drain(at..blocks.len().min(at + count));
        }
        Edit::Move(from, to) => {
            let block = blocks.remove(from.index(blocks.len()));
            blocks.insert(to.index(blocks.len() + 1), block);
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    vec(edit(), 0..5)
}

fn edited(base: &Document, edits: Vec<Edit>) -> Vec<Value> {
    let mut blocks = blocks(base);
    for edit in edits {
        apply(&mut blocks, edit);
    }
    blocks
}

fn document(blocks: &[Value], font: Option<u8>) -> Document {
    let mut document = json!({"type": "doc", "content": blocks});
    if let Some(font) = font {
        document["attrs"] = json!({"font": font, "lang": "ko"});
    }
    Document::from_value(&document).expect("a document")
}

fn font() -> impl Strategy<Value = Option<u8>> {
    prop::option::weighted(0.3, 0_u8..3)
}

fn any_document() -> impl Strategy<Value = Document> {
    (vec(block(), 0..10), font()).prop_map(|(blocks, font)| document(&blocks, font))
}

/// A base and what two sides made of it with some edits each.
fn three() -> impl Strategy<Value = [Document; 3]> {
    (any_document(), (edits(), font()), (edits(), font())).prop_map(|(base, ours, theirs)| {
        let [ours, theirs] =
            [ours, theirs].map(|(edits, font)| document(&edited(&base, edits), font));
        [base, ours, theirs]
    })
}

fn blocks(document: &Document) -> Vec<Value> {
    document.to_value()["content"].as_array().cloned().unwrap_or_default()
}

fn is_filler(block: &Value) -> bool {
    *block == json!({"type": "paragraph"}) || *block == json!({"type": "horizontalRule"})
}

/// The letters of a text in an order of their own, without white space.
fn letters(document: &Document) -> Vec<char> {
    let mut letters: Vec<char> = document.block_texts().concat().chars().collect();
    letters.retain(|c| !c.is_whitespace());
    letters.sort_unstable();
    letters
}

fn words(document: &Document) -> HashSet<String> {
    let texts = document.block_texts();
    texts.iter().flat_map(|text| text.split_whitespace()).map(ToOwned::to_owned).collect()
}

const POLICIES: [OnOverlap; 4] =
    [OnOverlap::Fail, OnOverlap::KeepBoth, OnOverlap::Ours, OnOverlap::Theirs];

proptest! {
    #[test]
    fn a_side_that_did_nothing_yields(base in any_document(), x in any_document()) {
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
    fn additions_that_are_saved_again_change_nothing(
        base in vec(block(), 0..10),
        ours in vec(addition(), 0..5),
        theirs in vec(addition(), 0..5),
    ) {
        // Every block is one of a kind, as the sentences of people are.
        let mut number = 0;
        let mut distinct = |block: Value| {
            number += 1;
            let mut block = if is_filler(&block) { paragraph("밤") } else { block };
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
    fn the_sides_are_symmetric_but_for_order([base, ours, theirs] in three()) {
        let one = merge3(&base, &ours, &theirs);
        let other = merge3(&base, &theirs, &ours);
        let turned: Vec<_> = other
            .overlaps
            .into_iter()
            .map(|o| Overlap { ours: o.theirs.clone(), theirs: o.ours.clone(), ..o })
            .collect();
        prop_assert_eq!(&one.overlaps, &turned);
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
    fn no_word_that_a_side_added_is_lost_and_none_is_made_up([base, ours, theirs] in three()) {
        let merged = words(&merge3(&base, &ours, &theirs).document);
        let [before, ours, theirs] = [&base, &ours, &theirs].map(words);
        for word in ours.union(&theirs).filter(|word| !before.contains(*word)) {
            prop_assert!(merged.contains(word), "{word}");
        }
        prop_assert!(merged.iter().all(|word| ours.contains(word) || theirs.contains(word)));
    }

    #[test]
    fn what_is_appended_stands_at_the_end(
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
        // Theirs is there in its order, and so is ours when they share nothing.
        let mut rest = merged[kept..].iter();
        prop_assert!(theirs.iter().all(|block| rest.any(|other| other == block)));
    }

    #[test]
    fn the_overlaps_are_ascending_and_lie_in_the_documents([base, ours, theirs] in three()) {
        let merged = merge3(&base, &ours, &theirs);
        let all = |get: fn(&Overlap) -> &Range<usize>, document: &Document| {
            let ranges: Vec<_> = merged.overlaps.iter().map(get).collect();
            assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
            assert!(ranges.iter().all(|range| range.end <= blocks(document).len()));
        };
        all(|overlap| &overlap.base, &base);
        all(|overlap| &overlap.ours, &ours);
        all(|overlap| &overlap.theirs, &theirs);
    }

    #[test]
    fn the_result_is_a_document([base, ours, theirs] in three()) {
        for policy in POLICIES {
            let merged = merge3_with(&base, &ours, &theirs, policy).document;
            prop_assert_eq!(merged.check(&DocumentLimits::default()), Ok(()));
        }
    }

    #[test]
    fn any_objects_at_all_are_merged(documents in prop::array::uniform3(
        prop::sample::select(vec![
            "{}", r#"{"content":3}"#, r#"{"content":[1,"a",null,[]]}"#, r#"{"\udc00":1}"#,
            r#"{"type":"doc","attrs":3,"content":[]}"#, r#"{"attrs":{"\ud800":"\ud800"}}"#,
            r#"{"content":[{"type":"paragraph"},{"type":3},{"a":"\ud800"}],"attrs":null}"#,
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
