//! The documents that the edits start from.

use serde_json::{Value, json};

use super::{Habit, Writer, tree::*};

impl Writer {
    // Generating documents.

    pub(crate) fn document(&mut self) -> Value {
        let count = 1 + self.random.below(5);
        let blocks = (0..count).map(|_| self.block(0)).collect();
        node("doc", blocks)
    }

    pub(super) fn block(&mut self, depth: usize) -> Value {
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

    pub(crate) fn paragraph(&mut self) -> Value {
        let text = self.line();
        node("paragraph", text)
    }

    pub(super) fn line(&mut self) -> Vec<Value> {
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

    pub(super) fn marks(&mut self) -> Value {
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

    pub(super) fn item(&mut self, kind: &str, depth: usize) -> Value {
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

    pub(super) fn cell(&mut self, kind: &str) -> Value {
        let text = match self.random.below(4) {
            0 => vec![],
            _ => vec![json!({"type": "text", "text": self.some_words()})],
        };
        let mut cell = node(kind, vec![node("paragraph", text)]);
        cell["attrs"] = json!({"colspan": 1, "rowspan": 1});
        cell
    }

    pub(super) fn table(&mut self) -> Value {
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

    pub(super) fn new_details(&mut self, depth: usize) -> Value {
        let summary = vec![json!({"type": "text", "text": self.words(3)})];
        let count = 1 + self.random.below(2);
        let content = (0..count).map(|_| self.block(depth + 1)).collect();
        let parts = vec![node("detailsSummary", summary), node("detailsContent", content)];
        node("details", parts)
    }
}
