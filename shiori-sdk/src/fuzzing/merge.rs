//! Merges of edited documents.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{
    merge::{OnOverlap, merge3, merge3_with},
    types::{Document, DocumentLimits},
};

/// Merges three documents: three lines of JSON, or three lines of edits, of the base and of both
/// sides of it. An edit has three bytes: what, where, and with which word.
///
/// The merge of one changed side is that side. Three documents that an editor accepts give one that
/// it accepts, however overlaps are resolved. The overlaps do not depend on that. Without overlaps,
/// merging a side into the result again changes nothing, unless a word may have been moved.
pub fn merge(input: &[u8]) {
    let Some([base, ours, theirs]) = documents(input) else { return };
    for side in [&ours, &theirs] {
        assert_eq!(merge3(&base, &base, side).document.as_json(), side.as_json());
        assert_eq!(merge3(&base, side, &base).document.as_json(), side.as_json());
        assert_eq!(merge3(&base, side, side).document.as_json(), side.as_json());
    }
    let is_accepted =
        [&base, &ours, &theirs].iter().all(|side| refusal(&side.to_value()).is_none());
    let limits = DocumentLimits { max_depth: 100, max_nodes: usize::MAX };
    let merged = merge3(&base, &ours, &theirs);
    if merged.overlaps.is_empty() && !may_have_moved(&base, [&ours, &theirs]) {
        for side in [&ours, &theirs] {
            let again = merge3(&base, side, &merged.document);
            assert!(again.document == merged.document, "{}", again.document.as_json());
        }
    }
    for on_overlap in [OnOverlap::KeepBoth, OnOverlap::Ours, OnOverlap::Theirs] {
        let resolved = merge3_with(&base, &ours, &theirs, on_overlap);
        assert_eq!(resolved.document.check(&limits), Ok(()));
        assert_eq!(resolved.overlaps, merged.overlaps);
        if is_accepted {
            let refusal = refusal(&resolved.document.to_value());
            assert_eq!(refusal, None, "{}", resolved.document.as_json());
        }
    }
}

/// Whether one side removed a word and the other one inserted it: as if one side had moved it.
fn may_have_moved(base: &Document, sides: [&Document; 2]) -> bool {
    let mut counts: HashMap<String, [usize; 3]> = HashMap::new();
    for (which, document) in [base, sides[0], sides[1]].into_iter().enumerate() {
        for word in document.block_texts().join(" ").split_whitespace() {
            counts.entry(word.to_owned()).or_default()[which] += 1;
        }
    }
    counts
        .into_values()
        .any(|[base, ours, theirs]| ours.min(theirs) < base && base < ours.max(theirs))
}

/// The base and both sides.
fn documents(input: &[u8]) -> Option<[Document; 3]> {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let lines = [next(), next(), next()];
    if input.first() == Some(&b'{') {
        let [base, ours, theirs] =
            lines.map(|line| Document::from_json(std::str::from_utf8(line).ok()?).ok());
        return Some([base?, ours?, theirs?]);
    }
    let mut base = start();
    edit_all(&mut base, lines[0]);
    let [mut ours, mut theirs] = [base.clone(), base.clone()];
    edit_all(&mut ours, lines[1]);
    edit_all(&mut theirs, lines[2]);
    Some([&base, &ours, &theirs].map(|blocks| {
        let document = json!({"type": "doc", "content": nodes(blocks)});
        Document::from_value(&document).expect("edits make documents")
    }))
}

/// A block of a document.
#[derive(Clone)]
enum Block {
    Text(Style, Vec<Word>),
    Rule,
    Quote(Vec<Block>),
    List {
        is_ordered: bool,
        items: Vec<Vec<Block>>,
    },
    /// Rows of cells with one word each.
    Table(Vec<Vec<u8>>),
}

#[derive(Clone, Copy)]
enum Style {
    Paragraph,
    Heading(u8),
    Code,
}

