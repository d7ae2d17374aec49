//! A document as Markdown (`CommonMark` with the tables, task lists and strikethrough of GitHub), and
//! as plain text.

use std::fmt::Write as _;

use serde_json::Value;

use super::text::{add_attributes, children, is_block, is_break, is_line, kind};

/// The largest number of columns that one cell may span. Larger numbers are damage.
const MAX_SPAN: usize = 64;

/// The largest number of an ordered list's item. Longer numbers do not begin a list in `CommonMark`.
const MAX_NUMBER: u64 = 999_999_999;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Markdown,
    Plain,
}

/// The document in this form, without a line feed at the end.
pub(super) fn of(document: &Value, form: Form) -> String {
    join(&form.blocks(document), "\n\n")
}

/// A rendered block. Blocks in a list may follow without a blank line.
struct Block {
    text: String,
    kind: BlockKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Paragraph,
    /// A list whose marker is a bullet, or a number; the second marker of each keeps a list apart
    /// from the one before it.
    List {
        is_ordered: bool,
        is_second: bool,
    },
    Other,
}

fn join(blocks: &[Block], separator: &str) -> String {
    let texts: Vec<_> = blocks.iter().map(|block| block.text.as_str()).collect();
    texts.join(separator)
}

impl Form {
    /// The blocks in a node: its block children, and a paragraph for each run of inline children.
    fn blocks(self, node: &Value) -> Vec<Block> {
        let mut blocks = Vec::new();
        self.add_blocks(node, &mut blocks);
        blocks
    }

    fn add_blocks(self, node: &Value, blocks: &mut Vec<Block>) {
        let is_line = is_line(node);
        let mut line = Vec::new();
        for child in children(node) {
            if is_line && !is_block(child) {
                line.push(child);
            } else {
                self.end_line(&mut line, blocks);
                self.block(child, blocks);
            }
        }
        self.end_line(&mut line, blocks);
    }

    fn end_line(self, line: &mut Vec<&Value>, blocks: &mut Vec<Block>) {
        let text = self.paragraph(line);
        line.clear();
        push(blocks, BlockKind::Paragraph, text);
    }

    fn block(self, node: &Value, blocks: &mut Vec<Block>) {
        let has_blocks = children(node).iter().any(is_block);
        match kind(node) {
            "heading" if !has_blocks => {
                push(blocks, BlockKind::Other, self.heading(node));
            }
            "codeBlock" | "code_block" if !has_blocks => {
                push(blocks, BlockKind::Other, self.code_block(node));
            }
            "blockquote" => {
                let text = join(&self.blocks(node), "\n\n");
                let quoted = if text.is_empty() { text } else { indented(&text, "> ", "> ") };
                push(blocks, BlockKind::Other, quoted);
            }
            "bulletList" | "bullet_list" | "taskList" | "task_list" => {
                self.list(node, false, blocks);
            }
            "orderedList" | "ordered_list" => self.list(node, true, blocks),
            "table" => push(blocks, BlockKind::Other, self.table(node)),
            "horizontalRule" | "horizontal_rule" => {
                push(blocks, BlockKind::Other, "---".to_owned());
            }
            _ if children(node).is_empty() => {
                let text = self.paragraph(&[node]);
                push(blocks, BlockKind::Paragraph, text);
            }
            _ => self.add_blocks(node, blocks),
        }
    }

    fn heading(self, node: &Value) -> String {
        let level = node["attrs"]["level"].as_u64().unwrap_or(1).clamp(1, 6);
        let text = self.one_line(&children(node).iter().collect::<Vec<_>>(), false);
        if text.is_empty() || self == Self::Plain {
            return text;
        }
        let mut heading = "#".repeat(usize::try_from(level).unwrap_or(1));
        heading.push(' ');
        // A run of `#` at the end would be removed.
        match text.strip_suffix('#') {
            Some(rest) => {
                heading.push_str(rest);
                heading.push_str("\\#");
            }
            None => heading.push_str(&text),
        }
        heading
    }

    fn code_block(self, node: &Value) -> String {
        let mut code = String::new();
        for child in children(node) {
            add_raw(&mut code, child);
        }
        if self == Self::Plain {
            return code;
        }
        let fence = "`".repeat(longest_run(&code, '`').saturating_add(1).max(3));
        let language = node["attrs"]["language"].as_str().unwrap_or_default();
        let is_plain = |c: char| c.is_alphanumeric() || "-+#._".contains(c);
        let language = if language.chars().all(is_plain) { language } else { "" };
        let end = if code.is_empty() || code.ends_with('\n') { "" } else { "\n" };
        format!("{fence}{language}\n{code}{end}{fence}")
    }

