//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::experiments::Part;

/// Measures Shiori and writes a report: an HTML page with plots, a Markdown file and a JSON file.
///
/// The embedded profile is always measured; the distributed one if `SHIORI_TEST_MYSQL_URL`,
/// `SHIORI_TEST_MONGODB_URL` and `SHIORI_TEST_REDIS_URL` are set.
#[derive(Debug, Parser)]
#[command(name = "report")]
pub(crate) struct Options {
    /// Measure for about two minutes, with fewer repeats and smaller sizes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure with up to 10,000,000 diaries and 1,000,000 queued summaries; takes much longer
    #[arg(long)]
    pub(crate) growth: bool,
    /// With `--growth`, measure only sizes up to this many diaries or queued summaries
    #[arg(long, value_name = "ROWS", requires = "growth")]
    pub(crate) max_rows: Option<u32>,
    /// Measure only these parts; a report without all of them is not complete
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Name the figures that are worse than in this report, and exit with 1 if there are any
    #[arg(long, value_name = "OLD.json")]
    pub(crate) compare: Option<PathBuf>,
    /// Measure nothing; use this report
    #[arg(long, value_name = "NEW.json")]
    pub(crate) of: Option<PathBuf>,
    /// Directory of the report
    #[arg(long, default_value = "target/report")]
    pub(crate) out: PathBuf,
    /// Also write the report into benches/results, and its figures and picture into the READMEs
    #[arg(long)]
    pub(crate) record: bool,
}
