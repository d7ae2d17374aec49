//! A Markdown parser reads every rendered document: the same characters with the same marks, in the
//! same blocks.

use proptest::{collection::vec, prelude::*};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};

use super::*;
use crate::types::document::text::of_blocks;

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn marked(words: &str, marks: &[&str]) -> Value {
    let marks: Vec<_> = marks.iter().map(|mark| json!({"type": mark})).collect();
    json!({"type": "text", "text": words, "marks": marks})
}

fn paragraph(content: &[Value]) -> Value {
    json!({"type": "paragraph", "content": content})
}

fn markdown(blocks: &[Value]) -> String {
    of(&json!({"type": "doc", "content": blocks}), Form::Markdown)
}

fn plain_text(blocks: &[Value]) -> String {
    of(&json!({"type": "doc", "content": blocks}), Form::Plain)
}

fn line(content: &[Value]) -> String {
    markdown(&[paragraph(content)])
}

#[test]
fn blocks_have_the_usual_form() {
    let words = |words: &str| paragraph(&[text(words)]);
    let item = |content: &[Value]| json!({"type": "listItem", "content": content});
    let task = |done: bool, words: &str| json!({"type": "taskItem", "attrs": {"checked": done}, "content": [paragraph(&[text(words)])]});
    let blocks = [
        json!({"type": "heading", "attrs": {"level": 2}, "content": [text("통영 #1")]}),
        json!({"type": "bulletList", "content": [
            item(&[words("우유"), json!({"type": "bulletList", "content": [item(&[words("저지방")])]})]),
            item(&[words("빵")]),
        ]}),
        json!({"type": "orderedList", "attrs": {"start": 9}, "content": [
            item(&[words("아홉")]),
            item(&[words("열"), words("그리고")]),
        ]}),
        json!({"type": "taskList", "content": [task(true, "운동"), task(false, "청소")]}),
        json!({"type": "blockquote", "content": [words("하나"), words("둘")]}),
        json!({"type": "codeBlock", "attrs": {"language": "rust"}, "content": [text("a\n```\n b")]}),
        json!({"type": "horizontalRule"}),
        json!({"type": "image", "attrs": {"src": "a b.png", "alt": "바다", "title": "여름"}}),
        words(""),
    ];
    let expected = [
        "## 통영 #1",
        "- 우유\n  - 저지방\n- 빵",
        "9. 아홉\n\n10. 열\n\n    그리고",
        "- [x] 운동\n- [ ] 청소",
        "> 하나\n>\n> 둘",
        "````rust\na\n```\n b\n````",
        "---",
        "![바다](a%20b.png \"여름\")",
    ];
    assert_eq!(markdown(&blocks), expected.join("\n\n"));
    let expected = [
        "통영 #1",
        "- 우유\n  - 저지방\n- 빵",
        "9. 아홉\n\n10. 열\n\n    그리고",
        "- [x] 운동\n- [ ] 청소",
        "> 하나\n>\n> 둘",
        "a\n```\n b",
        "---",
        "바다",
    ];
    assert_eq!(plain_text(&blocks), expected.join("\n\n"));
}

#[test]
fn a_table_has_one_row_of_headers_and_all_columns() {
    let cell = |kind: &str, attrs: Value, lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| paragraph(&[text(line)])).collect();
        json!({"type": kind, "attrs": attrs, "content": lines})
    };
    let row = |cells: &[Value]| json!({"type": "tableRow", "content": cells});
    let table = json!({"type": "table", "content": [
        row(&[cell("tableHeader", json!({}), &["날"]), cell("tableHeader", json!({"colspan": 2}), &["a|b"])]),
        row(&[cell("tableCell", json!({"rowspan": 2}), &["월"]), cell("tableCell", json!({}), &["비", "바람"]), cell("tableCell", json!({}), &[])]),
        row(&[cell("tableCell", json!({}), &["해"])]),
    ]});
    assert_eq!(
        markdown(&[table]),
        "| 날 | a\\|b |  |\n| --- | --- | --- |\n| 월 | 비<br>바람 |  |\n|  | 해 |  |"
    );
    let table =
        json!({"type": "table", "content": [row(&[cell("tableCell", json!({}), &["해"])])]});
    assert_eq!(markdown(std::slice::from_ref(&table)), "|  |\n| --- |\n| 해 |");
    assert_eq!(plain_text(&[table]), "해");
    let hostile = json!({"type": "table", "content": [row(&[
        cell("tableCell", json!({"colspan": u64::MAX, "rowspan": 1_u64 << 40}), &["해"]),
    ])]});
    assert!(markdown(&[hostile]).len() < 2000);
}

