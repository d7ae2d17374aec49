//! Checks whether an editor would open a document: the schema of TipTap's usual extensions,
//! deliberately written independently of the merge.

use serde_json::Value;

/// Node types with their permitted children, as content expressions of ProseMirror.
const NODES: [(&str, &str); 22] = [
    ("doc", "block+"),
    ("paragraph", "inline*"),
    ("heading", "inline*"),
    ("blockquote", "block+"),
    ("codeBlock", "text*"),
    ("horizontalRule", ""),
    ("image", ""),
    ("bulletList", "listItem+"),
    ("orderedList", "listItem+"),
    ("listItem", "paragraph block*"),
    ("taskList", "taskItem+"),
    ("taskItem", "paragraph block*"),
    ("table", "tableRow+"),
    ("tableRow", "(tableCell | tableHeader)*"),
    ("tableCell", "block+"),
    ("tableHeader", "block+"),
    ("details", "detailsSummary detailsContent"),
    ("detailsSummary", "text*"),
    ("detailsContent", "block+"),
    ("text", ""),
    ("hardBreak", ""),
    ("mention", ""),
];

const BLOCKS: [&str; 10] = [
    "paragraph",
    "heading",
    "blockquote",
    "codeBlock",
    "horizontalRule",
    "image",
    "bulletList",
    "orderedList",
    "taskList",
    "table",
];

/// Whether a node type belongs to a group or has that name.
fn is_in(kind: &str, group: &str) -> bool {
    match group {
        "block" => BLOCKS.contains(&kind) || kind == "details",
        "inline" => ["text", "hardBreak", "mention"].contains(&kind),
        _ => kind == group,
    }
}

/// Marks that exclude all other marks.
const EXCLUSIVE: &str = "code";
const MARKS: [&str; 6] = ["bold", "italic", "strike", "underline", "link", "code"];

/// The reason why the document is rejected, if it is.
pub(in crate::merge::tests) fn refusal(node: &Value) -> Option<String> {
    let kind = node["type"].as_str().unwrap_or("no type");
    let Some((_, expression)) = NODES.iter().find(|(name, _)| *name == kind) else {
        return Some(format!("unknown node {kind}"));
    };
    let children = node["content"].as_array().map_or(&[][..], Vec::as_slice);
    let kinds: Vec<&str> = children.iter().map(|n| n["type"].as_str().unwrap_or("")).collect();
    if !Expression::parse(expression).matches(&kinds) {
        return Some(format!("{kind} takes {expression:?}, not {kinds:?}"));
    }
    if kind == "text" && node["text"].as_str().unwrap_or("").is_empty() {
        return Some("an empty text".to_owned());
    }
    let joined = |pair: &[Value]| {
        pair[0]["type"] == "text"
            && pair[1]["type"] == "text"
            && pair[0]["marks"] == pair[1]["marks"]
    };
    if children.windows(2).any(joined) {
        return Some(format!("two texts with the same marks in a {kind}"));
    }
    for child in children {
        let marks = child["marks"].as_array().map_or(&[][..], Vec::as_slice);
        let names: Vec<&str> = marks.iter().map(|m| m["type"].as_str().unwrap_or("")).collect();
        let is_twice = |i: usize| names[..i].contains(&names[i]);
        if names.iter().any(|name| !MARKS.contains(name))
            || (0..names.len()).any(is_twice)
            || names.len() > 1 && names.contains(&EXCLUSIVE)
            || kind == "codeBlock" && !names.is_empty()
        {
            return Some(format!("marks {names:?} in a {kind}"));
        }
    }
    if kind == "table" && !is_rectangular(children) {
        return Some("a ragged table".to_owned());
    }
    children.iter().find_map(refusal)
}

/// Whether the cells with their spans cover each position of a grid exactly once.
fn is_rectangular(rows: &[Value]) -> bool {
    let mut grid: Vec<Vec<bool>> = vec![Vec::new(); rows.len()];
    for (y, row) in rows.iter().enumerate() {
        let mut x = 0;
        for cell in row["content"].as_array().into_iter().flatten() {
            while grid[y].get(x) == Some(&true) {
                x += 1;
            }
            let span = |name: &str| {
                let span = cell["attrs"][name].as_u64().unwrap_or(1);
                usize::try_from(span).expect("a small span")
            };
            let (width, height) = (span("colspan"), span("rowspan"));
            if y + height > rows.len() {
                return false;
            }
            for line in &mut grid[y..y + height] {
                if line.len() < x + width {
                    line.resize(x + width, false);
                }
                for place in &mut line[x..x + width] {
                    if std::mem::replace(place, true) {
                        return false;
                    }
                }
            }
            x += width;
        }
    }
    grid.iter().all(|line| line.len() == grid[0].len() && line.iter().all(|place| *place))
}

