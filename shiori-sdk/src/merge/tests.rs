//! Examples of the documented rules. The modules contain more examples, and properties checked on
//! generated documents.

mod inside;
pub(crate) mod judge;
mod laws;
mod regressions;

use std::ops::Range;

use serde_json::{Value, json};

use super::*;

/// A document of paragraphs; an empty string is an empty paragraph.
fn doc(paragraphs: &[&str]) -> Document {
    Document::from_text(&paragraphs.join("\n"))
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn marked(words: &str, marks: Value) -> Value {
    let mut node = text(words);
    node["marks"] = marks;
    node
}

fn paragraph(content: &[Value]) -> Value {
    json!({"type": "paragraph", "content": content})
}

fn blocks(blocks: &[Value]) -> Document {
    Document::from_value(&json!({"type": "doc", "content": blocks})).expect("a document")
}

fn item(content: &[Value]) -> Value {
    json!({"type": "listItem", "content": content})
}

fn list(items: &[Value]) -> Value {
    json!({"type": "bulletList", "content": items})
}

fn from_json(json: &str) -> Document {
    Document::from_json(json).expect("a document")
}

fn overlap(base: Range<usize>, ours: Range<usize>, theirs: Range<usize>) -> Overlap {
    Overlap::of(OverlapKind::Nodes, base, ours, theirs)
}

#[track_caller]
fn assert_clean(base: &[&str], ours: &[&str], theirs: &[&str], expected: &[&str]) {
    let merged = merge3(&doc(base), &doc(ours), &doc(theirs));
    assert_eq!(merged.document.to_value(), doc(expected).to_value());
    assert_eq!(merged.overlaps, []);
}

#[test]
fn changes_of_different_blocks_are_both_applied() {
    let base = ["아침", "점심", "저녁"];
    assert_clean(&base, &["늦은 아침", "점심", "저녁"], &["아침", "점심"], &["늦은 아침", "점심"]);
}

#[test]
fn changes_of_neighbouring_blocks_do_not_overlap() {
    assert_clean(
        &["아침", "점심"],
        &["늦은 아침", "점심"],
        &["아침", "국수"],
        &["늦은 아침", "국수"],
    );
    assert_clean(&["아침", "점심"], &["점심"], &["아침", "국수"], &["국수"]);
    // Theirs rewrote everything, block by block; ours inserted in between.
    assert_clean(
        &["아침", "점심"],
        &["아침", "간식", "점심"],
        &["빵", "국수"],
        &["빵", "간식", "국수"],
    );
    // Each side removed two blocks, one of them the same.
    assert_clean(&["가", "나", "다"], &["다"], &["가"], &[]);
}

#[test]
fn insertions_at_one_place_are_both_kept_theirs_first() {
    assert_clean(&["월요일"], &["월요일", "나"], &["월요일", "너"], &["월요일", "너", "나"]);
    assert_clean(&["월요일"], &["나", "월요일"], &["너", "월요일"], &["너", "나", "월요일"]);
    assert_clean(&[], &["나"], &["너"], &["너", "나"]);
}

#[test]
fn the_same_insertion_of_both_sides_is_kept_once() {
    assert_clean(&["장"], &["장", "우유"], &["장", "우유"], &["장", "우유"]);
    assert_clean(
        &["장"],
        &["장", "우유", "빵"],
        &["장", "우유", "콩"],
        &["장", "우유", "콩", "빵"],
    );
    // The same insertions in another order.
    assert_clean(&["장"], &["장", "빵", "우유"], &["장", "우유", "빵"], &["장", "우유", "빵"]);
    // Content that one side inserted twice is kept twice.
    assert_clean(&["장"], &["장", "우유", "우유"], &["장", "우유"], &["장", "우유", "우유"]);
}

#[test]
fn a_save_repeated_after_a_lost_response_adds_nothing() {
    // Ours was saved, its response was lost, and another device then edited the saved diary.
    let ours = ["비", "우산"];
    assert_clean(&["비"], &ours, &["비", "우산", "버스"], &["비", "우산", "버스"]);
    assert_clean(&["비"], &ours, &["큰비", "우산"], &["큰비", "우산"]);
    assert_clean(&["비"], &["우산", "비"], &["우산", "큰비", "버스"], &["우산", "큰비", "버스"]);
    assert_clean(&["비"], &["앞", "비", "뒤"], &["앞", "큰비", "뒤"], &["앞", "큰비", "뒤"]);
}

#[test]
fn empty_paragraphs_stay_with_their_text() {
    assert_clean(
        &["비"],
        &["비", "", "나", "", "다"],
        &["비", "", "너", "", "더"],
        &["비", "", "너", "", "더", "", "나", "", "다"],
    );
}

#[test]
fn different_changes_of_one_block_overlap() {
    let base = doc(&["아침", "점심", "저녁"]);
    let ours = doc(&["서문", "아침", "국수", "저녁"]);
    let theirs = doc(&["아침", "김밥", "저녁", "밤"]);
    let merge = |on_overlap| merge3_with(&base, &ours, &theirs, on_overlap);

    let both = merge3(&base, &ours, &theirs);
    assert_eq!(both.overlaps, [overlap(1..2, 2..3, 1..2)]);
    assert_eq!(both.document.block_texts(), ["서문", "아침", "김밥", "국수", "저녁", "밤"]);
    assert_eq!(
        merge(OnOverlap::Ours).document.block_texts(),
        ["서문", "아침", "국수", "저녁", "밤"]
    );
    assert_eq!(
        merge(OnOverlap::Theirs).document.block_texts(),
        ["서문", "아침", "김밥", "저녁", "밤"]
    );
    assert_eq!(merge(OnOverlap::Fail).overlaps, both.overlaps);
}

#[test]
fn a_block_removed_by_one_side_and_changed_by_the_other_is_kept() {
    let merged = merge3(&doc(&["가", "나"]), &doc(&["가"]), &doc(&["가", "나비"]));
    assert_eq!(merged.overlaps, [overlap(1..2, 1..1, 1..2)]);
    assert_eq!(merged.document.block_texts(), ["가", "나비"]);
}

#[test]
fn a_rewritten_range_overlaps_with_each_change_in_it() {
    let base = doc(&["가", "나", "다", "라", "마"]);
    let ours = doc(&["가", "나!", "다", "라!", "마"]);
    let theirs = doc(&["가", "새로 씀", "마"]);
    let merged = merge3(&base, &ours, &theirs);
    assert_eq!(merged.overlaps, [overlap(1..4, 1..4, 1..2)]);
    // "다", which theirs removed and ours did not change, is removed.
    assert_eq!(merged.document.block_texts(), ["가", "새로 씀", "나!", "라!", "마"]);
}

#[test]
fn an_insertion_beside_an_overlap_is_kept_by_each_policy() {
    let base = doc(&["가", "나"]);
    let ours = doc(&["앞", "가", "나!"]);
    let theirs = doc(&["새로", "씀", "다"]);
    let merged = merge3_with(&base, &ours, &theirs, OnOverlap::Theirs);
    assert_eq!(merged.document.block_texts(), ["앞", "새로", "씀", "다"]);
    assert_eq!(merged.overlaps, [overlap(0..2, 1..3, 0..3)]);
}

#[test]
fn kept_blocks_are_kept_byte_for_byte() {
    let callout =
        r#"{ "zeta":1.50, "type":"x-callout","attrs":{"b":1e2,"a":12345678901234567890123}}"#;
    let respelt =
        r#"{"type":"x-callout","zeta":1.5,"attrs":{"a":12345678901234567890123,"b":100.0}}"#;
    let paragraph =
        |text| format!(r#"{{"type":"paragraph","content":[{{"type":"text","text":"{text}"}}]}}"#);
    let document = |blocks: &[&str]| {
        from_json(&format!(r#"{{"type":"doc","content":[{}]}}"#, blocks.join(",")))
    };

    let base = document(&[callout, &paragraph("가")]);
    let ours = document(&[callout, &paragraph("가"), &paragraph("나")]);
    let theirs = document(&[callout, &paragraph("가!")]);
    let merged = merge3(&base, &ours, &theirs).document;
    assert!(merged.as_json().contains(callout), "{}", merged.as_json());

    // A block of which one side changed only the spelling counts as unchanged, but the new spelling
    // is used.
    for (our_callout, their_callout) in [(respelt, callout), (callout, respelt)] {
        let ours = document(&[our_callout, &paragraph("가"), &paragraph("나")]);
        let theirs = document(&[their_callout, &paragraph("가!")]);
        let merged = merge3(&base, &ours, &theirs);
        assert!(merged.document.as_json().contains(respelt), "{}", merged.document.as_json());
        assert_eq!(merged.overlaps, []);
    }
}

#[test]
fn fields_of_the_document_are_merged_one_by_one() {
    let document = |attrs: Value| {
        Document::from_value(&json!({"type": "doc", "attrs": attrs, "content": []})).expect("ok")
    };
    let base = document(json!({"font": "serif", "mood": "맑음", "draft": true}));
    let ours = document(json!({"font": "mono", "mood": "맑음", "draft": true, "pin": 1}));
    let theirs = document(json!({"font": "serif", "mood": "비"}));
    let merged = merge3(&base, &ours, &theirs);
    assert_eq!(merged.document, document(json!({"font": "mono", "mood": "비", "pin": 1})));
    assert_eq!(merged.overlaps, []);

    let theirs = document(json!({"font": "hand", "mood": "비", "draft": true}));
    for (on_overlap, font) in [(OnOverlap::KeepBoth, "mono"), (OnOverlap::Theirs, "hand")] {
        let merged = merge3_with(&base, &ours, &theirs, on_overlap);
        let expected = json!({"font": font, "mood": "비", "draft": true, "pin": 1});
        assert_eq!(merged.document, document(expected));
        assert_eq!(merged.overlaps, [Overlap::BESIDE_BLOCKS]);
    }
}

#[test]
fn a_document_without_content_field_is_not_given_one() {
    let bare = from_json(r#"{"type":"doc"}"#);
    let empty = Document::empty();
    assert_eq!(merge3(&empty, &bare, &empty).document, bare);
    assert_eq!(merge3(&bare, &bare, &empty).document, empty);
    assert_eq!(merge3(&bare, &doc(&["가"]), &bare).document, doc(&["가"]));
}

#[test]
fn values_without_document_structure_overlap_as_a_whole() {
    let odd = |json: &str| serde_json::from_str::<Document>(json).expect("an object");
    let base = odd(r#"{"type":"doc","content":3}"#);
    let ours = odd(r#"{"type":"doc","content":4}"#);
    let theirs = odd(r#"{"\ud800":1}"#);
    assert_eq!(merge3(&base, &ours, &base).document, ours);
    assert_eq!(merge3(&base, &base, &theirs).document, theirs);
    let merged = merge3(&base, &ours, &theirs);
    assert_eq!((merged.document, merged.overlaps.len()), (ours.clone(), 1));
    let merged = merge3_with(&base, &ours, &theirs, OnOverlap::Theirs);
    assert_eq!(merged.document, theirs);

    // Half a surrogate pair cannot be parsed into a tree; the block is kept unchanged.
    let half = r#"{"type":"text","text":"\udc00"}"#;
    let ours = odd(&format!(r#"{{"type":"doc","content":[{half}]}}"#));
    let merged = merge3(&odd(r#"{"type":"doc","content":[]}"#), &ours, &doc(&["가"]));
    assert!(merged.document.as_json().contains(half));
    assert_eq!(merged.overlaps, []);
}

/// Takes about a second in a debug build; a search without a bound would take minutes.
#[test]
fn ten_thousand_blocks_in_any_order_are_merged() {
    let lines = |line: &dyn Fn(usize) -> usize| {
        let lines: Vec<String> = (0..10_000).map(|i| format!("{}번째 줄", line(i))).collect();
        Document::from_text(&lines.join("\n"))
    };
    let base = lines(&|i| i);
    let reversed = lines(&|i| 9_999 - i);
    let dealt = lines(&|i| i * 7_919 % 10_000);
    let merged = merge3(&base, &reversed, &dealt);
    assert!(!merged.overlaps.is_empty());
    let mut texts = merged.document.block_texts();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 10_000);

    let rewritten = lines(&|i| i + 10_000);
    let merged = merge3(&base, &base, &rewritten);
    assert_eq!((merged.document, merged.overlaps), (rewritten, vec![]));
}
