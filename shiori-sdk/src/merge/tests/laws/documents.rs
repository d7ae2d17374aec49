//! Generated documents and edits of them.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// Few words, so that documents repeat content and share blocks by chance.
pub(super) const WORDS: [&str; 14] = [
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

pub(super) fn line(words: &str) -> Value {
    json!({"type": "paragraph", "content": [text(words)]})
}

pub(super) fn phrase() -> impl Strategy<Value = String> {
    vec(prop::sample::select(WORDS.to_vec()), 1..5).prop_map(|words| words.join(" "))
}

pub(super) fn marks() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(json!([])),
        1 => Just(json!([{"type": "bold"}])),
        1 => Just(json!([{"type": "italic"}])),
        1 => "[ab]".prop_map(|href| json!([{"type": "link", "attrs": {"href": href}}])),
        1 => Just(json!([{"type": "x-mark", "attrs": {"n": 1.5, "deep": [null]}}, {"type": "bold"}])),
    ]
}

/// The content of a paragraph.
pub(super) fn inline() -> impl Strategy<Value = Vec<Value>> {
    let node = prop_oneof![
        6 => (phrase(), marks()).prop_map(|(words, marks)| json!({
            "type": "text", "marks": marks, "text": format!("{words} "),
        })),
        1 => Just(json!({"type": "hardBreak"})),
        1 => Just(json!({"type": "mention", "attrs": {"id": "동생"}})),
    ];
    vec(node, 1..6).prop_map(joined)
}

/// As editors write it: neighbours with the same marks are joined, and an empty list of marks is
/// omitted.
pub(super) fn joined(nodes: Vec<Value>) -> Vec<Value> {
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

pub(super) fn is_joined(one: &Value, other: &Value) -> bool {
    one["type"] == "text" && other["type"] == "text" && one.get("marks") == other.get("marks")
}

pub(super) fn listed(list: &str, items: Vec<Value>) -> Value {
    let mut node = json!({"type": list});
    node["content"] = Value::Array(items);
    node
}

/// A block of the kinds that an editor makes.
pub(super) fn block() -> impl Strategy<Value = Value> {
    let item = (inline(), prop::option::weighted(0.3, vec(phrase(), 1..3))).prop_map(
        |(inline, nested)| {
            let nested = nested.map(|words| {
                let items =
                    words.iter().map(|words| json!({"type": "listItem", "content": [line(words)]}));
                listed("bulletList", items.collect())
            });
            let inline = json!({"type": "paragraph", "content": inline});
            let content: Vec<Value> = [Some(inline), nested].into_iter().flatten().collect();
            json!({"type": "listItem", "content": content})
        },
    );
    let task = (phrase(), any::<bool>()).prop_map(|(words, checked)| {
        json!({
            "type": "taskItem", "attrs": {"checked": checked}, "content": [line(&words)],
        })
    });
    let list = prop::sample::select(vec!["bulletList", "orderedList"]);
    let row = vec(phrase(), 2).prop_map(|cells| {
        let cells = cells.iter().map(|words| listed("tableCell", vec![line(words)]));
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
            json!({"type": "x-callout", "zeta": n, "attrs": {"a": null}, "content": [line(&words)]})
        }),
        1 => (phrase(), any::<u32>()).prop_map(|(words, n)| {
            json!({"type": "x-unknown", "zeta": {"words": words, "n": n}})
        }),
    ]
}

/// An edit of a document at some place.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Insert(Index, Vec<Value>),
    Append(Vec<Value>),
    Change(Index, Value),
    Remove(Index, usize),
    Move(Index, Index),
    /// In the text of one of the blocks or items.
    Words(Index, WordEdit),
    /// Changes an attribute.
    Attribute(Index, u8),
    /// Adds an item to one of the lists, or removes one.
    AddItem(Index, Index, String),
    RemoveItem(Index, Index),
}

#[derive(Debug, Clone)]
pub(super) enum WordEdit {
    Insert(Index, String),
    Change(Index, String),
    Remove(Index),
    Append(String),
    Mark(Index, Value),
}

pub(super) fn addition() -> impl Strategy<Value = (Index, Vec<Value>)> {
    (any::<Index>(), vec(block(), 1..4))
}

/// A word that no base contains.
pub(super) fn new_word() -> impl Strategy<Value = String> {
    "[새헌][가-힣]{2}".prop_map(|word| word)
}

pub(super) fn word_edit() -> impl Strategy<Value = WordEdit> {
    let at = any::<Index>;
    prop_oneof![
        (at(), new_word()).prop_map(|(at, word)| WordEdit::Insert(at, word)),
        (at(), new_word()).prop_map(|(at, word)| WordEdit::Change(at, word)),
        at().prop_map(WordEdit::Remove),
        (new_word(), new_word()).prop_map(|(one, two)| WordEdit::Append(format!(" {one} {two}."))),
        (at(), marks()).prop_map(|(at, marks)| WordEdit::Mark(at, marks)),
    ]
}

pub(super) fn edit() -> impl Strategy<Value = Edit> {
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

/// The nodes in these that match, each once.
pub(super) fn find(nodes: &mut [Value], is_wanted: fn(&Value) -> bool) -> Vec<&mut Value> {
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

pub(super) fn pick(mut found: Vec<&mut Value>, at: Index) -> Option<&mut Value> {
    if found.is_empty() { None } else { Some(found.swap_remove(at.index(found.len()))) }
}

pub(super) fn apply(blocks: &mut Vec<Value>, edit: Edit) {
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
                item["content"] = json!([line(&word)]);
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
pub(super) fn edit_words(content: &mut Vec<Value>, edit: &WordEdit) {
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

pub(super) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    vec(edit(), 0..5)
}

pub(super) fn edited(base: &Document, edits: Vec<Edit>) -> Vec<Value> {
    let mut blocks = blocks(base);
    for edit in edits {
        apply(&mut blocks, edit);
    }
    blocks
}

pub(super) fn document(blocks: &[Value], font: Option<u8>) -> Document {
    let mut document = json!({"type": "doc", "content": blocks});
    if let Some(font) = font {
        document["attrs"] = json!({"font": font, "lang": "ko"});
    }
    Document::from_value(&document).expect("a document")
}

pub(super) fn font() -> impl Strategy<Value = Option<u8>> {
    prop::option::weighted(0.3, 0_u8..3)
}

pub(super) fn any_document() -> impl Strategy<Value = Document> {
    (vec(block(), 0..10), font()).prop_map(|(blocks, font)| document(&blocks, font))
}

/// A base and two versions of it with some edits each.
pub(super) fn three() -> impl Strategy<Value = [Document; 3]> {
    (any_document(), (edits(), font()), (edits(), font())).prop_map(|(base, ours, theirs)| {
        let [ours, theirs] =
            [ours, theirs].map(|(edits, font)| document(&edited(&base, edits), font));
        [base, ours, theirs]
    })
}
