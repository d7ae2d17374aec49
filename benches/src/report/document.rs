//! A report as a JSON file, with everything that is needed to judge and compare it.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Result, figures::Figures, machine::Machine};

/// The format of the file. It changes if files of an older version cannot be compared any more.
const FORMAT: u32 = 1;

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The version of this format.
    pub(crate) format: u32,
    /// `full` or `quick`, with `growth` if the large sizes were measured.
    pub(crate) mode: String,
    /// Repeats of each figure, unless it has fewer.
    pub(crate) repeats: usize,
    /// When the run started, in UTC.
    pub(crate) started_at: String,
    /// How long it took.
    pub(crate) run_seconds: f64,
    /// The commit, with `, modified` if the files differ from it.
    pub(crate) commit: String,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// Name and version of Shiori, the compiler and the engines.
    pub(crate) versions: Vec<(String, String)>,
    /// What was measured.
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

impl Report {
    /// The version of the format that [`Report::read`] accepts.
    pub(crate) fn format() -> u32 {
        FORMAT
    }

    /// Reads a report.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is not a report, or has another format.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("could not read {}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format } = serde_json::from_str(text)?;
        if format != FORMAT {
            return Err(format!("format {format} is not {FORMAT}, run the report again").into());
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Writes the report.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, serde_json::to_string(self)? + "\n")?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::figures::{Better, Experiment, Point, Unit};

    pub(crate) fn report(figures: Figures) -> Report {
        Report {
            format: FORMAT,
            mode: "quick".to_owned(),
            repeats: 3,
            started_at: "2026-02-16T00:00:00Z".to_owned(),
            run_seconds: 61.5,
            commit: "0123456".to_owned(),
            machine: Machine {
                cores: 2,
                processor: "a <processor>".to_owned(),
                memory_mib: 1024,
                system: "Linux 6".to_owned(),
                load_before: 0.5,
                stolen_percent: 0.0,
            },
            versions: vec![("SQLite".to_owned(), "3.50".to_owned())],
            figures,
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let mut figures = Figures::default();
        let point = Point::new("embedded", Experiment::Floor, "empty trip", None);
        figures.add(&point, "p50", Unit::CpuMicros, Better::Lower, 0.1);
        let report = report(figures);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("report.json");
        report.write(&path).expect("written");
        assert_eq!(Report::read(&path).expect("read"), report);
    }

    #[test]
    fn another_format_is_refused_before_its_fields_are_read() {
        let error =
            Report::parse(r#"{"format": 99, "figures": "different"}"#).expect_err("refused");
        assert_eq!(error.to_string(), "format 99 is not 1, run the report again");
        assert!(Report::parse("[]").is_err());
        assert!(Report::parse(r#"{"format": 1}"#).is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Report::read(Path::new("missing.json")).expect_err("missing").to_string();
        assert!(error.starts_with("could not read missing.json: "), "{error}");
    }
}