    fn list(self, node: &Value, is_ordered: bool, blocks: &mut Vec<Block>) {
        let is_second = matches!(
            blocks.last().map(|block| block.kind),
            Some(BlockKind::List { is_ordered: before, is_second: false }) if before == is_ordered
        );
        let attribute = |name: &str| node["attrs"][name].as_u64();
        let start = attribute("start").or_else(|| attribute("order")).unwrap_or(1);
        let (mut items, mut is_tight) = (Vec::new(), true);
        for (number, item) in (start.min(MAX_NUMBER)..).zip(children(node)) {
            let marker = match (is_ordered, is_second, self) {
                (true, false, _) | (true, true, Self::Plain) => {
                    format!("{}. ", number.min(MAX_NUMBER))
                }
                (true, true, Self::Markdown) => format!("{}) ", number.min(MAX_NUMBER)),
                (false, true, Self::Markdown) => "* ".to_owned(),
                (false, ..) => "- ".to_owned(),
            };
            let task = match (kind(item), item["attrs"]["checked"].as_bool()) {
                ("taskItem" | "task_item", Some(true)) => "[x] ",
                ("taskItem" | "task_item", _) => "[ ] ",
                _ => "",
            };
            let is_item = matches!(kind(item), "listItem" | "list_item" | "taskItem" | "task_item");
            let mut parts = Vec::new();
            if is_item {
                parts = self.blocks(item);
            } else {
                self.block(item, &mut parts);
            }
            let fits = parts.iter().enumerate().all(|(at, part)| match part.kind {
                BlockKind::Paragraph => at == 0,
                BlockKind::List { .. } => at > 0 && may_follow_a_paragraph(&part.text),
                BlockKind::Other => false,
            });
            is_tight &= fits;
            let body = join(&parts, if fits { "\n" } else { "\n\n" });
            let hanging = " ".repeat(marker.len());
            items.push(indented(&format!("{task}{body}"), &marker, &hanging));
        }
        let text = items.join(if is_tight { "\n" } else { "\n\n" });
        push(blocks, BlockKind::List { is_ordered, is_second }, text);
    }

