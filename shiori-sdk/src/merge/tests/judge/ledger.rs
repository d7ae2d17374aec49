//! Traces each word through a merge. This is possible because all words of a triple are unique.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::writer::Triple;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The editor's schema rejects the document.
    Invalid,
    /// A word occurs twice without an overlap.
    Repeated,
    /// A word is missing that neither side removed.
    Lost,
    /// A word is not at the place where it was written.
    Misplaced,
    /// A word that one side removed is restored without an overlap.
    Returned,
    /// A word does not have the marks of the side that changed them.
    Marked,
    /// Repeating the merge gives another document.
    Repetition,
    /// Repeating the merge gives the same document, but reports an overlap.
    RepeatedOverlap,
}

impl Fault {
    pub(super) const ALL: [Self; 8] = [
        Self::Invalid,
        Self::Repeated,
        Self::Lost,
        Self::Misplaced,
        Self::Returned,
        Self::Marked,
        Self::Repetition,
        Self::RepeatedOverlap,
    ];
}

/// A word and its position.
struct Word {
    text: String,
    /// The number of its text block.
    block: usize,
    marks: Value,
}

/// All words in reading order.
struct Text {
    words: Vec<Word>,
    at: HashMap<String, usize>,
}

impl Text {
    fn of(document: &Value) -> Self {
        fn visit(node: &Value, block: &mut usize, words: &mut Vec<Word>) {
            let mut push = |word: &str, marks: &Value, block: usize| {
                let word = word.trim_matches(['.', ',']).to_owned();
                if !word.is_empty() {
                    words.push(Word { text: word, block, marks: marks.clone() });
                }
            };
            let is_inline = matches!(node["type"].as_str(), Some("text" | "mention" | "hardBreak"));
            if !is_inline {
                *block += 1;
            }
            if let Some(text) = node["text"].as_str() {
                text.split_whitespace().for_each(|word| push(word, &node["marks"], *block));
            }
            if let Some(id) = node["attrs"]["id"].as_str().or(node["attrs"]["src"].as_str()) {
                push(id, &Value::Null, *block);
            }
            for child in node["content"].as_array().into_iter().flatten() {
                visit(child, block, words);
            }
        }
        let mut words = Vec::new();
        visit(document, &mut 0, &mut words);
        let at = words.iter().enumerate().rev().map(|(i, word)| (word.text.clone(), i)).collect();
        Self { words, at }
    }

    fn has(&self, word: &str) -> bool {
        self.at.contains_key(word)
    }

    fn block(&self, word: &str) -> usize {
        self.words[self.at[word]].block
    }

    fn marks(&self, word: &str) -> &Value {
        &self.words[self.at[word]].marks
    }
}

/// The faults of a merged document. Faults that an overlap may cause are only checked if there is
/// none.
pub(super) fn faults(triple: &Triple, merged: &Value, is_silent: bool) -> Vec<(Fault, String)> {
    let [base, ours, theirs] = [&triple.base, &triple.ours, &triple.theirs].map(Text::of);
    let merged = Text::of(merged);
    let mut faults = Vec::new();

    for word in ours.at.keys().chain(theirs.at.keys()) {
        let is_wanted = if base.has(word) { ours.has(word) && theirs.has(word) } else { true };
        if is_wanted && !merged.has(word) {
            faults.push((Fault::Lost, word.clone()));
        }
        if is_silent && !is_wanted && merged.has(word) {
            faults.push((Fault::Returned, word.clone()));
        }
    }
    if !is_silent {
        return faults;
    }
    let mut seen = HashSet::new();
    for word in &merged.words {
        if !seen.insert(&word.text) {
            faults.push((Fault::Repeated, word.text.clone()));
        }
    }
    if faults.is_empty() {
        order(&base, &ours, &theirs, &merged, &mut faults);
        for (side, other) in [(&ours, &theirs), (&theirs, &ours)] {
            neighbours(&base, side, other, &merged, &mut faults);
        }
        marks([&base, &ours, &theirs, &merged], &mut faults);
    }
    faults
}

