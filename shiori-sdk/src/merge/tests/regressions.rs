//! Edits that an earlier version of the merge combined into a wrong or an invalid document. Each
//! test shows the correct result. [`merged`] checks that it is valid and that repeating the merge
//! changes nothing.

use super::{judge::schema, *};

const POLICIES: [OnOverlap; 3] = [OnOverlap::KeepBoth, OnOverlap::Ours, OnOverlap::Theirs];

/// The blocks of the merged document, and the kinds of its overlaps.
#[track_caller]
fn merged(base: &Document, ours: &Document, theirs: &Document) -> (Value, Vec<OverlapKind>) {
    for side in [base, ours, theirs] {
        assert_eq!(schema::refusal(&side.to_value()), None);
    }
    for policy in POLICIES {
        let document = merge3_with(base, ours, theirs, policy).document;
        assert_eq!(schema::refusal(&document.to_value()), None, "{policy:?}");
    }
    let merged = merge3(base, ours, theirs);
    if merged.overlaps.is_empty() {
        for again in [
            merge3(base, ours, &merged.document),
            merge3(base, &merged.document, theirs),
            merge3(base, &merged.document, ours),
            merge3(base, theirs, &merged.document),
        ] {
            assert_eq!(again.document, merged.document);
            assert_eq!(again.overlaps, []);
        }
    }
    let kinds = merged.overlaps.iter().map(|overlap| overlap.kind).collect();
    (merged.document.to_value()["content"].clone(), kinds)
}

/// Merges without an overlap, in both orders of the sides.
#[track_caller]
fn assert_merged(base: &[Value], ours: &[Value], theirs: &[Value], expected: &[Value]) {
    let [base, ours, theirs] = [base, ours, theirs].map(blocks);
    for (ours, theirs) in [(&ours, &theirs), (&theirs, &ours)] {
        let (content, overlaps) = merged(&base, ours, theirs);
        assert_eq!(content, Value::Array(expected.to_vec()));
        assert_eq!(overlaps, []);
    }
}

/// Merges paragraphs without an overlap, in both orders of the sides.
#[track_caller]
fn assert_lines(base: &[&str], ours: &[&str], theirs: &[&str], expected: &[&str]) {
    let [base, ours, theirs, expected] = [base, ours, theirs, expected]
        .map(|lines| lines.iter().map(|line| p(line)).collect::<Vec<_>>());
    assert_merged(&base, &ours, &theirs, &expected);
}

fn p(words: &str) -> Value {
    if words.is_empty() { json!({"type": "paragraph"}) } else { paragraph(&[text(words)]) }
}

fn rule() -> Value {
    json!({"type": "horizontalRule"})
}

fn table(rows: &[&[&str]]) -> Value {
    let cell = |words: &&str| json!({"type": "tableCell", "content": [p(words)]});
    let row = |cells: &&[&str]| json!({"type": "tableRow", "content": cells.iter().map(cell).collect::<Vec<_>>()});
    json!({"type": "table", "content": rows.iter().map(row).collect::<Vec<_>>()})
}

fn details(summary: &str, content: &str) -> Value {
    json!({"type": "details", "content": [
        {"type": "detailsSummary", "content": [text(summary)]},
        {"type": "detailsContent", "content": [p(content)]},
    ]})
}

#[test]
fn a_document_emptied_by_both_sides_together_keeps_an_empty_paragraph() {
    assert_merged(&[p("하나"), rule()], &[p("하나")], &[rule()], &[p("")]);
}

#[test]
fn a_list_or_table_emptied_by_both_sides_together_is_removed() {
    let items = |words: &[&str]| list(&words.iter().map(|w| item(&[p(w)])).collect::<Vec<_>>());
    assert_merged(
        &[p("앞"), items(&["하나", "둘"])],
        &[p("앞"), items(&["하나"])],
        &[p("앞"), items(&["둘"])],
        &[p("앞")],
    );
    assert_merged(
        &[table(&[&["하나"], &["둘"]])],
        &[table(&[&["하나"]])],
        &[table(&[&["둘"]])],
        &[p("")],
    );
}

#[test]
fn a_paragraph_split_by_both_sides_becomes_three() {
    assert_lines(
        &["하나 둘 셋 넷 다섯 여섯"],
        &["하나 둘 셋 넷 다섯", "여섯"],
        &["하나 둘 셋 넷", "다섯 여섯"],
        &["하나 둘 셋 넷", "다섯", "여섯"],
    );
}

