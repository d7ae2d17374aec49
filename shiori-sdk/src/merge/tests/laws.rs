//! The laws of merging, on generated documents.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::types::DocumentLimits;

/// Few, so that documents repeat themselves and share blocks by chance.
const WORDS: [&str; 14] = [
    "비가",
    "왔다.",
    "우산을",
    "버스",
    "국수를",
    "먹었다",
    "산책",
    "늦잠",
    "편지",
    "그리고",
    "rain",
    "bus,",
    "again",
    "🌧",
];

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn paragraph(words: &str) -> Value {
    json!({"type": "paragraph", "content": [text(words)]})
}

fn phrase() -> impl Strategy<Value = String> {
    vec(prop::sample::select(WORDS.to_vec()), 1..5).prop_map(|words| words.join(" "))
}

fn marks() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(json!([])),
        1 => Just(json!([{"type": "bold"}])),
        1 => Just(json!([{"type": "italic"}])),
        1 => "[ab]".prop_map(|href| json!([{"type": "link", "attrs": {"href": href}}])),
        1 => Just(json!([{"type": "x-mark", "attrs": {"n": 1.5, "deep": [null]}}, {"type": "bold"}])),
    ]
}

/// What stands in a paragraph.
fn inline() -> impl Strategy<Value = Vec<Value>> {
    let node = prop_oneof![
        6 => (phrase(), marks()).prop_map(|(words, marks)| json!({
            "type": "text", "marks": marks, "text": format!("{words} "),
        })),
        1 => Just(json!({"type": "hardBreak"})),
        1 => Just(json!({"type": "mention", "attrs": {"id": "동생"}})),
    ];
    vec(node, 1..6).prop_map(joined)
}

/// As an editor has it: neighbours with the same marks are one, and no marks are not written.
fn joined(nodes: Vec<Value>) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    for mut node in nodes {
        if node["marks"].as_array().is_some_and(Vec::is_empty) {
            node.as_object_mut().expect("a node").remove("marks");
        }
        let words = node["text"].as_str().unwrap_or_default().to_owned();
        match joined.last_mut() {
            _ if node["type"] == "text" && words.is_empty() => {}
            Some(last) if node["type"] == "text" && is_joined(last, &node) => {
                last["text"] =
                    json!(format!("{}{words}", last["text"].as_str().unwrap_or_default()));
            }
            _ => joined.push(node),
        }
    }
    joined
}

fn is_joined(one: &Value, other: &Value) -> bool {
    one["type"] == "text" && other["type"] == "text" && one.get("marks") == other.get("marks")
}

fn listed(list: &str, items: Vec<Value>) -> Value {
    let mut node = json!({"type": list});
    node["content"] = Value::Array(items);
    node
}

