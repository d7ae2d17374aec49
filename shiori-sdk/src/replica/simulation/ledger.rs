//! Traces each word through a history. This is possible because each word is written once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use serde_json::Value;

use crate::types::Draft;

/// How often each word occurs in a text.
pub(super) type Counts = BTreeMap<usize, usize>;

/// What is known of the words of a text: those that its writers have added and removed before, and
/// those that may occur any number of times, because a conflict was listed. Without one, a text
/// consists of the words that were added and not removed, each of them once.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    added: BTreeSet<usize>,
    removed: BTreeSet<usize>,
    /// They may occur repeatedly, and if they were removed, at all.
    excused: BTreeSet<usize>,
    /// The last removal of a word by a writer: the number of the edit.
    removals: BTreeMap<(usize, usize), u64>,
    /// Removed words that someone wrote again: the number of the edit, and the writer. Whether that
    /// changes anything depends on which edits were applied before, so these words are only checked at
    /// the end.
    rewritten: BTreeMap<usize, (u64, usize)>,
}

impl Known {
    /// The knowledge of a text that was merged from two.
    pub(super) fn join(&mut self, other: &Self) {
        self.added.extend(&other.added);
        self.removed.extend(&other.removed);
        self.excused.extend(&other.excused);
        for (key, &edit) in &other.removals {
            let last = self.removals.entry(*key).or_default();
            *last = edit.max(*last);
        }
        for (word, &edit) in &other.rewritten {
            let last = self.rewritten.entry(*word).or_default();
            *last = edit.max(*last);
        }
    }

    /// Words that were removed may be back.
    pub(super) fn excuse_all(&mut self) {
        self.excused.extend(&self.added);
    }
}

/// The words of one history.
#[derive(Default)]
pub(super) struct Ledger {
    numbers: HashMap<String, usize>,
    names: Vec<String>,
    edits: u64,
    /// The words of the texts that were counted, by title and JSON.
    texts: HashMap<(String, String), Rc<Counts>>,
}

impl Ledger {
    pub(super) fn counts(&mut self, Draft { title, content }: &Draft) -> Rc<Counts> {
        let key = (title.clone(), content.as_json().to_owned());
        if let Some(counts) = self.texts.get(&key) {
            return Rc::clone(counts);
        }
        let mut counts = Counts::new();
        // Merged titles are separated by a slash.
        for word in title.split_whitespace().filter(|word| *word != "/") {
            self.count(word, &mut counts);
        }
        self.visit(&content.to_value(), &mut counts);
        let counts = Rc::new(counts);
        self.texts.insert(key, Rc::clone(&counts));
        counts
    }

    fn visit(&mut self, node: &Value, counts: &mut Counts) {
        let attrs = &node["attrs"];
        let names = node["text"].as_str().into_iter().flat_map(str::split_whitespace);
        for word in names.chain(attrs["id"].as_str()).chain(attrs["src"].as_str()) {
            self.count(word, counts);
        }
        for child in node["content"].as_array().into_iter().flatten() {
            self.visit(child, counts);
        }
    }

    fn count(&mut self, word: &str, counts: &mut Counts) {
        let word = word.trim_matches(['.', ',']);
        if !word.is_empty() {
            *counts.entry(self.number(word)).or_default() += 1;
        }
    }

    fn number(&mut self, word: &str) -> usize {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        self.numbers.insert(word.to_owned(), self.names.len());
        self.names.push(word.to_owned());
        self.names.len() - 1
    }

    /// A user replaces a text by another. `None` is a text that is not stored on the device: all that
    /// is known of it is replaced.
    pub(super) fn edit(
        &mut self,
        known: &mut Known,
        writer: usize,
        before: Option<&Counts>,
        after: &Counts,
    ) {
        self.edits += 1;
        let unseen;
        let before = match before {
            Some(before) => before,
            None => {
                let is_visible = |word: &&usize| {
                    !known.removed.contains(*word)
                        || known.rewritten.contains_key(*word)
                        || known.excused.contains(*word)
                };
                let visible = known.added.iter().filter(is_visible);
                unseen = visible.map(|&word| (word, 1)).collect();
                &unseen
            }
        };
        for (&word, &count) in after {
            let had = before.get(&word).copied().unwrap_or(0);
            if had == 0 && !known.added.insert(word) {
                known.rewritten.insert(word, (self.edits, writer));
            }
            if count != had && count > 1 || had > count {
                known.excused.insert(word);
            }
            if had > count {
                known.removed.insert(word);
            }
        }
        for &word in before.keys().filter(|word| !after.contains_key(word)) {
            known.removed.insert(word);
            known.removals.insert((word, writer), self.edits);
        }
    }

    /// Checks a text. If a conflict was listed, words that came back or occur repeatedly are excused
    /// from now on.
    pub(super) fn check(
        &self,
        known: &mut Known,
        counts: &Counts,
        is_listed: bool,
    ) -> Result<(), String> {
        for &word in &known.added {
            let is_wanted = !known.removed.contains(&word);
            let count = counts.get(&word).copied().unwrap_or(0);
            if count == usize::from(is_wanted) {
                continue;
            }
            let is_excused = known.excused.contains(&word);
            let what = match count {
                _ if known.rewritten.contains_key(&word) => continue,
                0 if is_wanted => "is lost",
                1.. if !is_wanted && !is_excused => "was removed and is back",
                2.. if !is_excused => "occurs repeatedly",
                _ => continue,
            };
            if is_listed && count > 0 {
                known.excused.insert(word);
            } else {
                return Err(format!("{} {what}", self.names[word]));
            }
        }
        match counts.keys().find(|word| !known.added.contains(word)) {
            Some(word) => Err(format!("{} was never written", self.names[*word])),
            None => Ok(()),
        }
    }

    /// Checks the words that were written again: they are there, unless someone else removed them, or
    /// their writer did later.
    pub(super) fn check_rewritten(&self, known: &Known, counts: &Counts) -> Result<(), String> {
        for (&word, &(edit, writer)) in &known.rewritten {
            let mut removals = known.removals.range((word, 0)..(word + 1, 0));
            let is_removed = removals.any(|(&(_, by), &removal)| by != writer || removal > edit);
            if !is_removed && !counts.contains_key(&word) {
                return Err(format!("{} was written again and is lost", self.names[word]));
            }
        }
        Ok(())
    }
}
