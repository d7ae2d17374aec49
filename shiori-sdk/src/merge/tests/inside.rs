//! Changes of both sides inside one block.

use super::*;

fn task(checked: bool, words: &str) -> Value {
    let content = [paragraph(&[text(words)])];
    json!({"type": "taskItem", "attrs": {"checked": checked}, "content": content})
}

/// Merges documents of one block without an overlap.
#[track_caller]
fn assert_block(base: Value, ours: Value, theirs: Value, expected: Value) {
    let merged = merge3(&blocks(&[base]), &blocks(&[ours]), &blocks(&[theirs]));
    assert_eq!(merged.document.to_value()["content"], Value::Array(vec![expected]));
    assert_eq!(merged.overlaps, []);
}

/// Merges documents of one paragraph without an overlap.
#[track_caller]
fn assert_words(base: &str, ours: &str, theirs: &str, expected: &str) {
    assert_clean(&[base], &[ours], &[theirs], &[expected]);
}

#[test]
fn changes_of_different_words_of_one_paragraph_are_both_applied() {
    assert_words(
        "아침에 비가 왔다. 우산이 없어서 뛰었다.",
        "아침에 큰비가 왔다. 우산이 없어서 뛰었다.",
        "아침에 비가 왔다. 우산이 없어서 버스를 탔다.",
        "아침에 큰비가 왔다. 우산이 없어서 버스를 탔다.",
    );
    assert_words(
        "the qiuck brown fox",
        "the quick brown fox",
        "the qiuck red fox",
        "the quick red fox",
    );
    // One side removed a word, the other added one.
    assert_words(
        "오늘은 정말 좋은 날",
        "오늘은 좋은 날",
        "오늘은 정말 좋은 봄날",
        "오늘은 좋은 봄날",
    );
    // A full stop is not part of the word before it.
    assert_words("비가 왔다", "비가 왔다.", "비가 내렸다", "비가 내렸다.");
}

#[test]
fn words_inserted_at_one_place_are_both_kept_theirs_first() {
    assert_words(
        "비가 왔다.",
        "비가 왔다. 추웠다.",
        "비가 왔다. 우산을 샀다.",
        "비가 왔다. 우산을 샀다. 추웠다.",
    );
    assert_words("우유 콩", "우유 빵 콩", "우유 떡 콩", "우유 떡 빵 콩");
    assert_words("산책", "긴 산책", "밤 산책", "밤 긴 산책");
    // The merge adds the space between the two words.
    assert_words("좋다 (", "좋다 (나", "좋다 (너", "좋다 (너 나");
    // An insertion that continues the word before it stays there.
    assert_words("비가 왔다", "비가 왔다.", "비가 왔다 그리고", "비가 왔다. 그리고");
    // Saved again after a lost response.
    assert_words(
        "비가 왔다.",
        "비가 왔다. 추웠다.",
        "비가 왔다. 추웠다. 잤다.",
        "비가 왔다. 추웠다. 잤다.",
    );
}

#[test]
fn words_can_be_corrected_by_one_side_and_made_bold_by_the_other() {
    let bold = || json!([{"type": "bold"}]);
    // Elsewhere in the paragraph.
    assert_block(
        paragraph(&[text("떡뽁이를 먹고 산책했다")]),
        paragraph(&[text("떡뽁이를 먹고 "), marked("산책했다", bold())]),
        paragraph(&[text("떡볶이를 먹고 산책했다")]),
        paragraph(&[text("떡볶이를 먹고 "), marked("산책했다", bold())]),
    );
    // In the same word: text and marks are merged separately.
    for swap in [false, true] {
        let bolded = paragraph(&[marked("떡뽁이를", bold()), text(" 먹고 산책했다")]);
        let fixed = paragraph(&[text("매운 떡볶이를 먹고 산책했다")]);
        let (ours, theirs) = if swap { (fixed, bolded) } else { (bolded, fixed) };
        assert_block(
            paragraph(&[text("떡뽁이를 먹고 산책했다")]),
            ours,
            theirs,
            paragraph(&[marked("매운 떡볶이를", bold()), text(" 먹고 산책했다")]),
        );
    }
    // Each side added a mark to the same word.
    assert_block(
        paragraph(&[text("비가 왔다")]),
        paragraph(&[text("비가 "), marked("왔다", bold())]),
        paragraph(&[text("비가 "), marked("왔다", json!([{"type": "italic"}]))]),
        paragraph(&[text("비가 "), marked("왔다", json!([{"type": "italic"}, {"type": "bold"}]))]),
    );
}

