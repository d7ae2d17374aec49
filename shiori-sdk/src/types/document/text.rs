//! The readable text of a document, block by block.

use serde_json::Value;

/// The text of each block that has any, in reading order.
pub(super) fn of_blocks(document: &Value) -> Vec<String> {
    let mut blocks = Vec::new();
    visit(document, &mut blocks);
    blocks
}

/// A node's inline children make one block of text; its other children are visited on their own,
/// and part what stands before them from what stands after.
fn visit(node: &Value, blocks: &mut Vec<String>) {
    let mut line = String::new();
    for child in node["content"].as_array().into_iter().flatten() {
        if let Some(text) = inline(child) {
            line.push_str(text);
        } else {
            flush(&mut line, blocks);
            visit(child, blocks);
        }
    }
    flush(&mut line, blocks);
}

fn flush(line: &mut String, blocks: &mut Vec<String>) {
    let text = line.trim();
    if !text.is_empty() {
        blocks.push(text.to_owned());
    }
    line.clear();
}

/// The text of a node that stands within a line; `None` for one that stands on its own.
fn inline(node: &Value) -> Option<&str> {
    let attribute = |name: &str| node["attrs"][name].as_str();
    match node["type"].as_str()? {
        "text" => node["text"].as_str().or(Some("")),
        "hardBreak" | "hard_break" => Some("\n"),
        "mention" => attribute("label").or_else(|| attribute("id")).or(Some("")),
        "emoji" => attribute("emoji").or_else(|| attribute("name")).or(Some("")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_are_parted_and_inline_text_is_joined() {
        let text = |t: &str| json!({"type": "text", "text": t});
        let paragraph = |t: &str| json!({"type": "paragraph", "content": [text(t)]});
        let document = json!({"type": "doc", "content": [
            {"type": "heading", "attrs": {"level": 2}, "content": [text("월요일")]},
            {"type": "paragraph", "content": [
                text("비가 "),
                {"type": "text", "marks": [{"type": "bold"}], "text": "많이"},
                text(" 왔다"),
                {"type": "hardBreak"},
                {"type": "emoji", "attrs": {"name": "umbrella"}},
            ]},
            {"type": "paragraph"},
            {"type": "bulletList", "content": [
                {"type": "listItem", "content": [
                    paragraph("우유"),
                    {"type": "bulletList", "content": [
                        {"type": "listItem", "content": [paragraph("저지방")]},
                        {"type": "listItem", "content": [paragraph("두 개")]},
                    ]},
                ]},
                {"type": "listItem", "content": [paragraph("빵")]},
            ]},
            {"type": "taskList", "content": [
                {"type": "taskItem", "attrs": {"checked": true}, "content": [paragraph("운동")]},
            ]},
            {"type": "blockquote", "content": [paragraph("  ")]},
            {"type": "image", "attrs": {"src": "x.png", "alt": "사진"}},
            {"type": "callout", "content": [text("앞"), paragraph("가운데"), text("뒤")]},
        ]});
        assert_eq!(
            of_blocks(&document),
            [
                "월요일",
                "비가 많이 왔다\numbrella",
                "우유",
                "저지방",
                "두 개",
                "빵",
                "운동",
                "앞",
                "가운데",
                "뒤"
            ]
        );
    }

    #[test]
    fn what_is_no_document_has_no_text() {
        for value in [json!(null), json!([]), json!({"content": 3}), json!({"content": [null]})] {
            assert!(of_blocks(&value).is_empty());
        }
    }
}
