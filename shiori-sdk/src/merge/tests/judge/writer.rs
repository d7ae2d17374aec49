//! Documents, and what people do to them in an editor. All of it follows from a seed.

use serde_json::{Value, json};

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    Typing,
    Enter,
    Lists,
    Wrapping,
    Marks,
    Tables,
    Moves,
    Pastes,
    Blocks,
    Details,
    Attributes,
    Everything,
}

impl Habit {
    pub(super) const ALL: [Self; 12] = [
        Self::Typing,
        Self::Enter,
        Self::Lists,
        Self::Wrapping,
        Self::Marks,
        Self::Tables,
        Self::Moves,
        Self::Pastes,
        Self::Blocks,
        Self::Details,
        Self::Attributes,
        Self::Everything,
    ];

    #[allow(clippy::too_many_lines)] // A list for each habit.
    fn edits(self) -> Vec<Edit> {
        match self {
            Self::Typing => vec![
                Writer::insert,
                Writer::insert,
                Writer::append,
                Writer::remove,
                Writer::replace,
                Writer::line_break,
            ],
            Self::Enter => vec![
                Writer::split,
                Writer::split,
                Writer::split,
                Writer::join,
                Writer::join,
                Writer::new_line,
                Writer::blank_line,
                Writer::cut_across,
                Writer::insert,
                Writer::append,
                Writer::remove,
                Writer::replace,
            ],
            Self::Lists => vec![
                Writer::sink,
                Writer::lift,
                Writer::add_item,
                Writer::remove_item,
                Writer::move_item,
                Writer::turn_list,
                Writer::split,
                Writer::join,
                Writer::list,
                Writer::insert,
                Writer::remove,
            ],
            Self::Wrapping => vec![
                Writer::quote,
                Writer::unquote,
                Writer::list,
                Writer::lift,
                Writer::turn_block,
                Writer::insert,
                Writer::remove,
                Writer::replace,
            ],
            Self::Marks => vec![
                Writer::mark,
                Writer::mark,
                Writer::mark,
                Writer::insert,
                Writer::remove,
                Writer::replace,
            ],
            Self::Tables => vec![
                Writer::add_row,
                Writer::remove_row,
                Writer::add_column,
                Writer::remove_column,
                Writer::merge_cells,
                Writer::turn_cell,
                Writer::insert,
                Writer::replace,
            ],
            Self::Moves => vec![
                Writer::move_block,
                Writer::move_block,
                Writer::move_item,
                Writer::move_words,
                Writer::insert,
                Writer::remove,
                Writer::remove_blocks,
            ],
            Self::Pastes => vec![
                Writer::paste_blocks,
                Writer::paste_words,
                Writer::paste_words,
                Writer::new_line,
                Writer::remove,
                Writer::remove_blocks,
            ],
            Self::Blocks => vec![
                Writer::paste_blocks,
                Writer::remove_blocks,
                Writer::remove_blocks,
                Writer::cut_across,
                Writer::rule,
                Writer::image,
                Writer::turn_block,
                Writer::insert,
            ],
            Self::Details => vec![
                Writer::details,
                Writer::remove_blocks,
                Writer::insert,
                Writer::append,
                Writer::remove,
                Writer::replace,
                Writer::new_line,
                Writer::split,
            ],
            Self::Attributes => vec![
                Writer::align,
                Writer::align,
                Writer::tick,
                Writer::turn_block,
                Writer::insert,
                Writer::append,
                Writer::fill,
            ],
            Self::Everything => {
                let others = Self::ALL.iter().filter(|habit| **habit != Self::Everything);
                others.flat_map(|habit| habit.edits()).collect()
            }
        }
    }
}

type Edit = fn(&mut Writer, &mut Value);

/// A base, and what two writers made of it.
#[derive(Debug)]
pub(super) struct Triple {
    pub(super) base: Value,
    pub(super) ours: Value,
    pub(super) theirs: Value,
}

/// The triple of a seed. Each word in it is unique: those of the base, of ours and of theirs begin
/// with different syllables and count on from there.
pub(super) fn triple(habit: Habit, seed: u64) -> Triple {
    let random = Random(seed.wrapping_mul(0x9E37_79B9).wrapping_add(habit as u64));
    let mut writer = Writer { random, first: '가', count: 0, habit };
    let base = writer.document();
    let mut side = |first| {
        (writer.first, writer.count) = (first, 0);
        let mut doc = base.clone();
        let edits = habit.edits();
        for _ in 0..=writer.random.below(3) {
            let edit = edits[writer.random.below(edits.len())];
            edit(&mut writer, &mut doc);
        }
        doc
    };
    let (ours, theirs) = (side('나'), side('다'));
    Triple { base, ours, theirs }
}

/// `SplitMix64`, by G. Steele, D. Lea and C. Flood (2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())).cloned() }
    }
}