#[derive(Clone, Copy)]
struct Word {
    word: u8,
    mark: u8,
}

impl Block {
    fn paragraph(words: &[u8]) -> Self {
        let words = words.iter().map(|word| Word { word: *word, mark: 0 });
        Self::Text(Style::Paragraph, words.collect())
    }

    /// One of the lists of blocks in it.
    fn children(&mut self, nth: usize) -> Option<&mut Vec<Block>> {
        match self {
            Self::Quote(blocks) => Some(blocks),
            Self::List { items, .. } => {
                let count = items.len().max(1);
                items.get_mut(nth % count)
            }
            _ => None,
        }
    }
}

/// The document that the edits begin with.
fn start() -> Vec<Block> {
    let item = |word| vec![Block::paragraph(&[word, 2])];
    vec![
        Block::paragraph(&[0, 1, 2, 3, 4, 5]),
        Block::Text(Style::Heading(1), vec![Word { word: 6, mark: 1 }]),
        Block::List { is_ordered: false, items: vec![item(7), item(8), item(9)] },
        Block::Quote(vec![Block::paragraph(&[1, 3]), Block::paragraph(&[5])]),
        Block::Table(vec![vec![1, 2], vec![3, 4]]),
        Block::paragraph(&[10, 11]),
    ]
}

/// More edits make slow merges, and nothing that fewer do not make.
const MAX_EDITS: usize = 24;

fn edit_all(blocks: &mut Vec<Block>, edits: &[u8]) {
    for edit in edits.as_chunks().0.iter().take(MAX_EDITS) {
        edit_one(blocks, *edit);
    }
}

fn edit_one(blocks: &mut Vec<Block>, [what, place, word]: [u8; 3]) {
    let nth = usize::from(word);
    let (blocks, at) = find(blocks, place);
    let count = blocks.len();
    let Some(block) = blocks.get_mut(at) else {
        blocks.push(Block::paragraph(&[word]));
        return;
    };
    match (what % 16, block) {
        (0, _) => blocks.insert(at + nth % 2, Block::paragraph(&[word, word / 16])),
        (1, _) => drop(blocks.remove(at)),
        (2, Block::Text(_, words)) => words.push(Word { word, mark: 0 }),
        (3, Block::Text(_, words)) => words.insert(nth % (words.len() + 1), Word { word, mark: 0 }),
        (4, Block::Text(_, words)) if !words.is_empty() => drop(words.remove(nth % words.len())),
        (5, Block::Text(_, words)) if !words.is_empty() => {
            let nth = nth % words.len();
            words[nth].word = word;
        }
        (6, Block::Text(_, words)) if !words.is_empty() => {
            let nth = nth % words.len();
            words[nth].mark = word / 64;
        }
        (7, Block::Text(style, words)) => {
            let style = *style;
            let rest = words.split_off(nth % (words.len() + 1));
            blocks.insert(at + 1, Block::Text(style, rest));
        }
        (8, Block::Text(..)) if at + 1 < count => {
            let next = blocks.remove(at + 1);
            match (&mut blocks[at], next) {
                (Block::Text(_, words), Block::Text(_, more)) => words.extend(more),
                (_, next) => blocks.insert(at + 1, next),
            }
        }
        (9, _) => {
            let block = blocks.remove(at);
            blocks.insert(at, wrapped(block, word));
        }
        (10, block) => {
            if let Some(children) = block.children(nth) {
                let children = std::mem::take(children);
                blocks.splice(at..=at, children);
            }
        }
        (11, Block::Text(style, _)) => {
            *style = [Style::Paragraph, Style::Heading(word / 64), Style::Code][nth % 3];
        }
        (12, _) => {
            let block = blocks.remove(at);
            blocks.insert(nth % (blocks.len() + 1), block);
        }
        (13, Block::List { items, .. }) => {
            items.insert(nth % (items.len() + 1), vec![Block::paragraph(&[word])]);
        }
        (13, Block::Table(rows)) => rows.insert(nth % (rows.len() + 1), vec![word; rows[0].len()]),
        (14, Block::List { items, .. }) if items.len() > 1 => drop(items.remove(nth % items.len())),
        (14, Block::Table(rows)) if rows.len() > 1 => drop(rows.remove(nth % rows.len())),
        (15, Block::Table(rows)) => {
            let columns = rows[0].len();
            for row in rows {
                if nth % 2 == 0 {
                    row.insert(nth / 2 % (columns + 1), word);
                } else if columns > 1 {
                    row.remove(nth / 2 % columns);
                }
            }
        }
        (15, Block::List { is_ordered, .. }) => *is_ordered = !*is_ordered,
        (15, _) => blocks.insert(at, Block::Rule),
        _ => {}
    }
}