    fn table(self, node: &Value) -> String {
        let mut rows: Vec<Vec<String>> = Vec::new();
        // For each column, the number of further rows that a cell above covers.
        let mut covered: Vec<usize> = Vec::new();
        for row in children(node) {
            let mut cells = Vec::new();
            let mut skip_covered = |cells: &mut Vec<String>| {
                while let Some(rows) = covered.get_mut(cells.len()).filter(|rows| **rows > 0) {
                    *rows -= 1;
                    cells.push(String::new());
                }
            };
            let mut spans = Vec::new();
            for cell in children(row) {
                skip_covered(&mut cells);
                let span = |name: &str| {
                    let span = cell["attrs"][name].as_u64().unwrap_or(1);
                    usize::try_from(span).unwrap_or(MAX_SPAN).clamp(1, MAX_SPAN)
                };
                let (columns, rows) = (span("colspan"), span("rowspan"));
                spans.push((cells.len(), columns, rows - 1));
                cells.push(self.cell(cell));
                cells.extend(std::iter::repeat_n(String::new(), columns - 1));
            }
            skip_covered(&mut cells);
            for (at, columns, rows) in spans {
                covered.resize(covered.len().max(at + columns), 0);
                covered[at..at + columns].iter_mut().for_each(|covered| *covered = rows);
            }
            rows.push(cells);
        }
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        if columns == 0 {
            return String::new();
        }
        if self == Self::Plain {
            let lines: Vec<_> = rows.iter().map(|cells| cells.join(" | ")).collect();
            return lines.join("\n");
        }
        let is_header = |cell: &Value| matches!(kind(cell), "tableHeader" | "table_header");
        let has_header =
            children(node).first().is_some_and(|row| children(row).iter().all(is_header));
        // A table of GitHub has exactly one row of headers.
        if !has_header {
            rows.insert(0, Vec::new());
        }
        rows.insert(1, vec!["---".to_owned(); columns]);
        let line = |cells: &Vec<String>| {
            let blank = String::new();
            let cells = (0..columns).map(|at| cells.get(at).unwrap_or(&blank));
            cells.fold("|".to_owned(), |line, cell| format!("{line} {cell} |"))
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The lines of a cell, which must be on one line of the table.
    fn cell(self, cell: &Value) -> String {
        let mut lines = Vec::new();
        self.cell_lines(cell, &mut lines);
        lines.join(if self == Self::Markdown { "<br>" } else { " / " })
    }

    fn cell_lines(self, node: &Value, lines: &mut Vec<String>) {
        let is_line = is_line(node);
        let mut inline = Vec::new();
        for child in children(node) {
            if (is_line && !is_block(child)) || children(child).is_empty() {
                inline.push(child);
                continue;
            }
            lines.push(self.one_line(&inline, true));
            inline.clear();
            self.cell_lines(child, lines);
        }
        lines.push(self.one_line(&inline, true));
        lines.retain(|line| !line.is_empty());
    }

    /// Inline nodes on one line; a break is `<br>`, and a space in plain text.
    fn one_line(self, nodes: &[&Value], is_cell: bool) -> String {
        let text = self.inline(nodes, is_cell);
        let lines = text.split('\n').map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<_> = lines.collect();
        lines.join(if self == Self::Markdown { "<br>" } else { " " })
    }

    /// A paragraph of inline nodes.
    fn paragraph(self, nodes: &[&Value]) -> String {
        let text = self.inline(nodes, false);
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        if self == Self::Plain {
            return text.to_owned();
        }
        let lines = text.split('\n').map(|line| line.trim_matches([' ', '\t']));
        let lines: Vec<_> = lines.map(escaped_start).collect();
        // A backslash at the end of a line is a break.
        lines.join("\\\n")
    }

    /// Inline nodes; a line feed is a break.
    fn inline(self, nodes: &[&Value], is_cell: bool) -> String {
        let mut runs = Vec::new();
        for node in nodes {
            self.add_runs(node, &Marks::default(), &mut runs);
        }
        match self {
            // In a cell, another line may precede or follow after `<br>`.
            Self::Markdown if is_cell => wrapped(&runs, 0, '>', '<', true),
            Self::Markdown => wrapped(&runs, 0, ' ', ' ', false),
            Self::Plain => plain(&runs),
        }
    }

    fn add_runs(self, node: &Value, outer: &Marks, runs: &mut Vec<Run>) {
        let marks = outer.with(node);
        match kind(node) {
            "text" => {
                let text = node["text"].as_str().unwrap_or_default();
                // Editors show a line feed in a text as a space.
                let text = text.replace(['\n', '\r'], " ");
                runs.push(Run { text, is_verbatim: false, marks });
            }
            _ if is_break(node) => {
                let marks = Marks { code: None, ..marks };
                runs.push(Run { text: "\n".to_owned(), is_verbatim: true, marks });
            }
            _ if !children(node).is_empty() => {
                for child in children(node) {
                    self.add_runs(child, &marks, runs);
                }
            }
            "image" if self == Self::Markdown && has_target(&node["attrs"]["src"]) => {
                let marks = Marks { code: None, ..marks };
                runs.push(Run { text: image(node), is_verbatim: true, marks });
            }
            _ => {
                // The name of a picture is a separate word.
                let mut before = runs.last().map(|run| run.text.clone()).unwrap_or_default();
                let length = before.len();
                add_attributes(&mut before, node);
                let text = before.split_off(length);
                let marks = Marks { code: None, ..marks };
                runs.push(Run { text: text.replace(['\n', '\r'], " "), is_verbatim: false, marks });
            }
        }
    }
}

fn push(blocks: &mut Vec<Block>, kind: BlockKind, text: String) {
    if !text.is_empty() {
        blocks.push(Block { text, kind });
    }
}

/// The text with this prefix on the first line, and another on the others. Empty lines get no
/// spaces at their end.
fn indented(text: &str, first: &str, others: &str) -> String {
    let mut indented = String::with_capacity(text.len() + first.len());
    for (at, line) in text.split('\n').enumerate() {
        let prefix = if at == 0 { first } else { others };
        if at > 0 {
            indented.push('\n');
        }
        indented.push_str(if line.is_empty() { prefix.trim_end() } else { prefix });
        indented.push_str(line);
    }
    indented
}

/// Whether a rendered list begins after the line of a paragraph: its first item is not empty, and
/// its number is 1 (`CommonMark`, section 5.3).
fn may_follow_a_paragraph(list: &str) -> bool {
    let first = list.lines().next().unwrap_or_default();
    let markers = ["- ", "* ", "1. ", "1) "];
    markers.iter().any(|marker| first.strip_prefix(marker).is_some_and(|rest| !rest.is_empty()))
}

/// Adds the text of a node in a code block.
fn add_raw(code: &mut String, node: &Value) {
    match kind(node) {
        "text" => code.push_str(node["text"].as_str().unwrap_or_default()),
        _ if is_break(node) => code.push('\n'),
        _ if !children(node).is_empty() => {
            for child in children(node) {
                add_raw(code, child);
            }
        }
        _ => add_attributes(code, node),
    }
}

/// A text with the same marks.
struct Run {
    text: String,
    /// Whether the text is Markdown already.
    is_verbatim: bool,
    marks: Marks,
}

/// The marks of a text that Markdown has. Others are omitted.
#[derive(Clone, Default, PartialEq, Eq)]
struct Marks {
    link: Option<Link>,
    bold: Option<()>,
    italic: Option<()>,
    strike: Option<()>,
    underline: Option<()>,
    highlight: Option<()>,
    subscript: Option<()>,
    superscript: Option<()>,
    code: Option<()>,
}

#[derive(Clone, PartialEq, Eq)]
struct Link {
    href: String,
    title: String,
}

impl Marks {
    /// These marks and those of a node.
    fn with(&self, node: &Value) -> Self {
        let mut marks = self.clone();
        for mark in node["marks"].as_array().into_iter().flatten() {
            match kind(mark) {
                "bold" | "strong" => marks.bold = Some(()),
                "italic" | "em" => marks.italic = Some(()),
                "strike" | "strikethrough" | "s" => marks.strike = Some(()),
                "underline" => marks.underline = Some(()),
                "highlight" => marks.highlight = Some(()),
                "subscript" => marks.subscript = Some(()),
                "superscript" => marks.superscript = Some(()),
                "code" => marks.code = Some(()),
                "link" => {
                    let text = |name: &str| mark["attrs"][name].as_str().unwrap_or_default();
                    let (href, title) = (text("href").to_owned(), text("title").to_owned());
                    marks.link = (!href.is_empty()).then_some(Link { href, title });
                }
                _ => {}
            }
        }
        marks
    }
}

/// How a mark is written.
enum Wrap<'a> {
    Link(&'a Link),
    /// A delimiter, and the HTML element for places where the delimiter is not recognised.
    Delimiter(&'static str, &'static str),
    Html(&'static str),
    Code,
}

/// The number of marks, from the outermost to the innermost.
const LEVELS: usize = 9;

/// How the mark of a level is written; `None` if these marks do not have it.
fn wrap(marks: &Marks, level: usize) -> Option<Wrap<'_>> {
    match level {
        0 => marks.link.as_ref().filter(|link| !runs_script(&link.href)).map(Wrap::Link),
        1 => marks.bold.map(|()| Wrap::Delimiter("**", "strong")),
        2 => marks.italic.map(|()| Wrap::Delimiter("*", "em")),
        3 => marks.strike.map(|()| Wrap::Delimiter("~~", "del")),
        4 => marks.underline.map(|()| Wrap::Html("u")),
        5 => marks.highlight.map(|()| Wrap::Html("mark")),
        6 => marks.subscript.map(|()| Wrap::Html("sub")),
        7 => marks.superscript.map(|()| Wrap::Html("sup")),
        _ => marks.code.map(|()| Wrap::Code),
    }
}

/// Whether two marks are the same at this level, so that their texts are in one element.
fn is_same(one: &Marks, other: &Marks, level: usize) -> bool {
    match level {
        0 => one.link == other.link,
        1 => one.bold == other.bold,
        2 => one.italic == other.italic,
        3 => one.strike == other.strike,
        4 => one.underline == other.underline,
        5 => one.highlight == other.highlight,
        6 => one.subscript == other.subscript,
        7 => one.superscript == other.superscript,
        _ => one.code == other.code,
    }
}

/// The runs with the marks of this level and those in it. `before` and `after` are the characters
/// around them.
fn wrapped(runs: &[Run], level: usize, before: char, after: char, is_cell: bool) -> String {
    if level == LEVELS {
        let mut text = String::new();
        for (at, run) in runs.iter().enumerate() {
            text.push_str(&run.markdown(first_char(&runs[at + 1..]).unwrap_or(after)));
        }
        return text;
    }
    let mut text = String::new();
    let mut rest = runs;
    while let Some(first) = rest.first() {
        let is_other = |run: &Run| !is_same(&run.marks, &first.marks, level);
        let (group, others) = rest.split_at(rest.iter().position(is_other).unwrap_or(rest.len()));
        rest = others;
        let before = text.chars().next_back().unwrap_or(before);
        let after = first_char(others).unwrap_or(after);
        let Some(wrap) = wrap(&first.marks, level) else {
            text.push_str(&wrapped(group, level + 1, before, after, is_cell));
            continue;
        };
        if let Wrap::Code = wrap {
            let code: String = group.iter().map(|run| run.text.as_str()).collect();
            text.push_str(&code_span(&code, is_cell));
            continue;
        }
        let inner = wrapped(group, level + 1, '>', '<', is_cell);
        // A delimiter is not recognised next to a space inside of it.
        let content = inner.trim();
        if content.is_empty() {
            text.push_str(&inner);
            continue;
        }
        let start = inner.len() - inner.trim_start().len();
        let (leading, trailing) = (&inner[..start], &inner[start + content.len()..]);
        text.push_str(leading);
        let before = leading.chars().next_back().unwrap_or(before);
        let after = trailing.chars().next().unwrap_or(after);
        match wrap {
            Wrap::Link(link) => {
                // An exclamation mark before it would make it an image.
                if text.ends_with('!') {
                    text.pop();
                    text.push_str("\\!");
                }
                let _ = write!(text, "[{content}]({})", target(&link.href, &link.title));
            }
            Wrap::Delimiter(delimiter, _) if is_delimited(delimiter, before, content, after) => {
                let _ = write!(text, "{delimiter}{content}{delimiter}");
            }
            Wrap::Delimiter(_, element) | Wrap::Html(element) => {
                let _ = write!(text, "<{element}>{content}</{element}>");
            }
            Wrap::Code => {}
        }
        text.push_str(trailing);
    }
    text
}

impl Run {
    /// The text before this character.
    fn markdown(&self, after: char) -> String {
        if self.is_verbatim {
            self.text.clone()
        } else {
            escaped(&self.text, after, self.marks.strike.is_some())
        }
    }
}

fn first_char(runs: &[Run]) -> Option<char> {
    runs.iter().find_map(|run| run.text.chars().next())
}

/// Whether delimiters around this content open and close (`CommonMark`, section 6.2). A delimiter
/// between punctuation and a letter does not, which is common in languages without spaces.
fn is_delimited(delimiter: &str, before: char, content: &str, after: char) -> bool {
    let is_free = |c: char| c.is_whitespace() || c.is_ascii_punctuation();
    // A delimiter that touches another would be read as one with it.
    let touches = |c: char| delimiter.starts_with(c) || c == '\\';
    let (Some(first), Some(last)) = (content.chars().next(), content.chars().next_back()) else {
        return false;
    };
    let opens = first.is_alphanumeric() || is_free(before);
    let closes = last.is_alphanumeric() || is_free(after);
    opens && closes && ![before, first, last, after].into_iter().any(touches)
}

/// A code span: its fence is longer than any run of backticks in it.
fn code_span(code: &str, is_cell: bool) -> String {
    if code.trim().is_empty() {
        return code.to_owned();
    }
    let fence = "`".repeat(longest_run(code, '`') + 1);
    let is_padded = code.starts_with('`')
        || code.ends_with('`')
        || (code.starts_with(' ') && code.ends_with(' '));
    let pad = if is_padded { " " } else { "" };
    // In a table, cells are split before code is recognised.
    let code = if is_cell { code.replace('|', "\\|") } else { code.to_owned() };
    format!("{fence}{pad}{code}{pad}{fence}")
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or_default()
}

fn image(node: &Value) -> String {
    let text = |name: &str| node["attrs"][name].as_str().unwrap_or_default();
    let alt = escaped(&text("alt").replace(['\n', '\r'], " "), ']', false);
    format!("![{alt}]({})", target(text("src"), text("title")))
}

/// Whether an image with this source is written as one.
fn has_target(src: &Value) -> bool {
    src.as_str().is_some_and(|src| !runs_script(src))
}

/// Whether a browser might run this address as a program. `markdown-it`, for example, does not write
/// such links either.
fn runs_script(href: &str) -> bool {
    // Browsers ignore spaces and control characters in this place (WHATWG URL, section 4.4).
    let start: String = href.chars().filter(|c| *c > ' ').take(11).collect();
    let start = start.to_ascii_lowercase();
    let is_data = start.starts_with("data:") && start != "data:image/";
    is_data || start.starts_with("javascript:") || start.starts_with("vbscript:")
}

/// The target of a link or image.
fn target(href: &str, title: &str) -> String {
    let mut target = String::with_capacity(href.len());
    for c in href.chars() {
        match c {
            // A space would end it, a vertical bar the cell of a table, and an entity would be
            // decoded.
            _ if c.is_ascii_control() || " |<>()\\".contains(c) => {
                let _ = write!(target, "%{:02X}", u32::from(c));
            }
            '&' | '*' | '_' | '`' | '[' | ']' | '~' => target.extend(['\\', c]),
            _ if c.is_whitespace() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(target, "%{byte:02X}");
                }
            }
            _ => target.push(c),
        }
    }
    let title = title.replace(['\n', '\r'], " ");
    if title.trim().is_empty() {
        return target;
    }
    format!("{target} \"{}\"", escaped(&title, '"', false).replace('"', "\\\""))
}

