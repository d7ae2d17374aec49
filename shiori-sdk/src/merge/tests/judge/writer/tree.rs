//! Documents as trees: their nodes, their text, and paths to them.

use serde_json::{Value, json};

/// The path of a node: the indices of children, from the document inwards.
pub(super) type Path = Vec<usize>;

pub(super) fn kind(node: &Value) -> &str {
    node["type"].as_str().unwrap_or_default()
}

pub(super) fn children(node: &Value) -> &[Value] {
    node["content"].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn children_mut(node: &mut Value) -> &mut Vec<Value> {
    if !node["content"].is_array() {
        node["content"] = json!([]);
    }
    node["content"].as_array_mut().expect("a list")
}

pub(super) fn set_children(node: &mut Value, children: Vec<Value>) {
    if children.is_empty() {
        node.as_object_mut().expect("a node").remove("content");
    } else {
        node["content"] = Value::Array(children);
    }
}

pub(super) fn at<'v>(doc: &'v Value, path: &[usize]) -> &'v Value {
    path.iter().fold(doc, |node, &i| &node["content"][i])
}

pub(super) fn at_mut<'v>(doc: &'v mut Value, path: &[usize]) -> &'v mut Value {
    path.iter().fold(doc, |node, &i| &mut node["content"][i])
}

/// The paths of all nodes that match, in reading order.
pub(super) fn find(doc: &Value, is_wanted: &dyn Fn(&Value) -> bool) -> Vec<Path> {
    fn visit(
        node: &Value,
        path: &mut Path,
        is_wanted: &dyn Fn(&Value) -> bool,
        found: &mut Vec<Path>,
    ) {
        if is_wanted(node) {
            found.push(path.clone());
        }
        for (i, child) in children(node).iter().enumerate() {
            path.push(i);
            visit(child, path, is_wanted, found);
            path.pop();
        }
    }
    let mut found = Vec::new();
    visit(doc, &mut Vec::new(), is_wanted, &mut found);
    found
}

pub(super) fn is_text_block(node: &Value) -> bool {
    matches!(kind(node), "paragraph" | "heading" | "codeBlock" | "detailsSummary")
}

pub(super) fn is_list(node: &Value) -> bool {
    matches!(kind(node), "bulletList" | "orderedList" | "taskList")
}

pub(super) fn is_item(node: &Value) -> bool {
    matches!(kind(node), "listItem" | "taskItem")
}

pub(super) fn node(kind: &str, content: Vec<Value>) -> Value {
    let mut node = json!({"type": kind});
    set_children(&mut node, content);
    node
}

/// Text without white space, white space alone, or another inline node.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Text(String, Value),
    Node(Value),
}

impl Piece {
    pub(super) fn is_word(&self) -> bool {
        matches!(self, Self::Text(text, _) if !text.trim().is_empty())
    }
}

pub(super) fn pieces(block: &Value) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for child in children(block) {
        let Some(text) = child["text"].as_str() else {
            pieces.push(Piece::Node(child.clone()));
            continue;
        };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let is_end = |c: char| c.is_whitespace() != first.is_whitespace();
            let (part, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
            pieces.push(Piece::Text(part.to_owned(), child["marks"].clone()));
            rest = after;
        }
    }
    pieces
}

/// As editors write it: neighbours with the same marks are one node.
pub(super) fn content(pieces: &[Piece]) -> Vec<Value> {
    let mut nodes: Vec<Value> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Node(node) => nodes.push(node.clone()),
            Piece::Text(text, marks) => match nodes.last_mut() {
                Some(last) if kind(last) == "text" && last["marks"] == *marks => {
                    last["text"] = json!(format!("{}{text}", last["text"].as_str().expect("text")));
                }
                _ => {
                    let mut node = json!({"type": "text", "text": text});
                    if !marks.is_null() {
                        node["marks"] = marks.clone();
                    }
                    nodes.push(node);
                }
            },
        }
    }
    nodes
}

pub(super) fn words_of(pieces: &[Piece]) -> Vec<usize> {
    (0..pieces.len()).filter(|&i| pieces[i].is_word()).collect()
}

/// Adds the content of one text block to another, with a space between two words.
pub(super) fn add_to(first: &mut Value, second: &Value) {
    let (mut left, right) = (pieces(first), pieces(second));
    let meets =
        left.last().is_some_and(Piece::is_word) && right.first().is_some_and(Piece::is_word);
    if meets {
        left.push(Piece::Text(" ".to_owned(), Value::Null));
    }
    left.extend(right);
    set_children(first, content(&left));
}