/// Checks that the words that both sides kept are in the order of the side that changed the order,
/// and divided into blocks as on the side that changed the division.
fn order(
    base: &Text,
    ours: &Text,
    theirs: &Text,
    merged: &Text,
    faults: &mut Vec<(Fault, String)>,
) {
    let kept = |text: &Text| -> Vec<String> {
        let words = text.words.iter().map(|word| word.text.clone());
        words.filter(|w| base.has(w) && ours.has(w) && theirs.has(w)).collect()
    };
    let (b, o, t, m) = (kept(base), kept(ours), kept(theirs), kept(merged));
    let expected = match () {
        () if o == b => &t,
        () if t == b || t == o => &o,
        () => return,
    };
    if m != *expected {
        faults.push((Fault::Misplaced, format!("kept words are {m:?}")));
        return;
    }
    if o != b || t != b {
        return;
    }
    for pair in b.windows(2) {
        let are_neighbours = |text: &Text| text.at[&pair[1]] == text.at[&pair[0]] + 1;
        let is_one_block = |text: &Text| text.block(&pair[0]) == text.block(&pair[1]);
        if ![base, ours, theirs, merged].into_iter().all(are_neighbours) {
            continue;
        }
        let [b, o, t] = [base, ours, theirs].map(is_one_block);
        // If both sides added or removed blocks between the two words, either number is correct.
        let distance = |text: &Text| text.block(&pair[1]) - text.block(&pair[0]);
        if distance(ours) != distance(base) && distance(theirs) != distance(base) {
            continue;
        }
        let expected = if o == b { t } else { o };
        if is_one_block(merged) != expected {
            let what = if expected { "parted" } else { "joined" };
            faults.push((Fault::Misplaced, format!("{} and {} are {what}", pair[0], pair[1])));
        }
    }
}

/// Checks that inserted words are between the same words of the base as on the side that inserted
/// them.
fn neighbours(
    base: &Text,
    side: &Text,
    other: &Text,
    merged: &Text,
    faults: &mut Vec<(Fault, String)>,
) {
    for (i, word) in side.words.iter().enumerate() {
        if base.has(&word.text) {
            continue;
        }
        let is_kept = |other: &&Word| base.has(&other.text) && merged.has(&other.text);
        let before = side.words[..i].iter().rev().find(is_kept);
        let after = side.words[i + 1..].iter().find(is_kept);
        let place = merged.at[&word.text];
        let block = merged.words[place].block;
        let at = |word: &Word| merged.at[&word.text];
        if let (Some(before), Some(after)) = (before, after)
            && at(before) < at(after)
            && !(at(before) < place && place < at(after))
        {
            let what = format!("{} not between {} and {}", word.text, before.text, after.text);
            faults.push((Fault::Misplaced, what));
        }
        let is_here = |other: &&Word| other.block == word.block;
        let here = (before.filter(is_here), after.filter(is_here));
        let is_beside = match here {
            (Some(before), Some(after)) => {
                // The other side may have moved the replaced words into a separate block.
                let gap = other.at[&before.text] + 1..other.at[&after.text];
                let ends = [before, after].map(|word| other.block(&word.text));
                let mut others = other.words.get(gap).into_iter().flatten();
                others.any(|word| !ends.contains(&word.block))
                    || [before, after].iter().any(|word| merged.block(&word.text) == block)
            }
            _ => true,
        };
        if !is_beside {
            faults.push((Fault::Misplaced, format!("{} is in another block", word.text)));
        }
        // Only new text may be between it and its neighbour.
        if let (Some(other), None) | (None, Some(other)) = here {
            let (start, end) = (at(other).min(place), at(other).max(place));
            let between = merged.words[start..=end].iter().filter(|word| !base.has(&word.text));
            let blocks: HashSet<usize> = between.map(|word| word.block).collect();
            let passed = merged.words[start..=end].iter().map(|word| word.block);
            if passed.collect::<HashSet<usize>>().len() > blocks.len() + 1 {
                let what = format!("{} is far from {}", word.text, other.text);
                faults.push((Fault::Misplaced, what));
            }
        }
    }
}

fn marks([base, ours, theirs, merged]: [&Text; 4], faults: &mut Vec<(Fault, String)>) {
    for word in base.at.keys() {
        if [ours, theirs, merged].into_iter().all(|text| text.has(word)) {
            let [b, o, t, m] = [base, ours, theirs, merged].map(|text| text.marks(word));
            let expected = if o == b {
                t
            } else if t == b || t == o {
                o
            } else {
                continue;
            };
            if m != expected {
                faults.push((Fault::Marked, format!("{word}: {m}, not {expected}")));
            }
        }
    }
}

/// A document in short form, for messages.
pub(crate) fn sketch(node: &Value) -> String {
    let children: Vec<String> =
        node["content"].as_array().into_iter().flatten().map(sketch).collect();
    let attrs = match &node["attrs"] {
        Value::Null => String::new(),
        attrs => attrs.to_string(),
    };
    let marks: Vec<&str> =
        node["marks"].as_array().into_iter().flatten().filter_map(|m| m["type"].as_str()).collect();
    match node["text"].as_str() {
        Some(text) if marks.is_empty() => format!("{text:?}"),
        Some(text) => format!("{}{text:?}", marks.join("+")),
        None => {
            let kind = node["type"].as_str().unwrap_or("?");
            let kind = match kind {
                "paragraph" => "p",
                "bulletList" => "ul",
                "orderedList" => "ol",
                "listItem" => "li",
                "blockquote" => "bq",
                kind => kind,
            };
            format!("{kind}{attrs}[{}]", children.join(" "))
        }
    }
}
