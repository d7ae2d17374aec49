//! Edits of lists and their items.

use serde_json::{Value, json};

use super::{Writer, tree::*};

impl Writer {
    // Lists.

    pub(super) fn list(&mut self, doc: &mut Value) {
        let place = self.random.below(children(doc).len());
        let block = &mut children_mut(doc)[place];
        if kind(block) == "paragraph" {
            let list = if self.random.one_in(2) { "bulletList" } else { "orderedList" };
            *block = node(list, vec![node("listItem", vec![block.clone()])]);
        }
    }

    pub(super) fn sink(&mut self, doc: &mut Value) {
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

    pub(super) fn lift(&mut self, doc: &mut Value) {
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
            // Items after it in the nested list become children of the lifted item.
            if !children(&after).is_empty() {
                children_mut(&mut item).push(after);
            }
            let holder = at_mut(doc, parent);
            if is_left_empty {
                children_mut(holder).remove(place);
            }
            // Nodes after the nested list stay after it.
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

    pub(super) fn add_item(&mut self, doc: &mut Value) {
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

    pub(super) fn remove_item(&mut self, doc: &mut Value) {
        let lists = find(doc, &|node| is_list(node) && children(node).len() > 1);
        let Some(path) = self.random.pick(&lists) else { return };
        let items = children_mut(at_mut(doc, &path));
        items.remove(self.random.below(items.len()));
    }

    pub(super) fn move_item(&mut self, doc: &mut Value) {
        let lists = find(doc, &|node| is_list(node) && children(node).len() > 1);
        let Some(path) = self.random.pick(&lists) else { return };
        let items = children_mut(at_mut(doc, &path));
        let item = items.remove(self.random.below(items.len()));
        items.insert(self.random.below(items.len() + 1), item);
    }

    pub(super) fn turn_list(&mut self, doc: &mut Value) {
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
}