#[test]
fn links_are_kept_and_overlap_if_their_targets_differ() {
    let link = |href: &str| json!([{"type": "link", "attrs": {"href": href, "x-seen": 1.50}}]);
    let with = |words: &str, href, tail: &str| {
        paragraph(&[text("어제 "), marked(words, link(href)), text(tail)])
    };
    assert_block(
        with("그 영화를", "a", " 봤다"),
        with("그 영화를", "a", " 다시 봤다"),
        with("그 긴 영화를", "a", " 봤다"),
        with("그 긴 영화를", "a", " 다시 봤다"),
    );

    let base = blocks(&[with("그 영화를", "a", " 봤다")]);
    let ours = blocks(&[with("그 영화를", "b", " 봤다")]);
    let theirs = blocks(&[with("그 영화를", "c", " 봤다 또")]);
    let merged = merge3(&base, &ours, &theirs);
    assert_eq!(merged.document, blocks(&[with("그 영화를", "b", " 봤다 또")]));
    let path = vec![Step { base: 0, ours: 0, theirs: 0 }];
    assert_eq!(
        merged.overlaps,
        [Overlap { path, ..Overlap::of(OverlapKind::Marks, 3..8, 3..8, 3..8) }]
    );
    let merged = merge3_with(&base, &ours, &theirs, OnOverlap::Theirs);
    assert_eq!(merged.document, theirs);
}

#[test]
fn a_task_can_be_ticked_by_one_side_and_edited_by_the_other() {
    let tasks = |items: &[Value]| json!({"type": "taskList", "content": items});
    assert_block(
        tasks(&[task(false, "장 보기"), task(false, "편지")]),
        tasks(&[task(true, "장 보기"), task(false, "편지")]),
        tasks(&[task(false, "시장에서 장 보기"), task(false, "편지")]),
        tasks(&[task(true, "시장에서 장 보기"), task(false, "편지")]),
    );
}

#[test]
fn items_added_to_a_nested_list_are_both_kept() {
    let shopping = |milk: &[&str]| {
        let kinds: Vec<_> = milk.iter().map(|kind| item(&[paragraph(&[text(kind)])])).collect();
        list(&[
            item(&[paragraph(&[text("우유")]), list(&kinds)]),
            item(&[paragraph(&[text("빵")])]),
        ])
    };
    assert_block(
        shopping(&["저지방"]),
        shopping(&["저지방", "두 개"]),
        shopping(&["저지방", "서울"]),
        shopping(&["저지방", "서울", "두 개"]),
    );
    // A list of which both sides together removed all items is removed.
    let merged = merge3(
        &blocks(&[shopping(&["저지방", "두 개"])]),
        &blocks(&[shopping(&["저지방"])]),
        &blocks(&[shopping(&["두 개"])]),
    );
    assert_eq!(
        merged.document,
        blocks(&[list(&[item(&[paragraph(&[text("우유")])]), item(&[paragraph(&[text("빵")])])])])
    );
}

#[test]
fn a_word_changed_by_both_sides_overlaps_at_its_place() {
    let base =
        blocks(&[list(&[item(&[paragraph(&[text("오늘 점심은 회사 앞에서 국수 😀 먹음")])])])]);
    let with = |dish: &str| {
        let words = format!("오늘 점심은 회사 앞에서 {dish} 😀 먹음");
        blocks(&[text_block(), list(&[item(&[paragraph(&[text(&words)])])])])
    };
    let (ours, theirs) = (with("칼국수"), with("김밥"));
    let merge = |on_overlap| merge3_with(&base, &ours, &theirs, on_overlap);
    let both = merge(OnOverlap::KeepBoth);
    assert_eq!(both.document, with("김밥 칼국수"));
    let first = Step { base: 0, ours: 1, theirs: 1 };
    let inner = Step { base: 0, ours: 0, theirs: 0 };
    assert_eq!(
        both.overlaps,
        [Overlap {
            path: vec![first, inner, inner],
            ..Overlap::of(OverlapKind::Text, 14..16, 14..17, 14..16)
        }]
    );
    assert_eq!(merge(OnOverlap::Ours).document, ours);
    assert_eq!(merge(OnOverlap::Theirs).document, theirs);
    assert_eq!(merge(OnOverlap::Fail).overlaps, both.overlaps);
}

fn text_block() -> Value {
    json!({"type": "heading", "attrs": {"level": 1}, "content": [text("화요일")]})
}

