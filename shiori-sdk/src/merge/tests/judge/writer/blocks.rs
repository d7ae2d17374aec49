//! Edits of whole blocks.

use serde_json::{Value, json};

use super::{Writer, tree::*};

impl Writer {
    // Wrapping.

    pub(super) fn quote(&mut self, doc: &mut Value) {
        let blocks = children_mut(doc);
        let start = self.random.below(blocks.len());
        let end = (start + 1 + self.random.below(2)).min(blocks.len());
        let inner = blocks.drain(start..end).collect();
        blocks.insert(start, node("blockquote", inner));
    }

    pub(super) fn unquote(&mut self, doc: &mut Value) {
        let Some(path) = self.find(doc, |node| kind(node) == "blockquote") else { return };
        let (&index, parent) = path.split_last().expect("not the document");
        let inner = children(at(doc, &path)).to_vec();
        children_mut(at_mut(doc, parent)).splice(index..=index, inner);
    }

    pub(super) fn turn_block(&mut self, doc: &mut Value) {
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

    // Moving, pasting, removing.

    pub(super) fn move_block(&mut self, doc: &mut Value) {
        let blocks = children_mut(doc);
        let block = blocks.remove(self.random.below(blocks.len()));
        blocks.insert(self.random.below(blocks.len() + 1), block);
    }

    pub(super) fn paste_blocks(&mut self, doc: &mut Value) {
        let (parent, place) = self.place(doc);
        let depth = parent.len();
        let blocks: Vec<Value> = (0..=self.random.below(2)).map(|_| self.block(depth)).collect();
        children_mut(at_mut(doc, &parent)).splice(place..place, blocks);
    }

    pub(super) fn remove_blocks(&mut self, doc: &mut Value) {
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

    pub(super) fn rule(&mut self, doc: &mut Value) {
        let (parent, place) = self.place(doc);
        children_mut(at_mut(doc, &parent)).insert(place, json!({"type": "horizontalRule"}));
    }

    pub(super) fn image(&mut self, doc: &mut Value) {
        let (parent, place) = self.place(doc);
        let image = json!({"type": "image", "attrs": {"src": format!("{}.png", self.word())}});
        children_mut(at_mut(doc, &parent)).insert(place, image);
    }

    pub(super) fn details(&mut self, doc: &mut Value) {
        let place = self.random.below(children(doc).len() + 1);
        let details = self.new_details(1);
        children_mut(doc).insert(place, details);
    }

    // Attributes.

    pub(super) fn align(&mut self, doc: &mut Value) {
        let is_aligned = |node: &Value| matches!(kind(node), "paragraph" | "heading");
        let Some(path) = self.find(doc, is_aligned) else { return };
        let align = self.random.pick(&["left", "center", "right"]).expect("some");
        at_mut(doc, &path)["attrs"]["textAlign"] = json!(align);
    }

    pub(super) fn tick(&mut self, doc: &mut Value) {
        let Some(path) = self.find(doc, |node| kind(node) == "taskItem") else { return };
        let item = at_mut(doc, &path);
        item["attrs"]["checked"] = json!(item["attrs"]["checked"] != true);
    }
}
