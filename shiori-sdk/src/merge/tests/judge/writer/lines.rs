//! Edits with Enter and Backspace: splitting and joining blocks.

use serde_json::{Value, json};

use super::{Writer, tree::*};

impl Writer {
    // Enter, and Backspace at the start of a block.

    pub(super) fn split(&mut self, doc: &mut Value) {
        let Some((path, pieces, words)) = self.written(doc) else { return };
        let place = words[self.random.below(words.len())];
        let (mut left, mut right) = (pieces[..place].to_vec(), pieces[place..].to_vec());
        let is_white =
            |piece: &Piece| matches!(piece, Piece::Text(text, _) if text.trim().is_empty());
        if left.last().is_some_and(is_white) {
            // The caret was before the space or after it, or the space had been removed.
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

    pub(super) fn join(&mut self, doc: &mut Value) {
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

    pub(super) fn join_items(&mut self, doc: &mut Value) {
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
    pub(super) fn new_line(&mut self, doc: &mut Value) {
        let Some(path) = self.find(doc, |node| kind(node) == "paragraph") else { return };
        let (&index, parent) = path.split_last().expect("not the document");
        let text = vec![json!({"type": "text", "text": self.some_words()})];
        children_mut(at_mut(doc, parent)).insert(index + 1, node("paragraph", text));
    }

    pub(super) fn blank_line(&mut self, doc: &mut Value) {
        let (parent, place) = self.place(doc);
        children_mut(at_mut(doc, &parent)).insert(place, node("paragraph", vec![]));
    }

    /// Selects from the middle of one block to the middle of a later one, and deletes.
    pub(super) fn cut_across(&mut self, doc: &mut Value) {
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
}