#[test]
fn a_phrase_rewritten_by_both_sides_is_kept_whole_in_both_versions() {
    let merged = merge3(
        &doc(&["집에 오는 길에 서점에서 책을 샀고 비를 맞았다"]),
        &doc(&["집에 오는 길에 시장에서 귤을 샀고 비를 맞았다"]),
        &doc(&["집에 오는 길에 문구점에서 공책을 샀고 비를 맞았다"]),
    );
    assert_eq!(
        merged.document.block_texts(),
        ["집에 오는 길에 문구점에서 공책을 시장에서 귤을 샀고 비를 맞았다"]
    );
    assert_eq!(merged.overlaps.len(), 1);
}

#[test]
fn a_paragraph_rewritten_by_both_sides_is_kept_in_both_versions() {
    let merged = merge3(
        &doc(&["점심은 국수를 먹었다"]),
        &doc(&["점심은 김밥을 샀다"]),
        &doc(&["점심은 빵으로 때웠다"]),
    );
    assert_eq!(merged.document.block_texts(), ["점심은 빵으로 때웠다", "점심은 김밥을 샀다"]);
    assert_eq!(merged.overlaps, [overlap(0..1, 0..1, 0..1)]);
}

#[test]
fn code_is_merged_by_lines() {
    let code = |language: &str, lines: &[&str]| json!({"type": "codeBlock", "attrs": {"language": language}, "content": [text(&lines.join("\n"))]});
    assert_block(
        code("py", &["def f():", "    a = 1", "", "    return a"]),
        code("python", &["def f():", "    a = 2", "", "    return a"]),
        code("py", &["def f():", "    a = 1", "", "    b = a + 1", "    return b"]),
        code("python", &["def f():", "    a = 2", "", "    b = a + 1", "    return b"]),
    );
    assert_block(
        code("sh", &["ls"]),
        code("sh", &["ls", "pwd"]),
        code("sh", &["ls", "whoami"]),
        code("sh", &["ls", "whoami", "pwd"]),
    );
}

#[test]
fn a_paragraph_can_be_made_a_heading_by_one_side_and_edited_by_the_other() {
    assert_block(
        paragraph(&[text("비 오는 날")]),
        json!({"type": "heading", "attrs": {"level": 2}, "content": [text("비 오는 날")]}),
        paragraph(&[text("비 오는 봄날")]),
        json!({"type": "heading", "attrs": {"level": 2}, "content": [text("비 오는 봄날")]}),
    );
}

#[test]
fn a_merged_row_keeps_its_number_of_cells() {
    let cell = |words: &str| json!({"type": "tableCell", "content": [paragraph(&[text(words)])]});
    let table = |rows: &[[&str; 2]]| {
        let rows = rows.iter().map(|cells| {
            json!({"type": "tableRow", "content": cells.iter().map(|words| cell(words)).collect::<Vec<_>>()})
        });
        blocks(&[json!({"type": "table", "content": rows.collect::<Vec<_>>()})])
    };
    let base = table(&[["월", "비"], ["화", "눈"]]);
    let merged = merge3(
        &base,
        &table(&[["월요일", "비"], ["화", "눈"]]),
        &table(&[["월", "큰비"], ["화", "눈"]]),
    );
    assert_eq!(merged.document, table(&[["월요일", "큰비"], ["화", "눈"]]));
    assert_eq!(merged.overlaps, []);
    // A cell with one paragraph, which both sides changed, contains both versions.
    let merged = merge3(
        &base,
        &table(&[["월", "안개"], ["화", "눈"]]),
        &table(&[["월", "맑음"], ["화", "눈"]]),
    );
    assert_eq!(merged.document.block_texts(), ["월", "맑음", "안개", "화", "눈"]);
    assert_eq!(merged.overlaps[0].path.len(), 3);
}

#[test]
fn a_block_is_kept_in_both_versions_if_its_unknown_attribute_overlaps() {
    let note = |note: &str, level: u8| json!({"type": "x-note", "attrs": {"note": note, "level": level}, "content": [paragraph(&[text("밤")])]});
    let merge = |base, ours, theirs| merge3(&blocks(&[base]), &blocks(&[ours]), &blocks(&[theirs]));
    let merged = merge(note("", 1), note("나", 1), note("너", 1));
    assert_eq!(merged.document, blocks(&[note("너", 1), note("나", 1)]));
    assert_eq!(merged.overlaps, [overlap(0..1, 0..1, 0..1)]);
    // Of two numbers, ours is used.
    let merged = merge(note("", 1), note("나", 2), note("", 3));
    assert_eq!(merged.document, blocks(&[note("나", 2)]));
    assert_eq!((merged.overlaps.len(), merged.overlaps[0].kind), (1, OverlapKind::Fields));
    assert_eq!(merged.overlaps[0].path, [Step { base: 0, ours: 0, theirs: 0 }]);
}

