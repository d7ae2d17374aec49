//! The readable text of a document, block by block.

use serde_json::Value;

/// The text of each block that contains text, in reading order.
pub(super) fn of_blocks(document: &Value) -> Vec<String> {
    let mut blocks = Vec::new();
    visit(document, &mut blocks);
    blocks
}

/// Adjacent inline children of a node make one block of text. A block child is visited separately
/// and ends the block before it.
fn visit(node: &Value, blocks: &mut Vec<String>) {
    let is_line = is_line(node);
    let mut line = String::new();
    for child in children(node) {
        if is_line && !is_block(child) {
            add(&mut line, child);
            continue;
        }
        flush(&mut line, blocks);
        if children(child).is_empty() {
            // An image or a formula between blocks.
            add(&mut line, child);
            flush(&mut line, blocks);
        } else {
            visit(child, blocks);
        }
    }
    flush(&mut line, blocks);
}

pub(super) fn children(node: &Value) -> &[Value] {
    node["content"].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn kind(node: &Value) -> &str {
    node["type"].as_str().unwrap_or_default()
}

/// Whether the children of a node are a line of text: by the node's type, or because one of them is
/// inline.
pub(super) fn is_line(node: &Value) -> bool {
    matches!(kind(node), "paragraph" | "heading" | "detailsSummary")
        || children(node).iter().any(is_inline)
}

fn is_inline(node: &Value) -> bool {
    matches!(kind(node), "text" | "mention" | "emoji") || is_break(node)
}

/// Whether a node is a line break within a block.
pub(super) fn is_break(node: &Value) -> bool {
    matches!(kind(node), "hardBreak" | "hard_break")
}

/// Whether a node is a block even next to text. A node of an unknown type is not.
pub(super) fn is_block(node: &Value) -> bool {
    const BLOCKS: [&str; 25] = [
        "paragraph",
        "heading",
        "blockquote",
        "codeBlock",
        "code_block",
        "bulletList",
        "bullet_list",
        "orderedList",
        "ordered_list",
        "listItem",
        "list_item",
        "taskList",
        "task_list",
        "taskItem",
        "task_item",
        "table",
        "tableRow",
        "table_row",
        "tableCell",
        "table_cell",
        "tableHeader",
        "table_header",
        "details",
        "horizontalRule",
        "horizontal_rule",
    ];
    BLOCKS.contains(&kind(node)) || children(node).iter().any(is_block)
}

fn flush(line: &mut String, blocks: &mut Vec<String>) {
    let text = line.trim();
    if !text.is_empty() {
        blocks.push(text.to_owned());
    }
    line.clear();
}

/// Adds the text of a node to a line.
fn add(line: &mut String, node: &Value) {
    match kind(node) {
        "text" => line.push_str(node["text"].as_str().unwrap_or_default()),
        _ if is_break(node) => line.push('\n'),
        _ if !children(node).is_empty() => {
            for child in children(node) {
                add(line, child);
            }
        }
        _ => add_attributes(line, node),
    }
}

/// Adds the text of a node's attributes. Displayed text may be followed directly by a particle; the
/// name of a picture is a separate word.
pub(super) fn add_attributes(line: &mut String, node: &Value) {
    const SHOWN: [&str; 4] = ["text", "label", "latex", "emoji"];
    const NAMES: [&str; 4] = ["alt", "title", "shortName", "data-name"];
    let attribute = |name: &&str| {
        let value = node["attrs"][*name].as_str().or_else(|| node[*name].as_str())?;
        Some(value.trim()).filter(|value| !value.is_empty())
    };
    if let Some(shown) = SHOWN.iter().find_map(attribute) {
        return line.push_str(shown);
    }
    let emoji_name = || attribute(&"name").filter(|_| kind(node) == "emoji");
    if let Some(name) = NAMES.iter().find_map(attribute).or_else(emoji_name) {
        if !line.is_empty() && !line.ends_with(char::is_whitespace) {
            line.push(' ');
        }
        line.push_str(name);
        line.push(' ');
    } else if kind(node) == "mention" {
        line.push_str(attribute(&"id").unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_are_separate_and_inline_text_is_joined() {
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
                "사진",
                "앞",
                "가운데",
                "뒤"
            ]
        );
    }

    fn line(content: &[Value]) -> Vec<String> {
        let document =
            json!({"type": "doc", "content": [{"type": "paragraph", "content": content}]});
        of_blocks(&document)
    }

    #[test]
    fn inline_nodes_of_unknown_types_do_not_split_a_sentence() {
        let text = |t: &str| json!({"type": "text", "text": t});
        let node = |kind: &str, attrs: Value| json!({"type": kind, "attrs": attrs});
        let math = || node("inlineMath", json!({"latex": "a^2"}));
        assert_eq!(line(&[text("넓이는 "), math(), text("이다.")]), ["넓이는 a^2이다."]);
        assert_eq!(line(&[math()]), ["a^2"]);
        let image = node("image", json!({"src": "x.png", "alt": "고양이", "title": "우리 집"}));
        assert_eq!(
            line(&[text("어제 본"), image, text("가 귀엽다.")]),
            ["어제 본 고양이 가 귀엽다."]
        );
        let card = node("linkCard", json!({"url": "https://a.example", "title": "칼국수 맛집"}));
        assert_eq!(line(&[text("여기: "), card, text("추천")]), ["여기: 칼국수 맛집 추천"]);
        let nested = json!({"type": "x-tooltip", "content": [text("비")]});
        assert_eq!(line(&[text("큰"), nested, text("가 왔다")]), ["큰비가 왔다"]);
    }

    #[test]
    fn the_text_of_a_mention_or_emoji_is_its_name() {
        let text = |t: &str| json!({"type": "text", "text": t});
        let node = |kind: &str, attrs: Value| json!({"type": kind, "attrs": attrs});
        let mention = |attrs| line(&[text("어제 "), node("mention", attrs), text("와 걸었다")]);
        assert_eq!(mention(json!({"id": "u-17", "text": "동생"})), ["어제 동생와 걸었다"]);
        assert_eq!(mention(json!({"id": "u-17", "label": "언니"})), ["어제 언니와 걸었다"]);
        assert_eq!(mention(json!({"id": "u-17", "label": null})), ["어제 u-17와 걸었다"]);
        let emoji = |attrs| line(&[text("왔다"), node("emoji", attrs)]);
        assert_eq!(emoji(json!({"name": "umbrella"})), ["왔다 umbrella"]);
        assert_eq!(emoji(json!({"shortName": "rain"})), ["왔다 rain"]);
        assert_eq!(emoji(json!({"data-name": "sun"})), ["왔다 sun"]);
        assert_eq!(emoji(json!({"name": "umbrella", "emoji": "☂"})), ["왔다☂"]);
    }

    #[test]
    fn blocks_of_unknown_types_are_separate() {
        let text = |t: &str| json!({"type": "text", "text": t});
        let paragraph = |t: &str| json!({"type": "paragraph", "content": [text(t)]});
        let document = json!({"type": "doc", "content": [
            paragraph("앞"),
            {"type": "x-columns", "content": [
                {"type": "x-column", "content": [paragraph("왼쪽")]},
                {"type": "x-column", "content": [paragraph("오른쪽")]},
            ]},
            {"type": "blockMath", "attrs": {"latex": "e = mc^2"}},
            {"type": "horizontalRule"},
            {"type": "image", "attrs": {"src": "x.png", "alt": null, "title": "바다"}},
            {"type": "x-embed", "attrs": {"id": "17"}},
        ]});
        assert_eq!(of_blocks(&document), ["앞", "왼쪽", "오른쪽", "e = mc^2", "바다"]);
    }

    #[test]
    fn a_value_that_is_not_a_document_has_no_text() {
        for value in [json!(null), json!([]), json!({"content": 3}), json!({"content": [null]})] {
            assert!(of_blocks(&value).is_empty());
        }
    }
}