#[test]
fn lists_that_follow_each_other_stay_apart() {
    let list = |kind: &str, item: &str| json!({"type": kind, "content": [{"type": item, "content": [paragraph(&[text("하나")])]}]});
    let lists = [
        list("bulletList", "listItem"),
        list("taskList", "taskItem"),
        list("bulletList", "listItem"),
    ];
    assert_eq!(markdown(&lists), "- 하나\n\n* [ ] 하나\n\n- 하나");
    let lists = [list("orderedList", "listItem"), list("orderedList", "listItem")];
    assert_eq!(markdown(&lists), "1. 하나\n\n1) 하나");
    assert_eq!(plain_text(&lists), "1. 하나\n\n1. 하나");
}

#[test]
fn marks_are_recognised_next_to_letters() {
    assert_eq!(line(&[text("아주 "), marked("굵게", &["bold"]), text("는")]), "아주 **굵게**는");
    assert_eq!(
        line(&[marked("\"인용\"", &["bold"]), text("은")]),
        "<strong>\"인용\"</strong>은",
        "`**` between punctuation and a letter does not close"
    );
    assert_eq!(line(&[marked(" 안 ", &["italic"]), text("밖")]), "*안* 밖");
    assert_eq!(
        line(&[marked("하나", &["bold"]), marked("둘", &["italic"])]),
        "**하나**<em>둘</em>"
    );
    assert_eq!(
        line(&[text("비"), marked(":비 ~ ", &["bold"]), text("비~")]),
        "비<strong>:비 \\~</strong> 비~",
        "`~` would open a deletion"
    );
    assert_eq!(line(&[marked("a`b", &["code"]), text("`")]), "``a`b``\\`");
    assert_eq!(line(&[marked("밑줄", &["underline"])]), "<u>밑줄</u>");
    let link = json!({"type": "text", "text": "여기", "marks": [{"type": "link", "attrs": {"href": "https://a.example/?a=1&b=(2)"}}]});
    assert_eq!(
        line(&[text("와!"), link.clone()]),
        "와\\![여기](https://a.example/?a=1\\&b=%282%29)"
    );
    assert_eq!(plain_text(&[paragraph(&[link])]), "여기 (https://a.example/?a=1&b=(2))");
}

