//! Edits of words: writing, deleting, replacing, marking, moving and copying them.

use serde_json::{Value, json};

use super::{Writer, tree::*};

impl Writer {
    // Typing.

    pub(super) fn insert(&mut self, doc: &mut Value) {
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

    pub(super) fn append(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, _)) = self.written(doc) else { return self.fill(doc) };
        let text = format!(" {}", self.some_words());
        pieces.push(Piece::Text(text, Value::Null));
        set_children(at_mut(doc, &path), content(&pieces));
    }

    /// Writes into a text block, empty or not.
    pub(super) fn fill(&mut self, doc: &mut Value) {
        let Some(path) = self.text_block(doc) else { return };
        let mut pieces = pieces(at(doc, &path));
        let space = if pieces.is_empty() { "" } else { " " };
        let text = format!("{space}{}", self.some_words());
        pieces.push(Piece::Text(text, Value::Null));
        set_children(at_mut(doc, &path), content(&pieces));
    }

    pub(super) fn remove(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, words)) = self.written(doc) else { return };
        let first = self.random.below(words.len());
        let last = (first + self.random.below(3)).min(words.len() - 1);
        // Including the space after it, or else before it.
        let end = words.get(last + 1).map_or(pieces.len(), |&end| end);
        let start =
            if last + 1 < words.len() || first == 0 { words[first] } else { words[first - 1] + 1 };
        pieces.drain(start..end);
        set_children(at_mut(doc, &path), content(&pieces));
    }

    pub(super) fn replace(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, words)) = self.written(doc) else { return };
        let place = words[self.random.below(words.len())];
        let Piece::Text(_, marks) = pieces[place].clone() else { return };
        pieces[place] = Piece::Text(self.some_words(), marks);
        set_children(at_mut(doc, &path), content(&pieces));
    }

    pub(super) fn line_break(&mut self, doc: &mut Value) {
        let Some((path, mut pieces, words)) = self.written(doc) else { return };
        if !matches!(kind(at(doc, &path)), "paragraph" | "heading") {
            return;
        }
        let place = words[self.random.below(words.len())];
        pieces.insert(place, Piece::Node(json!({"type": "hardBreak"})));
        set_children(at_mut(doc, &path), content(&pieces));
    }

    // Marks.

    pub(super) fn mark(&mut self, doc: &mut Value) {
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
                // Editors order marks by their schema.
                let order = ["link", "bold", "code", "italic", "strike"];
                list.sort_by_key(|mark| order.iter().position(|name| mark["type"] == *name));
            }
            *marks = if list.is_empty() { Value::Null } else { Value::Array(list) };
        }
        set_children(at_mut(doc, &path), content(&pieces));
    }

    /// Cuts words and pastes them elsewhere.
    pub(super) fn move_words(&mut self, doc: &mut Value) {
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

    /// Pastes lines into the middle of a paragraph: the first line is joined to the text before,
    /// the last to the text after.
    pub(super) fn paste_words(&mut self, doc: &mut Value) {
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
}
