//! Tests the merge by the rules of an editor: documents with generated edits like those of people,
//! a schema that rejects what an editor would reject, and a ledger that traces each word.
//!
//! By default, a few triples of each habit are checked. To check more:
//!
//! ```sh
//! SHIORI_MERGE_TRIPLES=100000 cargo test --release -p shiori-sdk --no-default-features --lib judge -- --nocapture
//! ```
//!
//! `SHIORI_MERGE_HABIT=Moves` checks only that habit, and `SHIORI_MERGE_SEED=9230` starts with that
//! triple. With `SHIORI_MERGE_NDJSON=FILE`, the checked documents are written to that file, for
//! `tools/editor-judge`.

pub(crate) mod ledger;
pub(super) mod schema;
pub(crate) mod writer;

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write as _},
};

use serde_json::{Value, json};

use super::*;
use ledger::Fault;
use writer::{Habit, Triple};

/// The number of triples of each habit that are checked by default.
const TRIPLES: u64 = 40;

/// The number of faults of each kind that are printed, those of the smallest documents first.
const EXAMPLES: usize = 3;

fn document(value: &Value) -> Document {
    Document::from_value(value).expect("a document")
}

struct Judged {
    merged: Value,
    /// The merged documents by policy, if there are overlaps.
    resolved: Vec<(OnOverlap, Value)>,
    overlaps: usize,
    faults: Vec<(Fault, String)>,
}

fn judge(triple: &Triple) -> Judged {
    let [base, ours, theirs] = [&triple.base, &triple.ours, &triple.theirs].map(document);
    for side in [&triple.base, &triple.ours, &triple.theirs] {
        assert_eq!(
            schema::refusal(side),
            None,
            "the writer made a document that the schema rejects: {side}"
        );
    }
    let merged = merge3(&base, &ours, &theirs);
    let value = merged.document.to_value();
    let mut faults = Vec::new();
    let mut open = |policy: OnOverlap, document: &Value| {
        if let Some(reason) = schema::refusal(document) {
            faults.push((Fault::Invalid, format!("{policy:?}: {reason}")));
        }
    };
    open(OnOverlap::KeepBoth, &value);
    // Without an overlap all policies give the same document.
    let mut resolved = Vec::new();
    if !merged.overlaps.is_empty() {
        for policy in [OnOverlap::Ours, OnOverlap::Theirs] {
            let document = merge3_with(&base, &ours, &theirs, policy).document.to_value();
            open(policy, &document);
            resolved.push((policy, document));
        }
    }
    let is_silent = merged.overlaps.is_empty();
    faults.extend(ledger::faults(triple, &value, is_silent));
    if is_silent {
        for (whose, again) in [
            ("ours", merge3(&base, &ours, &merged.document)),
            ("theirs", merge3(&base, &merged.document, &theirs)),
        ] {
            let again_value = again.document.to_value();
            if again_value != value {
                let again = ledger::sketch(&again_value);
                faults.push((Fault::Repetition, format!("{whose} again\n  again  {again}")));
            } else if !again.overlaps.is_empty() {
                faults.push((Fault::RepeatedOverlap, format!("{whose}: {:?}", again.overlaps)));
            }
        }
    }
    Judged { merged: value, resolved, overlaps: merged.overlaps.len(), faults }
}