/// A block of the kinds that an editor makes.
fn block() -> impl Strategy<Value = Value> {
    let item = (inline(), prop::option::weighted(0.3, vec(phrase(), 1..3))).prop_map(
        |(inline, nested)| {
            let nested = nested.map(|words| {
                let items = words
                    .iter()
                    .map(|words| json!({"type": "listItem", "content": [paragraph(words)]}));
                listed("bulletList", items.collect())
            });
            let inline = json!({"type": "paragraph", "content": inline});
            let content: Vec<Value> = [Some(inline), nested].into_iter().flatten().collect();
            json!({"type": "listItem", "content": content})
        },
    );
    let task = (phrase(), any::<bool>()).prop_map(|(words, checked)| {
        json!({
            "type": "taskItem", "attrs": {"checked": checked}, "content": [paragraph(&words)],
        })
    });
    let list = prop::sample::select(vec!["bulletList", "orderedList"]);
    let row = vec(phrase(), 2).prop_map(|cells| {
        let cells = cells.iter().map(|words| listed("tableCell", vec![paragraph(words)]));
        listed("tableRow", cells.collect())
    });
    prop_oneof![
        2 => Just(json!({"type": "paragraph"})),
        1 => Just(json!({"type": "horizontalRule"})),
        6 => inline().prop_map(|content| json!({"type": "paragraph", "content": content})),
        1 => (1..4, phrase()).prop_map(|(level, words)| {
            json!({"type": "heading", "attrs": {"level": level}, "content": [text(&words)]})
        }),
        2 => (list, vec(item, 1..4)).prop_map(|(list, items)| listed(list, items)),
        1 => vec(task, 1..4).prop_map(|items| listed("taskList", items)),
        1 => vec(inline(), 1..3).prop_map(|lines| {
            let lines = lines.into_iter().map(|inline| json!({"type": "paragraph", "content": inline}));
            listed("blockquote", lines.collect())
        }),
        1 => vec(phrase(), 1..4).prop_map(|lines| json!({
            "type": "codeBlock", "attrs": {"language": "sh"}, "content": [text(&lines.join("\n"))],
        })),
        1 => vec(row, 1..3).prop_map(|rows| listed("table", rows)),
        1 => (phrase(), any::<u32>()).prop_map(|(words, n)| {
            json!({"type": "x-callout", "zeta": n, "attrs": {"a": null}, "content": [paragraph(&words)]})
        }),
        1 => (phrase(), any::<u32>()).prop_map(|(words, n)| {
            json!({"type": "x-unknown", "zeta": {"words": words, "n": n}})
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
    /// In the text of one of the blocks or items.
    Words(Index, WordEdit),
    /// Makes an attribute another.
    Attribute(Index, u8),
    /// An item more, or one less, in one of the lists.
    AddItem(Index, Index, String),
    RemoveItem(Index, Index),
}

#[derive(Debug, Clone)]
enum WordEdit {
    Insert(Index, String),
    Change(Index, String),
    Remove(Index),
    Append(String),
    Mark(Index, Value),
}

fn addition() -> impl Strategy<Value = (Index, Vec<Value>)> {
    (any::<Index>(), vec(block(), 1..4))
}

/// A word that no base has.
fn new_word() -> impl Strategy<Value = String> {
    "[새헌][가-힣]{2}".prop_map(|word| word)
}

fn word_edit() -> impl Strategy<Value = WordEdit> {
    let at = any::<Index>;
    prop_oneof![
        (at(), new_word()).prop_map(|(at, word)| WordEdit::Insert(at, word)),
        (at(), new_word()).prop_map(|(at, word)| WordEdit::Change(at, word)),
        at().prop_map(WordEdit::Remove),
        (new_word(), new_word()).prop_map(|(one, two)| WordEdit::Append(format!(" {one} {two}."))),
        (at(), marks()).prop_map(|(at, marks)| WordEdit::Mark(at, marks)),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        2 => addition().prop_map(|(at, new)| Edit::Insert(at, new)),
        2 => vec(block(), 1..4).prop_map(Edit::Append),
        1 => (at(), block()).prop_map(|(at, new)| Edit::Change(at, new)),
        1 => (at(), 1_usize..4).prop_map(|(at, count)| Edit::Remove(at, count)),
        1 => (at(), at()).prop_map(|(from, to)| Edit::Move(from, to)),
        8 => (at(), word_edit()).prop_map(|(at, edit)| Edit::Words(at, edit)),
        1 => (at(), 0_u8..3).prop_map(|(at, value)| Edit::Attribute(at, value)),
        2 => (at(), at(), new_word()).prop_map(|(list, at, word)| Edit::AddItem(list, at, word)),
        1 => (at(), at()).prop_map(|(list, at)| Edit::RemoveItem(list, at)),
    ]
}

/// The nodes in these that are wanted, each once.
fn find(nodes: &mut [Value], is_wanted: fn(&Value) -> bool) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for node in nodes {
        if is_wanted(node) {
            found.push(node);
        } else if let Some(content) = node.get_mut("content").and_then(Value::as_array_mut) {
            found.extend(find(content, is_wanted));
        }
    }
    found
}

fn pick(mut found: Vec<&mut Value>, at: Index) -> Option<&mut Value> {
    if found.is_empty() { None } else { Some(found.swap_remove(at.index(found.len()))) }
}

fn apply(blocks: &mut Vec<Value>, edit: Edit) {
    let is_list =
        |node: &Value| matches!(node["content"][0]["type"].as_str(), Some("listItem" | "taskItem"));
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
        Edit::Words(at, edit) => {
            let found = find(blocks, |node| node["content"][0]["type"] == "text");
            if let Some(block) = pick(found, at) {
                edit_words(block["content"].as_array_mut().expect("text"), &edit);
            }
        }
        Edit::Attribute(at, value) => {
            let found = find(blocks, |node| {
                matches!(node["type"].as_str(), Some("heading" | "taskItem" | "codeBlock"))
            });
            if let Some(node) = pick(found, at) {
                match node["type"].as_str() {
                    Some("heading") => node["attrs"]["level"] = json!(value),
                    Some("taskItem") => node["attrs"]["checked"] = json!(value > 0),
                    _ => node["attrs"]["language"] = json!(format!("lang-{value}")),
                }
            }
        }
        Edit::AddItem(list, at, word) => {
            if let Some(list) = pick(find(blocks, is_list), list) {
                let items = list["content"].as_array_mut().expect("a list");
                let mut item = items[0].clone();
                item["content"] = json!([paragraph(&word)]);
                items.insert(at.index(items.len() + 1), item);
            }
        }
        Edit::RemoveItem(list, at) => {
            if let Some(list) = pick(find(blocks, is_list), list) {
                let items = list["content"].as_array_mut().expect("a list");
                if items.len() > 1 {
                    items.remove(at.index(items.len()));
                }
            }
        }
    }
}

/// Edits the first text of a text block.
fn edit_words(content: &mut Vec<Value>, edit: &WordEdit) {
    let node = content.remove(0);
    let mut words: Vec<&str> = node["text"].as_str().expect("text").split(' ').collect();
    // White space between two is an empty word.
    let places: Vec<usize> = (0..words.len()).filter(|&i| !words[i].is_empty()).collect();
    let mut marked = None;
    match edit {
        WordEdit::Append(words) => content.push(text(words)),
        _ if places.is_empty() => {}
        WordEdit::Insert(i, word) => words.insert(*i.get(&places), word),
        WordEdit::Change(i, word) => words[*i.get(&places)] = word,
        WordEdit::Remove(i) => drop(words.remove(*i.get(&places))),
        WordEdit::Mark(i, marks) => marked = Some((*i.get(&places), marks)),
    }
    let with = |words: &[&str], end: &str, marks: &Value| {
        let mut new = node.clone();
        new["text"] = json!(if words.is_empty() { String::new() } else { words.join(" ") + end });
        new["marks"] = marks.clone();
        new
    };
    let before = node.get("marks").cloned().unwrap_or(json!([]));
    let new = match marked {
        Some((i, marks)) if node["text"].as_str().is_some_and(|text| !text.contains('\n')) => {
            let end = if i + 1 < words.len() { " " } else { "" };
            vec![
                with(&words[..i], " ", &before),
                with(&words[i..=i], end, marks),
                with(&words[i + 1..], "", &before),
            ]
        }
        _ => vec![with(&words, "", &before)],
    };
    *content = joined(new.into_iter().chain(content.drain(..)).collect());
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
    // A mention is a word of its own, though nothing separates it from the next.
    let texts = document.block_texts().join("\n").replace("동생", " 동생 ");
    let words = texts.split_whitespace();
    words.map(|word| word.trim_matches(['.', ',']).to_owned()).collect()
}

/// Whether all text is as editors keep it, given that it was before.
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

/// Where the last of its content ends, in the unit of the overlap.
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
    fn trap_11_a_side_that_did_nothing_yields(base in any_document(), x in any_document()) {
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
    fn trap_11_no_word_that_a_side_added_is_lost_and_none_is_made_up([base, ours, theirs] in three()) {
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
    fn whoever_wins_what_overlaps_is_the_same([base, ours, theirs] in three()) {
        let overlaps = merge3(&base, &ours, &theirs).overlaps;
        for policy in POLICIES {
            let merged = merge3_with(&base, &ours, &theirs, policy);
            prop_assert_eq!(&merged.overlaps, &overlaps);
            let again = merge3_with(&base, &ours, &theirs, policy).document;
            prop_assert_eq!(merged.document.as_json(), again.as_json());
        }
    }

    #[test]
    fn edits_apart_in_one_paragraph_do_not_overlap(
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
        // Theirs is there in its order, unless ours contains its text, for example in a quote.
        let mut rest = merged[kept..].iter();
        let is_there = theirs.iter().all(|block| rest.any(|other| other == block));
        let text = |blocks: &[Value]| document(blocks, None).block_texts().join("\n");
        let is_in_ours = merged[kept..] == ours[..] && text(&ours).contains(&text(&theirs));
        prop_assert!(is_there || is_in_ours);
    }

    #[test]
    fn the_overlaps_are_ascending_and_lie_in_the_documents([base, ours, theirs] in three()) {
        let merged = merge3(&base, &ours, &theirs);
        let all = |range: fn(&Overlap) -> &Range<usize>, side: fn(&Step) -> usize, document: &Document| {
            let document = document.to_value();
            // Places read from the outside in, as the chapters of a book are.
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
    fn any_objects_at_all_are_merged(documents in prop::array::uniform3(
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