#[test]
fn a_word_inserted_after_a_split_is_in_the_second_paragraph() {
    assert_lines(
        &["비가 왔다. 우산이 없었다."],
        &["비가 왔다.", "우산이 없었다."],
        &["비가 왔다. 우산이 하나도 없었다."],
        &["비가 왔다.", "우산이 하나도 없었다."],
    );
}

#[test]
fn a_word_deleted_after_a_split_stays_deleted() {
    assert_lines(
        &["비가 왔다. 우산이 하나도 없었다."],
        &["비가 왔다.", "우산이 하나도 없었다."],
        &["비가 왔다. 우산이 없었다."],
        &["비가 왔다.", "우산이 없었다."],
    );
}

#[test]
fn a_paragraph_joined_by_one_side_and_deleted_by_the_other_is_removed_or_overlaps() {
    let base = blocks(&[p("비가 왔다."), p("우산이 없었다.")]);
    let joined = blocks(&[p("비가 왔다. 우산이 없었다.")]);
    let deleted = blocks(&[p("비가 왔다.")]);
    for (ours, theirs) in [(&joined, &deleted), (&deleted, &joined)] {
        let (content, overlaps) = merged(&base, ours, theirs);
        assert!(!overlaps.is_empty() || content == json!([p("비가 왔다.")]), "{content}");
    }
}

#[test]
fn only_one_of_two_exclusive_marks_is_kept() {
    let word = |mark: &str| blocks(&[paragraph(&[marked("비", json!([{"type": mark}]))])]);
    let base = blocks(&[p("비")]);
    let (content, overlaps) = merged(&base, &word("bold"), &word("code"));
    assert_eq!(content[0]["content"], json!([marked("비", json!([{"type": "bold"}]))]));
    assert_eq!(overlaps, [OverlapKind::Marks]);
    let theirs = merge3_with(&base, &word("bold"), &word("code"), OnOverlap::Theirs);
    assert_eq!(theirs.document, word("code"));
}

#[test]
fn a_summary_changed_by_both_sides_remains_one_summary() {
    assert_merged(
        &[details("비 오는 월요일 아침", "글")],
        &[details("큰비 오는 월요일 아침", "글")],
        &[details("비 오는 월요일 저녁", "글")],
        &[details("큰비 오는 월요일 저녁", "글")],
    );
    let three = ["월요일", "비", "눈"].map(|summary| blocks(&[details(summary, "글")]));
    let (content, overlaps) = merged(&three[0], &three[1], &three[2]);
    assert_eq!(content, json!([details("눈 비", "글")]));
    assert_eq!(overlaps, [OverlapKind::Text]);
}

#[test]
fn a_block_moved_by_both_sides_occurs_once_or_overlaps() {
    let [base, ours, theirs] =
        [["가", "나", "다"], ["나", "가", "다"], ["나", "다", "가"]].map(|lines| doc(&lines));
    for (ours, theirs) in [(&ours, &theirs), (&theirs, &ours)] {
        let (content, overlaps) = merged(&base, ours, theirs);
        let count = content.as_array().expect("blocks").iter().filter(|b| **b == p("가")).count();
        assert!(count == 1 || !overlaps.is_empty(), "{content}");
    }
}

#[test]
fn words_of_scripts_without_spaces_are_merged_one_by_one() {
    assert_lines(
        &["今日は雨が降った。傘がなかった。友達とご飯を食べた。"],
        &["今日は雪が降った。傘がなかった。友達とご飯を食べた。"],
        &["今日は雨が降った。傘がなかった。友達とパンを食べた。"],
        &["今日は雪が降った。傘がなかった。友達とパンを食べた。"],
    );
    assert_lines(
        &["비가 왔다.우산이 없었다.친구와 밥을 먹었다."],
        &["비가 그쳤다.우산이 없었다.친구와 밥을 먹었다."],
        &["비가 왔다.우산이 없었다.동생과 밥을 먹었다."],
        &["비가 그쳤다.우산이 없었다.동생과 밥을 먹었다."],
    );
}