/// Triples that an earlier version of the merge combined wrongly: a word was at another place, was
/// restored, or had other marks, or repeating the merge gave another document or an overlap.
#[test]
fn triples_that_were_merged_wrongly_have_no_faults() {
    for (habit, seed) in [
        // Words of a table that one side moved to another cell and the other removed.
        (Habit::Moves, 9230),
        (Habit::Moves, 13602),
        (Habit::Moves, 16153),
        (Habit::Everything, 19336),
        // A block that one side moved while the other changed it.
        (Habit::Moves, 9820),
        // Insertions beside words that the other side moved to another block.
        (Habit::Enter, 11399),
        (Habit::Lists, 18062),
        (Habit::Everything, 3546),
        // Marks of words that the other side moved.
        (Habit::Everything, 6320),
        (Habit::Everything, 19402),
        // Two edits of one side that were mistaken for one edit of the other.
        (Habit::Moves, 55792),
        (Habit::Everything, 83530),
        (Habit::Tables, 43207),
        // A blank line beside a line of code that the other side changed or removed.
        (Habit::Everything, 33741),
        (Habit::Everything, 37063),
        (Habit::Everything, 60730),
        (Habit::Everything, 81776),
        (Habit::Everything, 83797),
        // Columns and blank lines that were removed or inserted beside changes of the other side.
        (Habit::Tables, 3573),
        (Habit::Tables, 8373),
        (Habit::Enter, 12680),
        (Habit::Wrapping, 49989),
        (Habit::Wrapping, 95373),
        (Habit::Blocks, 4493),
        (Habit::Blocks, 10247),
        // Changes elsewhere in the document that decide how moved items are matched.
        (Habit::Lists, 44538),
        (Habit::Pastes, 449),
        (Habit::Blocks, 94046),
    ] {
        let faults = judge(&writer::triple(habit, seed)).faults;
        assert_eq!(faults, [], "{habit:?} {seed}");
    }
}

#[test]
#[allow(clippy::print_stdout)] // The table is the result of a long run.
fn edits_of_every_habit_are_merged_without_faults() {
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let triples = number("SHIORI_MERGE_TRIPLES").unwrap_or(TRIPLES);
    let first = number("SHIORI_MERGE_SEED").unwrap_or(0);
    let only = env::var("SHIORI_MERGE_HABIT").unwrap_or_default();
    let mut ndjson = env::var_os("SHIORI_MERGE_NDJSON")
        .map(|path| BufWriter::new(File::create(path).expect("a file to write to")));
    let mut table = String::from("| edits | triples | overlaps |");
    for fault in Fault::ALL {
        let _ = write!(table, " {fault:?} |");
    }
    let mut examples: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    let mut is_clean = true;
    for habit in Habit::ALL {
        if !only.is_empty() && format!("{habit:?}") != only {
            continue;
        }
        let mut counts = [0; Fault::ALL.len()];
        let mut with_overlaps = 0;
        for seed in first..first + triples {
            let triple = writer::triple(habit, seed);
            let judged = judge(&triple);
            with_overlaps += u64::from(judged.overlaps > 0);
            for (fault, what) in &judged.faults {
                let count = &mut counts[*fault as usize];
                *count += 1;
                is_clean = false;
                let Triple { base, ours, theirs } = &triple;
                let example = format!(
                    "{habit:?} {seed} {fault:?}: {what}\n  base   {}\n  ours   {}\n  theirs {}\n  merged {}\n",
                    ledger::sketch(base),
                    ledger::sketch(ours),
                    ledger::sketch(theirs),
                    ledger::sketch(&judged.merged),
                );
                let shortest = examples.entry((habit as usize, *fault as usize)).or_default();
                shortest.push(example);
                shortest.sort_by_key(String::len);
                shortest.truncate(EXAMPLES);
            }
            if let Some(file) = &mut ndjson {
                let mut merged = json!({"KeepBoth": judged.merged});
                for (policy, document) in judged.resolved {
                    merged[format!("{policy:?}")] = document;
                }
                let line = json!({
                    "habit": format!("{habit:?}"), "seed": seed, "base": triple.base,
                    "ours": triple.ours, "theirs": triple.theirs, "merged": merged,
                });
                writeln!(file, "{line}").expect("room in the file");
            }
        }
        let _ = write!(
            table,
            "\n| {habit:?} | {triples} | {}.{} % |",
            with_overlaps * 100 / triples,
            with_overlaps * 1000 / triples % 10
        );
        for count in counts {
            let _ = write!(table, " {count} |");
        }
    }
    println!("{table}\n");
    let examples: Vec<String> = examples.into_values().flatten().collect();
    assert!(is_clean, "\n{table}\n\n{}", examples.concat());
}