/// A place for blocks: in the document, or in one of its quotes or items.
fn find(blocks: &mut Vec<Block>, place: u8) -> (&mut Vec<Block>, usize) {
    let (at, inner) = (usize::from(place % 16) % blocks.len().max(1), place / 16);
    let is_inside =
        inner > 0 && blocks.get_mut(at).is_some_and(|block| block.children(inner.into()).is_some());
    if is_inside {
        let children = blocks[at].children(inner.into()).expect("it has children");
        find(children, inner - 1)
    } else {
        (blocks, at)
    }
}

fn wrapped(block: Block, word: u8) -> Block {
    match word % 4 {
        0 => Block::Quote(vec![block]),
        1 => Block::List { is_ordered: false, items: vec![vec![block]] },
        2 => Block::List { is_ordered: true, items: vec![vec![block]] },
        _ => Block::Table(vec![vec![word, word / 2]]),
    }
}

/// The nodes of blocks, as an editor writes them. A place for blocks has at least a paragraph.
fn nodes(blocks: &[Block]) -> Vec<Value> {
    if blocks.is_empty() { vec![paragraph(&[])] } else { blocks.iter().map(node).collect() }
}

fn node(block: &Block) -> Value {
    let item = |blocks: &Vec<Block>| {
        let mut content = nodes(blocks);
        // An item begins with a paragraph.
        if content[0]["type"] != "paragraph" {
            content.insert(0, paragraph(&[]));
        }
        json!({"type": "listItem", "content": content})
    };
    let cell = |word: &u8| {
        let words = [Word { word: *word, mark: 0 }];
        json!({"type": "tableCell", "content": [paragraph(&words)]})
    };
    match block {
        Block::Text(Style::Paragraph, words) => paragraph(words),
        Block::Text(Style::Heading(level), words) => {
            json!({"type": "heading", "attrs": {"level": level}, "content": texts(words)})
        }
        Block::Text(Style::Code, words) => {
            let lines: Vec<String> = words.iter().map(|word| spelling(word.word)).collect();
            let text = json!({"type": "text", "text": lines.join("\n")});
            let content = if lines.is_empty() { vec![] } else { vec![text] };
            json!({"type": "codeBlock", "content": content})
        }
        Block::Rule => json!({"type": "horizontalRule"}),
        Block::Quote(blocks) => json!({"type": "blockquote", "content": nodes(blocks)}),
        Block::List { is_ordered, items } => {
            let kind = if *is_ordered { "orderedList" } else { "bulletList" };
            json!({"type": kind, "content": items.iter().map(item).collect::<Vec<_>>()})
        }
        Block::Table(rows) => {
            let rows = rows.iter().map(|row| {
                json!({"type": "tableRow", "content": row.iter().map(cell).collect::<Vec<_>>()})
            });
            json!({"type": "table", "content": rows.collect::<Vec<_>>()})
        }
    }
}

fn paragraph(words: &[Word]) -> Value {
    if words.is_empty() {
        json!({"type": "paragraph"})
    } else {
        json!({"type": "paragraph", "content": texts(words)})
    }
}