#[test]
fn canonically_equivalent_text_is_equal_and_kept_byte_for_byte() {
    use unicode_normalization::UnicodeNormalization as _;

    let base = "비가 많이 왔다. 우산이 없었다.";
    let decomposed: String = base.nfd().collect();
    let [base, ours, theirs] =
        [base, &decomposed, "비가 많이 왔다. 우산이 있었다."].map(|line| doc(&[line]));
    let merged = merge3(&base, &ours, &theirs);
    assert_eq!(merged.overlaps, []);
    // If one side changed only the spelling of a block, the other side's bytes are used.
    assert_eq!(merged.document, theirs);
    assert_eq!(merge3(&base, &ours, &base).document, ours);

    // The same holds for each word within a block that both changed.
    let ours: String = "오늘은 비가 많이 왔다. 우산이 없었다.".nfd().collect();
    let merged = merge3(&base, &doc(&[&ours]), &theirs);
    assert_eq!(merged.overlaps, []);
    let expected = "오늘은 비가 많이 왔다. 우산이 ".nfd().collect::<String>() + "있었다.";
    assert_eq!(merged.document.block_texts(), [expected]);
}

#[test]
fn rows_and_columns_are_merged_as_a_grid() {
    let base = table(&[&["가", "나"], &["다", "라"]]);
    assert_merged(
        std::slice::from_ref(&base),
        &[table(&[&["가", "나", "새"], &["다", "라", "열"]])],
        &[table(&[&["가", "나"], &["다", "라"], &["아래", "행"]])],
        &[table(&[&["가", "나", "새"], &["다", "라", "열"], &["아래", "행", ""]])],
    );
    // One side wrote into a new row, or a cell, of the column that the other removed.
    let without_column = blocks(&[table(&[&["가"], &["다"]])]);
    for other in [
        table(&[&["가", "나"], &["다", "라"], &["아래", "행"]]),
        table(&[&["가", "나"], &["다", "라고"]]),
    ] {
        let (_, overlaps) =
            merged(&blocks(std::slice::from_ref(&base)), &without_column, &blocks(&[other]));
        assert_eq!(overlaps, [OverlapKind::Nodes]);
    }
    assert_merged(
        std::slice::from_ref(&base),
        &[table(&[&["가"], &["다"]])],
        &[table(&[&["가", "나"], &["다고", "라"]])],
        &[table(&[&["가"], &["다고"]])],
    );
}

#[test]
fn an_empty_paragraph_can_be_aligned_by_one_side_and_filled_by_the_other() {
    let aligned = |mut block: Value| {
        block["attrs"] = json!({"textAlign": "center"});
        block
    };
    assert_merged(&[p("")], &[aligned(p(""))], &[p("비")], &[aligned(p("비"))]);
}

#[test]
fn a_repeated_merge_duplicates_no_words() {
    #[track_caller]
    fn assert_stable(base: &[Value], ours: &[Value], theirs: &[Value], expected: &[&str]) {
        let [base, ours, theirs] = [base, ours, theirs].map(blocks);
        let once = merge3(&base, &ours, &theirs);
        assert_eq!(once.document.block_texts(), expected);
        assert_eq!(once.overlaps, []);
        for side in [&ours, &theirs] {
            let again = merge3(&base, side, &once.document);
            assert_eq!(again.document, once.document);
            assert_eq!(again.overlaps, []);
        }
    }
    assert_stable(
        &[p("점심은 국수")],
        &[p("점심은 냉면")],
        &[p("점심은 국수 그리고 커피")],
        &["점심은 냉면 그리고 커피"],
    );
    // The other side inserted a word that was replaced.
    assert_stable(
        &[p("국수 먹고 산책했다."), p("잤다.")],
        &[p("냉면 먹고 산책했다."), p("잤다.")],
        &[p("국수 먹고 산책했다."), p("잤다."), p("내일은 국수")],
        &["냉면 먹고 산책했다.", "잤다.", "내일은 국수"],
    );
    // All words of a block were replaced, and the other side joined it with the next.
    let title = |words: &str| json!({"type": "heading", "content": [text(words)]});
    assert_stable(
        &[p("비가 왔다."), title("산책"), p("편지"), p("늦잠")],
        &[p("눈이 내렸다."), title("산책"), p("편지"), p("늦잠")],
        &[p("비가 왔다. 산책"), p("편지"), p("또 비가"), p("늦잠")],
        &["눈이 내렸다. 산책", "편지", "또 비가", "늦잠"],
    );
}