/// A content expression: names, groups in parentheses, `|`, `*`, `+` and `?`.
enum Expression {
    Name(String),
    Sequence(Vec<Expression>),
    Choice(Vec<Expression>),
    /// The minimum number, and whether it is at most one (`?`).
    Repeat(Box<Expression>, usize, bool),
}

impl Expression {
    fn parse(text: &str) -> Self {
        let spaced = ["(", ")", "|", "*", "+", "?"]
            .iter()
            .fold(text.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
        let tokens: Vec<&str> = spaced.split_whitespace().collect();
        let mut rest = &tokens[..];
        let expression = Self::choice(&mut rest);
        assert!(rest.is_empty(), "{text}");
        expression
    }

    fn choice(rest: &mut &[&str]) -> Self {
        let mut choices = vec![Self::sequence(rest)];
        while rest.first() == Some(&"|") {
            *rest = &rest[1..];
            choices.push(Self::sequence(rest));
        }
        Self::Choice(choices)
    }

    fn sequence(rest: &mut &[&str]) -> Self {
        let mut parts = Vec::new();
        while let Some(&token) = rest.first().filter(|token| !["|", ")"].contains(token)) {
            *rest = &rest[1..];
            let part = if token == "(" {
                let part = Self::choice(rest);
                assert_eq!(rest.first(), Some(&")"));
                *rest = &rest[1..];
                part
            } else {
                Self::Name(token.to_owned())
            };
            let (part, taken) = match rest.first() {
                Some(&"*") => (Self::Repeat(Box::new(part), 0, false), 1),
                Some(&"+") => (Self::Repeat(Box::new(part), 1, false), 1),
                Some(&"?") => (Self::Repeat(Box::new(part), 0, true), 1),
                _ => (part, 0),
            };
            *rest = &rest[taken..];
            parts.push(part);
        }
        Self::Sequence(parts)
    }

    fn matches(&self, kinds: &[&str]) -> bool {
        self.ends(kinds, 0).contains(&kinds.len())
    }

    /// The positions where a match that begins at `start` may end.
    fn ends(&self, kinds: &[&str], start: usize) -> Vec<usize> {
        let mut ends = match self {
            Self::Name(name) => {
                let is_it = kinds.get(start).is_some_and(|kind| is_in(kind, name));
                if is_it { vec![start + 1] } else { vec![] }
            }
            Self::Sequence(parts) => parts.iter().fold(vec![start], |starts, part| {
                starts.iter().flat_map(|&start| part.ends(kinds, start)).collect()
            }),
            Self::Choice(choices) => choices.iter().flat_map(|c| c.ends(kinds, start)).collect(),
            Self::Repeat(part, at_least, at_most_once) => {
                let mut ends = if *at_least == 0 { vec![start] } else { vec![] };
                let mut from = vec![start];
                for _ in 0..if *at_most_once { 1 } else { kinds.len() } {
                    from = from.iter().flat_map(|&start| part.ends(kinds, start)).collect();
                    from.sort_unstable();
                    from.dedup();
                    ends.extend(&from);
                }
                ends
            }
        };
        ends.sort_unstable();
        ends.dedup();
        ends
    }
}

#[test]
fn content_expressions_match_as_in_the_editor() {
    let accepts = |expression: &str, kinds: &[&str]| Expression::parse(expression).matches(kinds);
    assert!(accepts("block+", &["paragraph", "table"]));
    assert!(!accepts("block+", &[]));
    assert!(!accepts("block+", &["listItem"]));
    assert!(accepts("paragraph block*", &["paragraph"]));
    assert!(!accepts("paragraph block*", &["bulletList"]));
    assert!(accepts("(tableCell | tableHeader)*", &["tableHeader", "tableCell"]));
    assert!(!accepts("detailsSummary detailsContent", &["detailsSummary", "detailsSummary"]));
    assert!(accepts("text?", &[]) && !accepts("text?", &["text", "text"]));
    assert!(accepts("", &[]) && !accepts("", &["text"]));
}

#[test]
fn tables_must_be_grids() {
    let cell = |width: u64, height: u64| serde_json::json!({"attrs": {"colspan": width, "rowspan": height}});
    let row = |cells: &[Value]| serde_json::json!({"content": cells});
    let one = || cell(1, 1);
    assert!(is_rectangular(&[row(&[cell(1, 2), one()]), row(&[one()])]));
    assert!(is_rectangular(&[row(&[cell(2, 1)]), row(&[one(), one()])]));
    assert!(!is_rectangular(&[row(&[one(), one()]), row(&[one()])]));
    assert!(!is_rectangular(&[row(&[cell(1, 2), one()]), row(&[one(), one()])]));
    assert!(!is_rectangular(&[row(&[cell(1, 2)])]));
}
