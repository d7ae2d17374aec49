//! Compares a crate's public API with a snapshot, and checks that it contains only types of
//! permitted crates: `shiori-public-api RUSTDOC-JSON LIST [--bless]`. See
//! `scripts/check_public_api.sh`.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line program

use std::{collections::BTreeSet, env, error::Error, fs, process::ExitCode};

use public_api::{MINIMUM_NIGHTLY_RUST_VERSION, PublicApi};

/// The crates whose types may be part of a signature. A new major version of one of them requires a
/// new major version of this crate.
const FOREIGN: [&str; 3] = [
    "futures_core", // `Stream`, which is not part of std.
    "serde_core",   // `Serialize` and `Deserialize`.
    "serde_json",   // `Value`: a document's tree.
];

/// The crates of the standard library.
const OWN: [&str; 3] = ["core", "alloc", "std"];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("the rustdoc JSON of {MINIMUM_NIGHTLY_RUST_VERSION} or newer is needed");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the API equals the snapshot and contains only permitted types.
fn run() -> Result<bool, Box<dyn Error>> {
    let usage = "usage: shiori-public-api RUSTDOC-JSON LIST [--bless]";
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (json, list, is_blessing) = match arguments.as_slice() {
        [json, list] => (json, list, false),
        [json, list, bless] if bless == "--bless" => (json, list, true),
        _ => return Err(usage.into()),
    };
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .omit_blanket_impls(true)
        .build()?;
    let foreign = foreign(&api);
    for name in &foreign {
        eprintln!("error: {name} is part of a public signature, but not a permitted crate");
    }

    // Inherent blocks are omitted, because their items are listed.
    let lines: Vec<String> = api
        .items()
        .map(ToString::to_string)
        .filter(|line| !line.starts_with("impl") || line.contains(" for "))
        .collect();
    let found = lines.join("\n") + "\n";
    if is_blessing {
        fs::write(list, found)?;
        return Ok(foreign.is_empty());
    }
    let written = fs::read_to_string(list)?;
    let (old, new): (BTreeSet<_>, BTreeSet<_>) =
        (written.lines().collect(), found.lines().collect());
    for line in old.difference(&new) {
        eprintln!("- {line}");
    }
    for line in new.difference(&old) {
        eprintln!("+ {line}");
    }
    if old == new {
        println!("the public API equals {list}: {} lines", new.len());
    } else {
        eprintln!(
            "error: the public API has changed; if this is intended, update the snapshot with --bless"
        );
    }
    Ok(foreign.is_empty() && old == new)
}

/// The crates that are not permitted and whose types are part of the API.
fn foreign(api: &PublicApi) -> BTreeSet<String> {
    let mut own = None;
    let mut found = BTreeSet::new();
    for item in api.items() {
        let text = item.to_string();
        // The first item is the crate's own module.
        let own = own.get_or_insert_with(|| text.trim_start_matches("pub mod ").to_owned());
        let roots = text
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .filter_map(|path| path.split_once("::"))
            .map(|(root, _)| root)
            .filter(|root| !root.is_empty() && root.starts_with(char::is_lowercase));
        let is_known =
            |root: &&str| *root == own.as_str() || OWN.contains(root) || FOREIGN.contains(root);
        found.extend(roots.filter(|root| !is_known(root)).map(str::to_owned));
    }
    found
}
