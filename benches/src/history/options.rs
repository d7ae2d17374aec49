//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Checks a history of calls and responses.
#[derive(Debug, Parser)]
#[command(name = "history")]
pub(crate) struct Options {
    /// Check this history: one call a line, as JSON
    #[arg(long, value_name = "HISTORY.jsonl")]
    pub(crate) of: PathBuf,
}