/// Whether a delimiter between these characters may open (`CommonMark`, section 6.2). A break is
/// written as punctuation.
fn may_open(before: Option<char>, next: char) -> bool {
    if next == '\n' || next.is_ascii_punctuation() {
        return !before.is_some_and(char::is_alphanumeric);
    }
    !next.is_whitespace()
}

/// The text with the characters escaped that have a meaning anywhere in a line. `after` is the
/// character after it.
fn escaped(text: &str, after: char, is_struck: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let is_special = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '|' | '&' => true,
            // Within a word it has no meaning.
            '_' => ![before, next].into_iter().all(|c| c.is_some_and(char::is_alphanumeric)),
            // At the end, the delimiter or element of a mark may follow it, before the spaces.
            '~' => {
                is_struck
                    || may_open(before, next.unwrap_or(after))
                    || (chars.clone().all(char::is_whitespace) && may_open(before, '<'))
            }
            _ => false,
        };
        if is_special {
            escaped.push('\\');
        }
        // A control character would be replaced, or end the line.
        escaped.push(if c.is_ascii_control() { ' ' } else { c });
        before = Some(c);
    }
    escaped
}

/// The line with the character escaped that would begin a block.
fn escaped_start(line: &str) -> String {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t']);
    let is_heading = line.starts_with('#') && ends(line.trim_start_matches('#'));
    let is_marker = line.strip_prefix(['-', '+']).is_some_and(ends) || line.starts_with('>');
    // Below a paragraph, these lines make it a heading, and `---` is a rule.
    let is_underline = |c: char| !line.is_empty() && line.chars().all(|other| other == c);
    let is_rule = line.starts_with('-') && line.chars().all(|c| "- \t".contains(c));
    if is_heading || is_marker || is_rule || is_underline('=') || is_underline('-') {
        return format!("\\{line}");
    }
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = line.split_at(digits);
    if digits > 0 && rest.strip_prefix(['.', ')']).is_some_and(ends) {
        return format!("{number}\\{rest}");
    }
    line.to_owned()
}

/// The runs without marks. The address of a link follows its text unless it is the text.
fn plain(runs: &[Run]) -> String {
    let mut text = String::new();
    let mut rest = runs;
    while let Some(first) = rest.first() {
        let is_other = |run: &Run| run.marks.link != first.marks.link;
        let (group, others) = rest.split_at(rest.iter().position(is_other).unwrap_or(rest.len()));
        rest = others;
        let words: String = group.iter().map(|run| run.text.as_str()).collect();
        text.push_str(&words);
        if let Some(Link { href, .. }) = &first.marks.link
            && !href.ends_with(words.trim())
        {
            let _ = write!(text, " ({href})");
        }
    }
    text
}

#[cfg(test)]
mod tests;