#[test]
fn a_paragraph_edited_beside_a_new_one_is_recognised() {
    assert_clean(
        &["가", "비가 많이 왔다.", "다"],
        &["가", "날씨 이야기", "비가 정말 많이 왔다.", "다"],
        &["가", "비가 많이 왔다. 추웠다.", "다"],
        &["가", "날씨 이야기", "비가 정말 많이 왔다. 추웠다.", "다"],
    );
}

#[test]
fn unchanged_parts_of_a_block_are_kept_byte_for_byte() {
    let marked = r#"{ "text":"\uBE44\uac00 ","marks":[{"attrs":{"b":1.50,"a":1e2},"type":"x-mark"}],"type":"text"}"#;
    let image = r#"{"type":"image", "attrs":{"width":1.0}}"#;
    let document = |attrs: &str, words: &str, tail: &str| {
        from_json(&format!(
            r#"{{"content":[{{"zeta":2.0,"attrs":{attrs},"content":[{marked},{image},{{"type":"text","text":"{words}"}}{tail}],"type":"paragraph"}}],"type":"doc"}}"#
        ))
    };
    let line_break = r#",{"type":"hardBreak"}"#;
    let merged = merge3(
        &document(r#"{"z":1.0}"#, " 온다 온다", ""),
        &document(r#"{"z":1.00}"#, " 온다 또 온다", ""),
        &document(r#"{"z":1.0}"#, " 온다 온다", line_break),
    );
    assert_eq!(merged.overlaps, []);
    let expected = document(r#"{"z":1.00}"#, " 온다 또 온다", line_break);
    assert_eq!(merged.document.as_json(), expected.as_json());
}

#[test]
fn nodes_beyond_the_maximum_depth_overlap_as_a_whole() {
    let nested = |depth: usize, words: &str| {
        let open = r#"{"type":"blockquote","content":["#.repeat(depth);
        let close = "]}".repeat(depth);
        let text =
            format!(r#"{{"type":"paragraph","content":[{{"type":"text","text":"{words}"}}]}}"#);
        let json = format!(r#"{{"type":"doc","content":[{open}{text}{close}]}}"#);
        serde_json::from_str::<Document>(&json).expect("an object")
    };
    let [base, ours, theirs] = ["비가 왔다", "비가 왔다.", "큰비가 왔다"];
    for depth in [0, 10] {
        let merged = merge3(&nested(depth, base), &nested(depth, ours), &nested(depth, theirs));
        assert_eq!(merged.document, nested(depth, "큰비가 왔다."));
        assert_eq!(merged.overlaps, []);
    }
    // The maximum depth of a document: two levels of JSON for each level of nodes.
    for depth in [62, 188] {
        let merged = merge3(&nested(depth, base), &nested(depth, ours), &nested(depth, theirs));
        assert_eq!(merged.overlaps.len(), 1);
        assert_eq!(merged.overlaps[0].kind, OverlapKind::Nodes);
        assert_eq!(merged.document.block_texts(), [theirs, ours]);
    }
}

/// Takes about a second in a debug build; a search without a bound would take minutes.
#[test]
fn a_huge_paragraph_is_merged() {
    let paragraph = |word: &dyn Fn(usize) -> usize| {
        let words: Vec<String> = (0..20_000).map(|i| word(i).to_string()).collect();
        Document::from_text(&words.join(" "))
    };
    let base = paragraph(&|i| i);
    let some = paragraph(&|i| if i % 100 == 1 { i + 20_000 } else { i });
    let others = paragraph(&|i| if i % 100 == 51 { i + 20_000 } else { i });
    let merged = merge3(&base, &some, &others);
    assert_eq!(merged.document, paragraph(&|i| if i % 50 == 1 { i + 20_000 } else { i }));
    assert_eq!(merged.overlaps, []);

    let (turned, dealt) = (paragraph(&|i| 19_999 - i), paragraph(&|i| i * 7_919 % 20_000));
    let merged = merge3(&base, &turned, &dealt);
    assert_eq!(merged.document.block_texts(), [dealt.block_texts(), turned.block_texts()].concat());
    assert_eq!(merged.overlaps, [overlap(0..1, 0..1, 0..1)]);
}