/// Whatever a document contains, its Markdown can be shown as HTML.
#[test]
fn no_markdown_contains_a_script() {
    let link = |href: &str| {
        json!({"type": "text", "text": "여기", "marks": [
            {"type": "bold"}, {"type": "link", "attrs": {"href": href}}]})
    };
    let image = |src: &str| json!({"type": "image", "attrs": {"src": src, "alt": "바다"}});
    for address in [
        "javascript:alert(1)",
        " JavaScript:alert(1)",
        "\u{1}javascript:alert(1)",
        "java\n\tscript:alert(1)",
        "vbscript:x",
        "data:text/html,<script>alert(1)</script>",
        "DATA:application/x;base64,AA==",
        "data:image",
    ] {
        assert_eq!(line(&[link(address)]), "**여기**", "{address:?}");
        assert_eq!(line(&[image(address)]), "바다", "{address:?}");
        assert_eq!(plain_text(&[paragraph(&[link(address)])]), format!("여기 ({address})"));
    }
    for address in ["https://a.example/javascript:", "mailto:a@example.com", "/a", "javascript"] {
        assert_eq!(line(&[link(address)]), format!("[**여기**]({address})"));
    }
    let picture = "data:image/png;base64,AA==";
    assert_eq!(line(&[image(picture)]), format!("![바다]({picture})"));

    for html in [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "</u></td><svg/onload=alert(1)>",
        "<javascript:alert(1)>",
        "<!-- <a href='javascript:alert(1)'>",
        "[여기](javascript:alert(1))",
        "[여기]: javascript:alert(1)",
    ] {
        let cell = json!({"type": "tableCell", "content": [paragraph(&[text(html)])]});
        let markdown = markdown(&[
            paragraph(&[
                text(html),
                marked(html, &["underline", "code"]),
                marked(html, &["italic"]),
            ]),
            json!({"type": "heading", "attrs": {"level": 1}, "content": [text(html)]}),
            json!({"type": "codeBlock", "attrs": {"language": html}, "content": [text(html)]}),
            json!({"type": "table", "content": [{"type": "tableRow", "content": [cell]}]}),
            json!({"type": html, "attrs": {"title": html}, "content": [text(html)]}),
            json!({"type": "image", "attrs": {"src": html, "alt": html, "title": html}}),
        ]);
        for event in Parser::new_ext(&markdown, Options::all()) {
            match event {
                Event::Html(found) | Event::InlineHtml(found) => {
                    let permitted = ["<u>", "</u>", "<em>", "</em>", "<br>"];
                    assert!(permitted.contains(&&*found), "{found}: {markdown}");
                }
                Event::Start(Tag::Link { dest_url, .. }) => panic!("{dest_url}: {markdown}"),
                Event::Start(Tag::Image { dest_url, .. }) => {
                    assert!(!runs_script(&dest_url), "{dest_url}: {markdown}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn characters_with_a_meaning_are_escaped_and_no_others() {
    for (words, expected) in [
        ("좋다~ 3~5시", "좋다~ 3\\~5시"),
        ("snake_case _안_", "snake_case \\_안\\_"),
        ("1986. 봄", "1986\\. 봄"),
        ("3.14", "3.14"),
        ("- 점", "\\- 점"),
        ("-5도", "-5도"),
        ("# 제목", "\\# 제목"),
        ("#해시태그", "#해시태그"),
        ("> 화살", "\\> 화살"),
        ("a > b", "a > b"),
        ("===", "\\==="),
        ("와! (정말?)", "와! (정말?)"),
        ("<b> & [x](y)", "\\<b> \\& \\[x\\](y)"),
    ] {
        assert_eq!(line(&[text(words)]), expected);
    }
    let hard_break = json!({"type": "hardBreak"});
    let broken = [text("하나"), hard_break.clone(), text("- 둘"), hard_break];
    assert_eq!(line(&broken), "하나\\\n\\- 둘");
    assert_eq!(plain_text(&[paragraph(&broken)]), "하나\n- 둘");
}

/// Texts with characters that have a meaning in Markdown, around a word.
fn phrase() -> impl Strategy<Value = String> {
    let specials = r#"[ a가#*_`~+.!<>|&=:;"'()\[\]\\/0-9-]{0,6}"#;
    let word = prop::sample::select(vec!["비", "word", "1986.", "-", "#", "x_y"]);
    (specials, word, specials).prop_map(|(before, word, after)| format!("{before}{word}{after}"))
}

fn inline() -> impl Strategy<Value = Vec<Value>> {
    let mark = prop_oneof![
        prop::sample::select(vec!["bold", "italic", "strike", "underline", "code"])
            .prop_map(|kind| json!({"type": kind})),
        "[a-z ()&*]{1,4}".prop_map(|href| json!({"type": "link", "attrs": {"href": href}})),
    ];
    let node = prop_oneof![
        8 => (phrase(), vec(mark, 0..3)).prop_map(|(text, marks)| json!({
            "type": "text", "marks": marks, "text": text,
        })),
        1 => Just(json!({"type": "hardBreak"})),
        1 => phrase().prop_map(|label| json!({"type": "mention", "attrs": {"label": label}})),
        1 => phrase().prop_map(|words| json!({"type": "x-unknown", "content": [text(&words)]})),
    ];
    (phrase(), vec(node, 0..5)).prop_map(|(first, mut nodes)| {
        nodes.insert(0, text(&first));
        nodes
    })
}

fn block() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => inline().prop_map(|content| paragraph(&content)),
        1 => (1..7_u8, inline()).prop_map(|(level, content)| json!({
            "type": "heading", "attrs": {"level": level}, "content": content,
        })),
        1 => "[ a`~\n#-]{0,12}x".prop_map(|code| json!({"type": "codeBlock", "content": [text(&code)]})),
        1 => Just(json!({"type": "horizontalRule"})),
    ];
    leaf.prop_recursive(3, 24, 4, |block| {
        let item = |kind: &'static str| {
            (inline(), vec(block.clone(), 0..3), any::<bool>()).prop_map(
                move |(first, rest, checked)| {
                    let mut content = vec![paragraph(&first)];
                    content.extend(rest);
                    json!({"type": kind, "attrs": {"checked": checked}, "content": content})
                },
            )
        };
        let cell = vec(inline().prop_map(|content| paragraph(&content)), 1..3)
            .prop_map(|content| json!({"type": "tableCell", "content": content}));
        let row = vec(cell, 2).prop_map(|cells| json!({"type": "tableRow", "content": cells}));
        prop_oneof![
            vec(item("listItem"), 1..4)
                .prop_map(|items| json!({"type": "bulletList", "content": items})),
            (1..12_u64, vec(item("listItem"), 1..4)).prop_map(|(start, items)| json!({
                "type": "orderedList", "attrs": {"start": start}, "content": items,
            })),
            vec(item("taskItem"), 1..4)
                .prop_map(|items| json!({"type": "taskList", "content": items})),
            vec(block.clone(), 1..4)
                .prop_map(|blocks| json!({"type": "blockquote", "content": blocks})),
            vec(block.clone(), 1..4)
                .prop_map(|blocks| json!({"type": "x-columns", "content": blocks})),
            vec(row, 1..3).prop_map(|rows| json!({"type": "table", "content": rows})),
        ]
    })
}

/// A character other than white space, with the marks of Markdown and the address of its link.
type Shown = (char, [bool; 4], Option<String>);

/// What a document shows: its characters, and the starts of its blocks, except paragraphs.
#[derive(Debug, Default, PartialEq)]
struct Content {
    characters: Vec<Shown>,
    blocks: Vec<String>,
}

impl Content {
    fn add(&mut self, text: &str, marks: [bool; 4], link: Option<&String>) {
        let shown = text.chars().filter(|c| !c.is_whitespace());
        self.characters.extend(shown.map(|c| (c, marks, link.cloned())));
    }

    /// What the nodes say.
    fn of_node(&mut self, node: &Value, marks: [bool; 4], link: Option<&String>) {
        let block = match kind(node) {
            "heading" => format!("heading {}", node["attrs"]["level"]),
            "bulletList" | "taskList" => "bullets".to_owned(),
            "orderedList" => format!("numbers {}", node["attrs"]["start"]),
            "listItem" => "item".to_owned(),
            "taskItem" => format!("task {}", node["attrs"]["checked"]),
            "blockquote" => "quote".to_owned(),
            "codeBlock" => "code".to_owned(),
            "table" => "table".to_owned(),
            "tableRow" => "row".to_owned(),
            "horizontalRule" => "rule".to_owned(),
            "mention" => {
                return self.add(node["attrs"]["label"].as_str().unwrap_or_default(), marks, link);
            }
            _ => String::new(),
        };
        if !block.is_empty() {
            self.blocks.push(block);
        }
        let (mut marks, mut link) = (marks, link.cloned());
        for mark in node["marks"].as_array().into_iter().flatten() {
            match kind(mark) {
                "bold" => marks[0] = true,
                "italic" => marks[1] = true,
                "strike" => marks[2] = true,
                "code" => marks[3] = true,
                "link" => link = mark["attrs"]["href"].as_str().map(str::to_owned),
                _ => {}
            }
        }
        if let Some(text) = node["text"].as_str() {
            self.add(text, marks, link.as_ref());
        }
        for child in children(node) {
            self.of_node(child, marks, link.as_ref());
        }
    }

    /// What a parser of Markdown finds.
    fn of_markdown(markdown: &str) -> Self {
        let options =
            Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS | Options::ENABLE_STRIKETHROUGH;
        let mut content = Self::default();
        let (mut depths, mut links): ([u32; 3], Vec<String>) = ([0; 3], Vec::new());
        for event in Parser::new_ext(markdown, options) {
            let marks = [depths[0] > 0, depths[1] > 0, depths[2] > 0, false];
            match event {
                Event::Text(text) => content.add(&text, marks, links.last()),
                Event::Code(text) => {
                    content.add(&text, [marks[0], marks[1], marks[2], true], links.last());
                }
                Event::InlineHtml(html) => match &*html {
                    "<strong>" => depths[0] += 1,
                    "</strong>" => depths[0] -= 1,
                    "<em>" => depths[1] += 1,
                    "</em>" => depths[1] -= 1,
                    "<del>" => depths[2] += 1,
                    "</del>" => depths[2] -= 1,
                    "<u>" | "</u>" | "<br>" => {}
                    other => panic!("an element that was not written: {other}"),
                },
                Event::Rule => content.blocks.push("rule".to_owned()),
                Event::SoftBreak | Event::HardBreak => {}
                Event::TaskListMarker(checked) => {
                    let item = content.blocks.pop();
                    assert_eq!(item.as_deref(), Some("item"));
                    content.blocks.push(format!("task {checked}"));
                }
                Event::Start(tag) => match tag {
                    Tag::Strong => depths[0] += 1,
                    Tag::Emphasis => depths[1] += 1,
                    Tag::Strikethrough => depths[2] += 1,
                    Tag::Link { dest_url, .. } => links.push(dest_url.into_string()),
                    Tag::Heading { level, .. } => {
                        content.blocks.push(format!("heading {}", level as u8));
                    }
                    Tag::List(None) => content.blocks.push("bullets".to_owned()),
                    Tag::List(Some(start)) => content.blocks.push(format!("numbers {start}")),
                    Tag::Item => content.blocks.push("item".to_owned()),
                    Tag::BlockQuote(_) => content.blocks.push("quote".to_owned()),
                    Tag::CodeBlock(CodeBlockKind::Fenced(_)) => {
                        content.blocks.push("code".to_owned());
                    }
                    Tag::Table(_) => content.blocks.push("table".to_owned()),
                    Tag::TableRow => content.blocks.push("row".to_owned()),
                    // The table of a document without headers gets an empty row of them.
                    Tag::TableHead | Tag::TableCell | Tag::Paragraph => {}
                    other => panic!("a block that was not written: {other:?}"),
                },
                Event::End(tag) => match tag {
                    TagEnd::Strong => depths[0] -= 1,
                    TagEnd::Emphasis => depths[1] -= 1,
                    TagEnd::Strikethrough => depths[2] -= 1,
                    TagEnd::Link => drop(links.pop()),
                    _ => {}
                },
                other => panic!("an event that was not written: {other:?}"),
            }
        }
        content
    }
}

/// The address as it is written: characters that would end it are encoded.
fn encoded(mut content: Content) -> Content {
    for (_, _, link) in &mut content.characters {
        if let Some(href) = link {
            *href = href.replace(' ', "%20").replace('(', "%28").replace(')', "%29");
        }
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_parser_finds_the_same_characters_marks_and_blocks(blocks in vec(block(), 1..4)) {
        let document = json!({"type": "doc", "content": blocks});
        let mut written = Content::default();
        written.of_node(&document, [false; 4], None);
        let markdown = of(&document, Form::Markdown);
        prop_assert_eq!(encoded(written), Content::of_markdown(&markdown), "{}", markdown);
    }

    /// Also of values that no editor writes.
    #[test]
    fn no_word_is_lost(blocks in vec(block(), 1..4), kinds in vec("[a-zA-Z]{1,8}", 3)) {
        let blocks: Vec<_> = blocks
            .into_iter()
            .zip(kinds.iter().cycle())
            .map(|(block, kind)| json!({"type": kind, "content": [block, text("끝"), paragraph(&[])]}))
            .collect();
        let document = json!({"type": "doc", "content": blocks});
        let blocks = of_blocks(&document);
        let shown = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        let markdown = of(&document, Form::Markdown);
        let found = Content::of_markdown(&markdown).characters;
        let found: String = found.into_iter().map(|(c, ..)| c).collect();
        prop_assert_eq!(shown(&blocks.concat()), found, "{}", markdown);

        // The marker of an item and the address of a link are added.
        let plain = of(&document, Form::Plain);
        let mut found = plain.chars();
        for c in shown(&blocks.concat()).chars() {
            prop_assert!(found.any(|other| other == c), "{c:?} is lost in {plain}");
        }
    }
}