type Path = Vec<usize>;

fn kind(node: &Value) -> &str {
    node["type"].as_str().unwrap_or_default()
}

fn children(node: &Value) -> &[Value] {
    node["content"].as_array().map_or(&[], Vec::as_slice)
}

fn children_mut(node: &mut Value) -> &mut Vec<Value> {
    if !node["content"].is_array() {
        node["content"] = json!([]);
    }
    node["content"].as_array_mut().expect("a list")
}

fn set_children(node: &mut Value, children: Vec<Value>) {
    if children.is_empty() {
        node.as_object_mut().expect("a node").remove("content");
    } else {
        node["content"] = Value::Array(children);
    }
}

fn at<'v>(doc: &'v Value, path: &[usize]) -> &'v Value {
    path.iter().fold(doc, |node, &i| &node["content"][i])
}

fn at_mut<'v>(doc: &'v mut Value, path: &[usize]) -> &'v mut Value {
    path.iter().fold(doc, |node, &i| &mut node["content"][i])
}

/// The paths of all nodes that are wanted, in reading order.
fn find(doc: &Value, is_wanted: &dyn Fn(&Value) -> bool) -> Vec<Path> {
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

fn is_text_block(node: &Value) -> bool {
    matches!(kind(node), "paragraph" | "heading" | "codeBlock" | "detailsSummary")
}

fn is_list(node: &Value) -> bool {
    matches!(kind(node), "bulletList" | "orderedList" | "taskList")
}

fn is_item(node: &Value) -> bool {
    matches!(kind(node), "listItem" | "taskItem")
}

fn node(kind: &str, content: Vec<Value>) -> Value {
    let mut node = json!({"type": kind});
    set_children(&mut node, content);
    node
}

/// A stretch of text without or with nothing but white space, or another inline node.
#[derive(Debug, Clone)]
enum Piece {
    Text(String, Value),
    Node(Value),
}

impl Piece {
    fn is_word(&self) -> bool {
        matches!(self, Self::Text(text, _) if !text.trim().is_empty())
    }
}

fn pieces(block: &Value) -> Vec<Piece> {
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

/// As an editor has it: neighbours with the same marks are one node.
fn content(pieces: &[Piece]) -> Vec<Value> {
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

fn words_of(pieces: &[Piece]) -> Vec<usize> {
    (0..pieces.len()).filter(|&i| pieces[i].is_word()).collect()
}

struct Writer {
    random: Random,
    /// The first syllable of each word that is written now.
    first: char,
    count: usize,
    habit: Habit,
}

impl Writer {
    fn word(&mut self) -> String {
        let syllable = |n: usize| {
            let n = u32::try_from(n % 400).expect("small");
            char::from_u32('가' as u32 + n * 28).expect("a syllable")
        };
        self.count += 1;
        let word = format!("{}{}{}", self.first, syllable(self.count / 400), syllable(self.count));
        match self.random.below(9) {
            0 => format!("{word}."),
            1 => format!("{word},"),
            _ => word,
        }
    }

    fn words(&mut self, count: usize) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn some_words(&mut self) -> String {
        let count = 1 + self.random.below(3);
        self.words(count)
    }

    // What a document is made of.

    fn document(&mut self) -> Value {
        let count = 1 + self.random.below(5);
        let blocks = (0..count).map(|_| self.block(0)).collect();
        node("doc", blocks)
    }

    fn block(&mut self, depth: usize) -> Value {
        let wanted = match self.habit {
            Habit::Typing | Habit::Marks => [0, 0, 0, 0, 1, 2, 3],
            Habit::Enter => [0, 0, 0, 0, 1, 2, 9],
            Habit::Lists => [0, 2, 2, 2, 3, 2, 0],
            Habit::Tables => [6, 6, 6, 6, 6, 0, 2],
            Habit::Details => [7, 7, 7, 7, 0, 9, 2],
            Habit::Attributes => [0, 1, 3, 3, 9, 9, 2],
            _ => [0, 0, 0, 10, 10, 10, 10],
        };
        let which = match wanted[self.random.below(wanted.len())] {
            10 => self.random.below(10),
            which => which,
        };
        match which {
            1 => {
                let level = 1 + self.random.below(3);
                let text = self.line();
                let mut heading = node("heading", text);
                heading["attrs"] = json!({"level": level});
                heading
            }
            2 if depth < 2 => {
                let items = 1 + self.random.below(4);
                let items = (0..items).map(|_| self.item("listItem", depth)).collect();
                let list = if self.random.one_in(3) { "orderedList" } else { "bulletList" };
                node(list, items)
            }
            3 if depth < 2 => {
                let items = 1 + self.random.below(3);
                node("taskList", (0..items).map(|_| self.item("taskItem", depth)).collect())
            }
            4 if depth < 2 => {
                let count = 1 + self.random.below(2);
                node("blockquote", (0..count).map(|_| self.block(depth + 1)).collect())
            }
            5 => {
                let lines = 1 + self.random.below(3);
                let lines: Vec<String> = (0..lines).map(|_| self.some_words()).collect();
                node("codeBlock", vec![json!({"type": "text", "text": lines.join("\n")})])
            }
            6 if depth == 0 => self.table(),
            7 if depth < 2 => self.new_details(depth),
            8 => {
                if self.random.one_in(2) {
                    json!({"type": "horizontalRule"})
                } else {
                    let alt = self.word();
                    json!({"type": "image", "attrs": {"src": format!("{alt}.png")}})
                }
            }
            9 => node("paragraph", vec![]),
            _ => self.paragraph(),
        }
    }

    fn paragraph(&mut self) -> Value {
        let text = self.line();
        node("paragraph", text)
    }

    fn line(&mut self) -> Vec<Value> {
        let count = 1 + self.random.below(9);
        let mut marks = Value::Null;
        let mut pieces = Vec::new();
        for i in 0..count {
            if i > 0 {
                pieces.push(Piece::Text(" ".to_owned(), marks.clone()));
            }
            if self.random.one_in(6) {
                marks = self.marks();
            }
            if self.random.one_in(25) {
                pieces.push(Piece::Node(json!({"type": "mention", "attrs": {"id": self.word()}})));
            } else {
                pieces.push(Piece::Text(self.word(), marks.clone()));
            }
        }
        content(&pieces)
    }

    fn marks(&mut self) -> Value {
        let all = [
            Value::Null,
            Value::Null,
            json!([{"type": "bold"}]),
            json!([{"type": "italic"}]),
            json!([{"type": "bold"}, {"type": "italic"}]),
            json!([{"type": "code"}]),
            json!([{"type": "link", "attrs": {"href": "a"}}]),
        ];
        self.random.pick(&all).expect("some")
    }

    fn item(&mut self, kind: &str, depth: usize) -> Value {
        let mut blocks = vec![self.paragraph()];
        if depth < 1 && self.random.one_in(4) {
            blocks.push(if self.random.one_in(3) {
                self.paragraph()
            } else {
                let count = 1 + self.random.below(2);
                let list = if kind == "taskItem" { "taskList" } else { "bulletList" };
                node(list, (0..count).map(|_| self.item(kind, depth + 1)).collect())
            });
        }
        let mut item = node(kind, blocks);
        if kind == "taskItem" {
            item["attrs"] = json!({"checked": self.random.one_in(2)});
        }
        item
    }

    fn cell(&mut self, kind: &str) -> Value {
        let text = match self.random.below(4) {
            0 => vec![],
            _ => vec![json!({"type": "text", "text": self.some_words()})],
        };
        let mut cell = node(kind, vec![node("paragraph", text)]);
        cell["attrs"] = json!({"colspan": 1, "rowspan": 1});
        cell
    }

    fn table(&mut self) -> Value {
        let (rows, columns) = (1 + self.random.below(4), 1 + self.random.below(3));
        let header = self.random.one_in(2);
        let mut table = Vec::new();
        for y in 0..rows {
            let kind = if y == 0 && header { "tableHeader" } else { "tableCell" };
            table.push(node("tableRow", (0..columns).map(|_| self.cell(kind)).collect()));
        }
        let mut table = node("table", table);
        if self.random.one_in(6) {
            self.merge_cells_of(&mut table);
        }
        table
    }

    fn new_details(&mut self, depth: usize) -> Value {
        let summary = vec![json!({"type": "text", "text": self.words(3)})];
        let count = 1 + self.random.below(2);
        let content = (0..count).map(|_| self.block(depth + 1)).collect();
        let parts = vec![node("detailsSummary", summary), node("detailsContent", content)];
        node("details", parts)
    }

    // Where an edit takes place.

    fn find(&mut self, doc: &Value, is_wanted: impl Fn(&Value) -> bool) -> Option<Path> {
        let found = find(doc, &is_wanted);
        self.random.pick(&found)
    }

    fn text_block(&mut self, doc: &Value) -> Option<Path> {
        self.find(doc, is_text_block)
    }

    /// A text block with words in it.
    fn written(&mut self, doc: &Value) -> Option<(Path, Vec<Piece>, Vec<usize>)> {
        let is_written =
            |node: &Value| is_text_block(node) && pieces(node).iter().any(Piece::is_word);
        let path = self.find(doc, is_written)?;
        let pieces = pieces(at(doc, &path));
        let words = words_of(&pieces);
        Some((path, pieces, words))
    }

    /// The place of a block among others, which may be any.
    fn place(&mut self, doc: &Value) -> (Path, usize) {
        let holds_blocks = |node: &Value| {
            matches!(
                kind(node),
                "doc" | "blockquote" | "detailsContent" | "tableCell" | "tableHeader"
            )
        };
        let parent = if self.random.one_in(3) {
            self.find(doc, holds_blocks).unwrap_or_default()
        } else {
            vec![]
        };
        let place = self.random.below(children(at(doc, &parent)).len() + 1);
        (parent, place)
    }

    // Typing.

    fn insert(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, words)) = self.written(doc) else { return self.fill(doc) };
        let text = self.some_words();
        let place = words[self.random.below(words.len())];
        let Piece::Text(_, marks) = pieces[place].clone() else { return };
        let (text, space) = (Piece::Text(text, marks.clone()), Piece::Text(" ".to_owned(), marks));
        if self.random.one_in(4) {
            pieces.splice(place..place, [text, space]);
        } else {
            pieces.splice(place + 1..=place, [space, text]);
        }
        set_children(at_mut(doc, &path), content(&pieces));
    }

    fn append(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, _)) = self.written(doc) else { return self.fill(doc) };
        let text = format!(" {}", self.some_words());
        pieces.push(Piece::Text(text, Value::Null));
        set_children(at_mut(doc, &path), content(&pieces));
    }

    /// Writes into a text block, be it empty or not.
    fn fill(&mut self, doc: &mut Value) {
        let Some(path) = self.text_block(doc) else { return };
        let mut pieces = pieces(at(doc, &path));
        let space = if pieces.is_empty() { "" } else { " " };
        let text = format!("{space}{}", self.some_words());
        pieces.push(Piece::Text(text, Value::Null));
        set_children(at_mut(doc, &path), content(&pieces));
    }

    fn remove(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, words)) = self.written(doc) else { return };
        let first = self.random.below(words.len());
        let last = (first + self.random.below(3)).min(words.len() - 1);
        // With the space behind, or else before.
        let end = words.get(last + 1).map_or(pieces.len(), |&end| end);
        let start =
            if last + 1 < words.len() || first == 0 { words[first] } else { words[first - 1] + 1 };
        pieces.drain(start..end);
        set_children(at_mut(doc, &path), content(&pieces));
    }

    fn replace(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, words)) = self.written(doc) else { return };
        let place = words[self.random.below(words.len())];
        let Piece::Text(_, marks) = pieces[place].clone() else { return };
        pieces[place] = Piece::Text(self.some_words(), marks);
        set_children(at_mut(doc, &path), content(&pieces));
    }

    fn line_break(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, words)) = self.written(doc) else { return };
        if !matches!(kind(at(doc, &path)), "paragraph" | "heading") {
            return;
        }
        let place = words[self.random.below(words.len())];
        pieces.insert(place, Piece::Node(json!({"type": "hardBreak"})));
        set_children(at_mut(doc, &path), content(&pieces));
    }

    // Enter, and Backspace at the start of a block.

    fn split(&mut self, doc: &mut Value) {
        let Some((path, pieces, words)) = self.written(doc) else { return };
        let place = words[self.random.below(words.len())];
        let (mut left, mut right) = (pieces[..place].to_vec(), pieces[place..].to_vec());
        let is_white =
            |piece: &Piece| matches!(piece, Piece::Text(text, _) if text.trim().is_empty());
        if left.last().is_some_and(is_white) {
            // The caret was before the space, behind it, or the space had been removed.
            match self.random.below(3) {
                0 => right.insert(0, left.pop().expect("a last one")),
                1 => drop(left.pop()),
                _ => {}
            }
        }
        let block = at(doc, &path).clone();
        match kind(&block) {
            "detailsSummary" => return,
            "codeBlock" => {
                left.push(Piece::Text("\n".to_owned(), Value::Null));
                left.extend(right);
                set_children(at_mut(doc, &path), content(&left));
                return;
            }
            _ => {}
        }
        let mut second = block;
        set_children(&mut second, content(&right));
        set_children(at_mut(doc, &path), content(&left));
        let (&index, parent) = path.split_last().expect("not the document");
        let holder = at_mut(doc, parent);
        if is_item(holder) && index == 0 {
            let mut item = holder.clone();
            let rest = children_mut(holder).split_off(1);
            set_children(&mut item, [vec![second], rest].concat());
            if kind(&item) == "taskItem" {
                item["attrs"]["checked"] = json!(false);
            }
            let (&index, list) = parent.split_last().expect("in a list");
            children_mut(at_mut(doc, list)).insert(index + 1, item);
        } else {
            children_mut(holder).insert(index + 1, second);
        }
    }

    fn join(&mut self, doc: &mut Value) {
        let can_join = |doc: &Value, path: &Path| {
            let (&index, parent) = path.split_last().expect("not the document");
            let parent = at(doc, parent);
            index > 0
                && is_text_block(&children(parent)[index])
                && matches!(kind(&children(parent)[index - 1]), "paragraph" | "heading")
                && kind(&children(parent)[index]) != "codeBlock"
        };
        let found: Vec<Path> =
            find(doc, &is_text_block).into_iter().filter(|path| can_join(doc, path)).collect();
        if self.random.one_in(3) {
            return self.join_items(doc);
        }
        let Some(path) = self.random.pick(&found) else { return };
        let (&index, parent) = path.split_last().expect("not the document");
        let blocks = children_mut(at_mut(doc, parent));
        let second = blocks.remove(index);
        add_to(&mut blocks[index - 1], &second);
    }

    fn join_items(&mut self, doc: &mut Value) {
        let lists = find(doc, &|node| is_list(node) && children(node).len() > 1);
        let Some(path) = self.random.pick(&lists) else { return };
        let items = children_mut(at_mut(doc, &path));
        let index = 1 + self.random.below(items.len() - 1);
        if children(&items[index - 1]).len() > 1 {
            return;
        }
        let mut item = items.remove(index);
        let rest = children_mut(&mut item).split_off(1);
        let second = children(&item)[0].clone();
        let before = children_mut(&mut items[index - 1]);
        add_to(&mut before[0], &second);
        before.extend(rest);
    }

    /// Enter at the end, and words on the new line.
    fn new_line(&mut self, doc: &mut Value) {
        let Some(path) = self.find(doc, |node| kind(node) == "paragraph") else { return };
        let (&index, parent) = path.split_last().expect("not the document");
        let text = vec![json!({"type": "text", "text": self.some_words()})];
        children_mut(at_mut(doc, parent)).insert(index + 1, node("paragraph", text));
    }

    fn blank_line(&mut self, doc: &mut Value) {
        let (parent, place) = self.place(doc);
        children_mut(at_mut(doc, &parent)).insert(place, node("paragraph", vec![]));
    }

    /// Selects from within one block to within a later one, and deletes.
    fn cut_across(&mut self, doc: &mut Value) {
        let blocks = children_mut(doc);
        let found: Vec<usize> = (0..blocks.len())
            .filter(|&i| matches!(kind(&blocks[i]), "paragraph" | "heading"))
            .collect();
        let (Some(one), Some(other)) = (self.random.pick(&found), self.random.pick(&found)) else {
            return;
        };
        let (start, end) = (one.min(other), one.max(other));
        if start == end || end - start > 3 {
            return;
        }
        let (mut left, right) = (pieces(&blocks[start]), pieces(&blocks[end]));
        let (from, to) = (self.random.below(left.len() + 1), self.random.below(right.len() + 1));
        left.truncate(from);
        let mut tail = blocks[end].clone();
        set_children(&mut tail, content(&right[to..]));
        set_children(&mut blocks[start], content(&left));
        blocks.drain(start + 1..=end);
        let first = &mut blocks[start];
        add_to(first, &tail);
    }

    // Lists.

    fn list(&mut self, doc: &mut Value) {
        let place = self.random.below(children(doc).len());
        let block = &mut children_mut(doc)[place];
        if kind(block) == "paragraph" {
            let list = if self.random.one_in(2) { "bulletList" } else { "orderedList" };
            *block = node(list, vec![node("listItem", vec![block.clone()])]);
        }
    }

    fn sink(&mut self, doc: &mut Value) {
        let lists = find(doc, &|node| is_list(node) && children(node).len() > 1);
        let Some(path) = self.random.pick(&lists) else { return };
        let list = at_mut(doc, &path);
        let kind = kind(list).to_owned();
        let items = children_mut(list);
        let index = 1 + self.random.below(items.len() - 1);
        let item = items.remove(index);
        let before = children_mut(&mut items[index - 1]);
        match before.last_mut() {
            Some(nested) if nested["type"] == *kind => children_mut(nested).push(item),
            _ => before.push(node(&kind, vec![item])),
        }
    }

    fn lift(&mut self, doc: &mut Value) {
        let Some(path) = self.find(doc, is_item) else { return };
        let (&index, list) = path.split_last().expect("in a list");
        let (&place, parent) = list.split_last().expect("in something");
        let list_node = at_mut(doc, list);
        let mut after = list_node.clone();
        let mut items = children_mut(list_node).split_off(index);
        let rest = items.split_off(1);
        let mut item = items.remove(0);
        set_children(&mut after, rest);
        let is_left_empty = children(at(doc, list)).is_empty();
        let is_nested = is_item(at(doc, parent));
        let mut lifted = if is_nested {
            // What followed in the nested list goes into the lifted item.
            if !children(&after).is_empty() {
                children_mut(&mut item).push(after);
            }
            let holder = at_mut(doc, parent);
            if is_left_empty {
                children_mut(holder).remove(place);
            }
            // What followed the nested list does so still.
            let from = if is_left_empty { place } else { place + 1 };
            let tail = children_mut(holder).split_off(from);
            children_mut(&mut item).extend(tail);
            let (&outer, list) = parent.split_last().expect("in a list");
            if kind(at(doc, list)) == "taskList" {
                item["type"] = json!("taskItem");
                item["attrs"] = json!({"checked": false});
            } else {
                item["type"] = json!("listItem");
                item.as_object_mut().expect("a node").remove("attrs");
            }
            children_mut(at_mut(doc, list)).insert(outer + 1, item);
            return;
        } else {
            children(&item).to_vec()
        };
        if !children(&after).is_empty() {
            lifted.push(after);
        }
        let holder = children_mut(at_mut(doc, parent));
        let start = if is_left_empty { place } else { place + 1 };
        holder.splice(start..=place, lifted);
    }

    fn add_item(&mut self, doc: &mut Value) {
        let Some(path) = self.find(doc, is_list) else { return };
        let text = vec![json!({"type": "text", "text": self.some_words()})];
        let list = at_mut(doc, &path);
        let mut item = node("listItem", vec![node("paragraph", text)]);
        if kind(list) == "taskList" {
            item["type"] = json!("taskItem");
            item["attrs"] = json!({"checked": false});
        }
        let items = children_mut(list);
        let place = self.random.below(items.len() + 1);
        items.insert(place, item);
    }

    fn remove_item(&mut self, doc: &mut Value) {
        let lists = find(doc, &|node| is_list(node) && children(node).len() > 1);
        let Some(path) = self.random.pick(&lists) else { return };
        let items = children_mut(at_mut(doc, &path));
        items.remove(self.random.below(items.len()));
    }

    fn move_item(&mut self, doc: &mut Value) {
        let lists = find(doc, &|node| is_list(node) && children(node).len() > 1);
        let Some(path) = self.random.pick(&lists) else { return };
        let items = children_mut(at_mut(doc, &path));
        let item = items.remove(self.random.below(items.len()));
        items.insert(self.random.below(items.len() + 1), item);
    }

    fn turn_list(&mut self, doc: &mut Value) {
        let Some(path) = self.find(doc, is_list) else { return };
        let list = at_mut(doc, &path);
        match kind(list) {
            "bulletList" => list["type"] = json!("orderedList"),
            "orderedList" if self.random.one_in(2) => list["type"] = json!("bulletList"),
            "orderedList" => {
                list["type"] = json!("taskList");
                for item in children_mut(list) {
                    item["type"] = json!("taskItem");
                    item["attrs"] = json!({"checked": false});
                }
            }
            _ => {
                list["type"] = json!("bulletList");
                for item in children_mut(list) {
                    item["type"] = json!("listItem");
                    item.as_object_mut().expect("a node").remove("attrs");
                }
            }
        }
    }

    // Wrapping.

    fn quote(&mut self, doc: &mut Value) {
        let blocks = children_mut(doc);
        let start = self.random.below(blocks.len());
        let end = (start + 1 + self.random.below(2)).min(blocks.len());
        let inner = blocks.drain(start..end).collect();
        blocks.insert(start, node("blockquote", inner));
    }

    fn unquote(&mut self, doc: &mut Value) {
        let Some(path) = self.find(doc, |node| kind(node) == "blockquote") else { return };
        let (&index, parent) = path.split_last().expect("not the document");
        let inner = children(at(doc, &path)).to_vec();
        children_mut(at_mut(doc, parent)).splice(index..=index, inner);
    }

    fn turn_block(&mut self, doc: &mut Value) {
        let can_turn = |node: &Value| matches!(kind(node), "paragraph" | "heading" | "codeBlock");
        let Some(path) = self.find(doc, can_turn) else { return };
        let (&index, parent) = path.split_last().expect("not the document");
        if is_item(at(doc, parent)) && index == 0 {
            return;
        }
        let block = at_mut(doc, &path);
        block.as_object_mut().expect("a node").remove("attrs");
        match self.random.below(4) {
            0 => block["type"] = json!("paragraph"),
            1 if kind(block) != "codeBlock" => {
                let plain: Vec<Piece> = pieces(block)
                    .into_iter()
                    .map(|piece| match piece {
                        Piece::Text(text, _) => Piece::Text(text, Value::Null),
                        Piece::Node(_) => Piece::Text(" ".to_owned(), Value::Null),
                    })
                    .collect();
                block["type"] = json!("codeBlock");
                set_children(block, content(&plain));
            }
            _ => {
                block["type"] = json!("heading");
                block["attrs"] = json!({"level": 1 + self.random.below(3)});
            }
        }
    }

    // Marks.

    fn mark(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, words)) = self.written(doc) else { return };
        if kind(at(doc, &path)) == "codeBlock" {
            return;
        }
        let first = self.random.below(words.len());
        let last = (first + self.random.below(4)).min(words.len() - 1);
        let href = format!("b{}{}", self.first, self.random.below(2));
        let all = [
            json!({"type": "bold"}),
            json!({"type": "italic"}),
            json!({"type": "code"}),
            json!({"type": "link", "attrs": {"href": href}}),
        ];
        let mark = self.random.pick(&all).expect("some");
        let has = |marks: &Value, mark: &Value| {
            marks.as_array().into_iter().flatten().any(|other| other["type"] == mark["type"])
        };
        let is_off = matches!(&pieces[words[first]], Piece::Text(_, marks) if has(marks, &mark));
        for piece in &mut pieces[words[first]..=words[last]] {
            let Piece::Text(_, marks) = piece else { continue };
            let mut list = marks.as_array().cloned().unwrap_or_default();
            list.retain(|other| other["type"] != mark["type"]);
            if !is_off {
                if mark["type"] == "code" {
                    list.clear();
                } else if list.iter().any(|other| other["type"] == "code") {
                    continue;
                }
                list.push(mark.clone());
                // An editor keeps them in the order of its schema.
                let order = ["link", "bold", "code", "italic", "strike"];
                list.sort_by_key(|mark| order.iter().position(|name| mark["type"] == *name));
            }
            *marks = if list.is_empty() { Value::Null } else { Value::Array(list) };
        }
        set_children(at_mut(doc, &path), content(&pieces));
    }

    // Tables.

    fn plain_table(&mut self, doc: &Value) -> Option<Path> {
        self.find(doc, |node| kind(node) == "table" && has_no_spans(node))
    }

    fn add_row(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        let columns = children(&children(at(doc, &path))[0]).len();
        let row = node("tableRow", (0..columns).map(|_| self.cell("tableCell")).collect());
        let rows = children_mut(at_mut(doc, &path));
        let place = self.random.below(rows.len() + 1);
        rows.insert(place, row);
    }

    fn remove_row(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        let rows = children_mut(at_mut(doc, &path));
        if rows.len() > 1 {
            rows.remove(self.random.below(rows.len()));
        }
    }

    fn add_column(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        let columns = children(&children(at(doc, &path))[0]).len();
        let place = self.random.below(columns + 1);
        for row in children_mut(at_mut(doc, &path)) {
            let cell = self.cell("tableCell");
            children_mut(row).insert(place, cell);
        }
    }

    fn remove_column(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        let columns = children(&children(at(doc, &path))[0]).len();
        if columns > 1 {
            let place = self.random.below(columns);
            for row in children_mut(at_mut(doc, &path)) {
                children_mut(row).remove(place);
            }
        }
    }

    fn merge_cells(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        self.merge_cells_of(at_mut(doc, &path));
    }

    /// Makes one cell of two neighbours in a row or a column.
    fn merge_cells_of(&mut self, table: &mut Value) {
        let rows = children_mut(table);
        let (height, width) = (rows.len(), children(&rows[0]).len());
        if self.random.one_in(2) && width > 1 {
            let y = self.random.below(height);
            let x = self.random.below(width - 1);
            let cells = children_mut(&mut rows[y]);
            let second = cells.remove(x + 1);
            children_mut(&mut cells[x]).extend(children(&second).to_vec());
            cells[x]["attrs"]["colspan"] = json!(2);
        } else if height > 1 && width > 1 {
            let y = self.random.below(height - 1);
            let x = self.random.below(width);
            let second = children_mut(&mut rows[y + 1]).remove(x);
            let cells = children_mut(&mut rows[y]);
            children_mut(&mut cells[x]).extend(children(&second).to_vec());
            cells[x]["attrs"]["rowspan"] = json!(2);
        }
    }

    fn turn_cell(&mut self, doc: &mut Value) {
        let is_cell = |node: &Value| matches!(kind(node), "tableCell" | "tableHeader");
        let Some(path) = self.find(doc, is_cell) else { return };
        let cell = at_mut(doc, &path);
        cell["type"] = json!(if kind(cell) == "tableCell" { "tableHeader" } else { "tableCell" });
    }

    // Moving, pasting, removing.

    fn move_block(&mut self, doc: &mut Value) {
        let blocks = children_mut(doc);
        let block = blocks.remove(self.random.below(blocks.len()));
        blocks.insert(self.random.below(blocks.len() + 1), block);
    }

    /// Cuts words and pastes them elsewhere.
    fn move_words(&mut self, doc: &mut Value) {
        let Some((path, mut pieces_, words)) = self.written(doc) else { return };
        if words.len() < 2 {
            return;
        }
        let first = self.random.below(words.len() - 1);
        let cut: Vec<Piece> = pieces_.drain(words[first]..words[first + 1]).collect();
        set_children(at_mut(doc, &path), content(&pieces_));
        let Some((path, mut pieces_, words)) = self.written(doc) else { return };
        let is_code = kind(at(doc, &path)) == "codeBlock";
        let is_plain = !matches!(kind(at(doc, &path)), "paragraph" | "heading");
        let place = words[self.random.below(words.len())];
        let mut cut: Vec<Piece> = cut
            .into_iter()
            .filter(|piece| !is_plain || matches!(piece, Piece::Text(..)))
            .map(|piece| match piece {
                Piece::Text(text, _) if is_code => Piece::Text(text, Value::Null),
                piece => piece,
            })
            .collect();
        if cut.last().is_some_and(Piece::is_word) {
            cut.push(Piece::Text(" ".to_owned(), Value::Null));
        }
        pieces_.splice(place..place, cut);
        set_children(at_mut(doc, &path), content(&pieces_));
    }

    fn paste_blocks(&mut self, doc: &mut Value) {
        let (parent, place) = self.place(doc);
        let depth = parent.len();
        let blocks: Vec<Value> = (0..=self.random.below(2)).map(|_| self.block(depth)).collect();
        children_mut(at_mut(doc, &parent)).splice(place..place, blocks);
    }

    /// Pastes lines into the middle of a paragraph: its first goes with what stood before, its last
    /// with what stood behind.
    fn paste_words(&mut self, doc: &mut Value) {
        let Some((path, pieces, words)) = self.written(doc) else { return };
        let (&index, parent) = path.split_last().expect("not the document");
        if kind(at(doc, &path)) != "paragraph" {
            return;
        }
        let place = words[self.random.below(words.len())];
        let mut first = pieces[..place].to_vec();
        first.push(Piece::Text(self.some_words(), Value::Null));
        let mut last = vec![Piece::Text(format!("{} ", self.some_words()), Value::Null)];
        last.extend_from_slice(&pieces[place..]);
        set_children(at_mut(doc, &path), content(&first));
        let mut new = vec![node("paragraph", content(&last))];
        if self.random.one_in(2) {
            new.insert(0, self.paragraph());
        }
        children_mut(at_mut(doc, parent)).splice(index + 1..=index, new);
    }

    fn remove_blocks(&mut self, doc: &mut Value) {
        let holds_blocks = |node: &Value| {
            matches!(kind(node), "doc" | "blockquote" | "detailsContent" | "tableCell")
        };
        let parent = self.find(doc, holds_blocks).expect("the document");
        let blocks = children_mut(at_mut(doc, &parent));
        let start = self.random.below(blocks.len());
        let end = (start + 1 + self.random.below(2)).min(blocks.len());
        blocks.drain(start..end);
        if blocks.is_empty() {
            blocks.push(node("paragraph", vec![]));
        }
    }

    fn rule(&mut self, doc: &mut Value) {
        let (parent, place) = self.place(doc);
        children_mut(at_mut(doc, &parent)).insert(place, json!({"type": "horizontalRule"}));
    }

    fn image(&mut self, doc: &mut Value) {
        let (parent, place) = self.place(doc);
        let image = json!({"type": "image", "attrs": {"src": format!("{}.png", self.word())}});
        children_mut(at_mut(doc, &parent)).insert(place, image);
    }

    fn details(&mut self, doc: &mut Value) {
        let place = self.random.below(children(doc).len() + 1);
        let details = self.new_details(1);
        children_mut(doc).insert(place, details);
    }

    // Attributes.

    fn align(&mut self, doc: &mut Value) {
        let is_aligned = |node: &Value| matches!(kind(node), "paragraph" | "heading");
        let Some(path) = self.find(doc, is_aligned) else { return };
        let align = self.random.pick(&["left", "center", "right"]).expect("some");
        at_mut(doc, &path)["attrs"]["textAlign"] = json!(align);
    }

    fn tick(&mut self, doc: &mut Value) {
        let Some(path) = self.find(doc, |node| kind(node) == "taskItem") else { return };
        let item = at_mut(doc, &path);
        item["attrs"]["checked"] = json!(item["attrs"]["checked"] != true);
    }
}

fn has_no_spans(table: &Value) -> bool {
    let is_one = |cell: &Value| {
        ["colspan", "rowspan"].iter().all(|span| cell["attrs"][span].as_u64().unwrap_or(1) == 1)
    };
    children(table).iter().flat_map(children).all(is_one)
}

/// Adds the content of one text block to another, with a space between two words.
fn add_to(first: &mut Value, second: &Value) {
    let (mut left, right) = (pieces(first), pieces(second));
    let meets =
        left.last().is_some_and(Piece::is_word) && right.first().is_some_and(Piece::is_word);
    if meets {
        left.push(Piece::Text(" ".to_owned(), Value::Null));
    }
    left.extend(right);
    set_children(first, content(&left));
}
