//! Edits of tables.

use serde_json::{Value, json};

use super::{Writer, tree::*};

impl Writer {
    // Tables.

    pub(super) fn plain_table(&mut self, doc: &Value) -> Option<Path> {
        self.find(doc, |node| kind(node) == "table" && has_no_spans(node))
    }

    pub(super) fn add_row(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        let columns = children(&children(at(doc, &path))[0]).len();
        let row = node("tableRow", (0..columns).map(|_| self.cell("tableCell")).collect());
        let rows = children_mut(at_mut(doc, &path));
        let place = self.random.below(rows.len() + 1);
        rows.insert(place, row);
    }

    pub(super) fn remove_row(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        let rows = children_mut(at_mut(doc, &path));
        if rows.len() > 1 {
            rows.remove(self.random.below(rows.len()));
        }
    }

    pub(super) fn add_column(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        let columns = children(&children(at(doc, &path))[0]).len();
        let place = self.random.below(columns + 1);
        for row in children_mut(at_mut(doc, &path)) {
            let cell = self.cell("tableCell");
            children_mut(row).insert(place, cell);
        }
    }

    pub(super) fn remove_column(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        let columns = children(&children(at(doc, &path))[0]).len();
        if columns > 1 {
            let place = self.random.below(columns);
            for row in children_mut(at_mut(doc, &path)) {
                children_mut(row).remove(place);
            }
        }
    }

    pub(super) fn merge_cells(&mut self, doc: &mut Value) {
        let Some(path) = self.plain_table(doc) else { return };
        self.merge_cells_of(at_mut(doc, &path));
    }

    /// Merges two neighbouring cells of a row or a column.
    pub(super) fn merge_cells_of(&mut self, table: &mut Value) {
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

    pub(super) fn turn_cell(&mut self, doc: &mut Value) {
        let is_cell = |node: &Value| matches!(kind(node), "tableCell" | "tableHeader");
        let Some(path) = self.find(doc, is_cell) else { return };
        let cell = at_mut(doc, &path);
        cell["type"] = json!(if kind(cell) == "tableCell" { "tableHeader" } else { "tableCell" });
    }
}

fn has_no_spans(table: &Value) -> bool {
    let is_one = |cell: &Value| {
        ["colspan", "rowspan"].iter().all(|span| cell["attrs"][span].as_u64().unwrap_or(1) == 1)
    };
    children(table).iter().flat_map(children).all(is_one)
}
