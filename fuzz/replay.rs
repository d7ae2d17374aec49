//! Replays the corpora in the tests of the crates that the targets call.

use std::{fs, panic::catch_unwind, path::Path};

/// Runs a target on every input in its corpus.
pub(super) fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let inputs = fs::read_dir(&corpus).expect("a corpus in this repository");
    let paths: Vec<_> = inputs.map(|input| input.expect("a file").path()).collect();
    assert!(!paths.is_empty(), "the corpus {target} is empty");
    for path in paths {
        let input = fs::read(&path).expect("a readable file");
        assert!(catch_unwind(|| run(&input)).is_ok(), "{}", path.display());
    }
}
