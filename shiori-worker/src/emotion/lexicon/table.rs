//! The table of stems, as a trie over letters.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use shiori_sdk::Emotion;

use super::hangul::letters;

/// The stems, see the file's head for its form.
pub(super) const STEMS: &str = include_str!("stems.tsv");

/// What a stem says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feeling {
    /// An emotion.
    Of(Emotion),
    /// Nothing: it only looks like one that does.
    Nothing,
}

/// A stem that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hit {
    pub(super) feeling: Feeling,
    pub(super) weight: f64,
    /// Letters of the stem.
    pub(super) length: usize,
}

/// All stems.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// From a node and a letter to the next node; node 0 is the root.
    edges: HashMap<(u32, char), u32>,
    entries: HashMap<u32, Entry>,
    nodes: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    feeling: Feeling,
    weight: f64,
    /// Whether the word must end with the stem: an English word without a star.
    whole: bool,
}

impl Table {
    /// The built-in table.
    pub(super) fn builtin() -> Arc<Self> {
        static TABLE: LazyLock<Arc<Table>> = LazyLock::new(|| {
            let mut table = Table::default();
            for (feeling, weight, stem) in entries(STEMS) {
                table.insert(stem, feeling, weight);
            }
            Arc::new(table)
        });
        TABLE.clone()
    }

    fn insert(&mut self, stem: &str, feeling: Feeling, weight: f64) {
        let english = stem.starts_with(|c: char| c.is_ascii_alphabetic());
        let open = stem.strip_suffix('*');
        let mut node = 0;
        for letter in letters(open.unwrap_or(stem)) {
            let next = self.nodes + 1;
            node = *self.edges.entry((node, letter)).or_insert(next);
            self.nodes = self.nodes.max(node);
        }
        self.entries.insert(node, Entry { feeling, weight, whole: english && open.is_none() });
    }

    /// The longest stem that begins at this letter.
    pub(super) fn longest(&self, text: &[char], at: usize) -> Option<Hit> {
        let mut node = 0;
        let mut found = None;
        for (offset, letter) in text[at..].iter().enumerate() {
            let Some(next) = self.edges.get(&(node, *letter)) else { break };
            node = *next;
            let Some(entry) = self.entries.get(&node) else { continue };
            let length = offset + 1;
            let goes_on = text.get(at + length).is_some_and(|c| c.is_alphanumeric());
            if !(entry.whole && goes_on) {
                found = Some(Hit { feeling: entry.feeling, weight: entry.weight, length });
            }
        }
        found
    }
}

/// The stems of a table's text.
pub(super) fn entries(text: &str) -> impl Iterator<Item = (Feeling, f64, &str)> {
    text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| {
        let mut fields = line.split('\t');
        let label = fields.next().unwrap_or_default();
        let feeling = label.parse().map_or(Feeling::Nothing, Feeling::Of);
        let weight = fields.next().and_then(|weight| weight.parse().ok()).unwrap_or(0.0);
        fields.map(move |stem| (feeling, weight, stem))
    })
}