/// One text for neighbouring words with the same mark.
fn texts(words: &[Word]) -> Vec<Value> {
    let runs: Vec<&[Word]> = words.chunk_by(|one, next| one.mark == next.mark).collect();
    let text = |(nth, run): (usize, &&[Word])| {
        let mut text = run.iter().map(|word| spelling(word.word)).collect::<Vec<_>>().join(" ");
        if nth + 1 < runs.len() {
            text.push(' ');
        }
        match MARKS[usize::from(run[0].mark)] {
            "" => json!({"type": "text", "text": text}),
            mark => json!({"type": "text", "marks": [{"type": mark}], "text": text}),
        }
    };
    runs.iter().enumerate().map(text).collect()
}

/// The mark `code` excludes the others.
const MARKS: [&str; 4] = ["", "bold", "italic", "code"];

fn spelling(word: u8) -> String {
    const WORDS: [&str; 12] = [
        "비가",
        "왔다.",
        "우산을",
        "bus,",
        "국수",
        "again",
        "산책",
        "🌧",
        "가",
        "a",
        "늦잠",
        "편지",
    ];
    WORDS.get(usize::from(word)).map_or_else(|| format!("w{word}"), |word| (*word).to_owned())
}

/// Why an editor refuses a document of these nodes, if it does.
fn refusal(node: &Value) -> Option<String> {
    let kind = kind(node);
    let children = node["content"].as_array().map_or(&[][..], Vec::as_slice);
    let all = |is: fn(&Value) -> bool| children.iter().all(is);
    let is_accepted = match kind {
        "doc" | "blockquote" | "tableCell" => !children.is_empty() && all(is_block),
        "paragraph" | "heading" => all(is_text),
        "codeBlock" => all(|child| is_text(child) && marks(child).is_empty()),
        "bulletList" | "orderedList" => {
            !children.is_empty() && all(|child| self::kind(child) == "listItem")
        }
        "listItem" => {
            children.first().is_some_and(|child| self::kind(child) == "paragraph") && all(is_block)
        }
        "table" => {
            let cells = |row: &Value| row["content"].as_array().map_or(0, Vec::len);
            children.first().is_some_and(|first| {
                let is_row =
                    |row: &Value| self::kind(row) == "tableRow" && cells(row) == cells(first);
                children.iter().all(is_row)
            })
        }
        "tableRow" => all(|child| self::kind(child) == "tableCell" && child.get("attrs").is_none()),
        "horizontalRule" => children.is_empty(),
        "text" => {
            let marks = marks(node);
            let is_alone = marks.len() == 1 || !marks.contains(&"code");
            let is_once = |nth: usize| !marks[..nth].contains(&marks[nth]);
            node["text"].as_str().is_some_and(|text| !text.is_empty())
                && is_alone
                && (0..marks.len()).all(is_once)
                && marks.iter().all(|mark| MARKS[1..].contains(mark))
        }
        _ => false,
    };
    // An editor joins them.
    let is_joined = |pair: &[Value]| {
        is_text(&pair[0]) && is_text(&pair[1]) && marks(&pair[0]) == marks(&pair[1])
    };
    if !is_accepted || children.windows(2).any(is_joined) {
        let kinds: Vec<&str> = children.iter().map(self::kind).collect();
        return Some(format!("a {kind} of {kinds:?}"));
    }
    children.iter().find_map(refusal)
}

fn kind(node: &Value) -> &str {
    node["type"].as_str().unwrap_or_default()
}

fn marks(node: &Value) -> Vec<&str> {
    node["marks"].as_array().into_iter().flatten().map(kind).collect()
}

fn is_text(node: &Value) -> bool {
    kind(node) == "text"
}

fn is_block(node: &Value) -> bool {
    const BLOCKS: [&str; 8] = [
        "paragraph",
        "heading",
        "codeBlock",
        "blockquote",
        "bulletList",
        "orderedList",
        "table",
        "horizontalRule",
    ];
    BLOCKS.contains(&kind(node))
}
