//! Writes the report, and prints the changes.

use std::{fs, path::Path};

use shiori_benches::record_block;

use crate::{
    Result,
    compare::{Comparison, RULE},
    document::Report,
    options::Options,
    page::{to_html, to_markdown},
    sections::{distributions, sections, six_figures},
    tables::{Table, spread_cell, unit_name},
};

/// Writes the files of the report into the directory, and prints where they are and what changed.
///
/// # Errors
///
/// If a file cannot be written.
#[allow(clippy::print_stdout)] // the result of a program
pub(crate) fn write(
    options: &Options,
    report: &Report,
    compared: Option<(&Report, &Comparison)>,
) -> Result<()> {
    fs::create_dir_all(&options.out)?;
    let sections = sections(report, compared);
    fs::write(options.out.join("report.html"), to_html(report, &sections)?)?;
    let markdown = to_markdown(report, &sections);
    fs::write(options.out.join("report.md"), &markdown)?;
    report.write(&options.out.join("report.json"))?;
    let picture = distributions(&report.figures, "embedded").to_svg()?;
    fs::write(options.out.join("latency.svg"), &picture)?;
    println!("{}", readme_table(report, Language::English).to_markdown());
    println!(
        "report.html, report.md, report.json and latency.svg are in {}",
        options.out.display()
    );
    if let Some((_, comparison)) = compared {
        print_changes(comparison);
    }
    if options.record {
        record(report, &markdown, &picture)?;
    }
    Ok(())
}

/// The language of a README.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Language {
    English,
    Korean,
}

/// The six figures of the README.
fn readme_table(report: &Report, language: Language) -> Table {
    let is_english = language == Language::English;
    let mut table = Table::new(1, &["", if is_english { "embedded profile" } else { "내장형" }]);
    for row in six_figures(&report.figures) {
        table.row(if is_english {
            [row.name.to_owned(), row.value]
        } else {
            [row.korean_name.to_owned(), row.korean_value]
        });
    }
    table
}

/// The files of the project that have figures of the report. The HTML page is not among them: it is
/// large, and is written again with every run.
fn record(report: &Report, markdown: &str, picture: &str) -> Result<()> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    fs::write(results.join("report.md"), markdown)?;
    report.write(&results.join("report.json"))?;
    fs::write(results.join("latency.svg"), picture)?;
    for (page, language) in
        [("../README.md", Language::English), ("../README.ko.md", Language::Korean)]
    {
        let table = readme_table(report, language).to_markdown();
        record_block(Path::new(page), "six_figures", &table)?;
    }
    Ok(())
}

#[allow(clippy::print_stdout)] // the result of a program
fn print_changes(comparison: &Comparison) {
    let Comparison { worse, better, floors, same, not_compared } = comparison;
    println!("\n{RULE}\n");
    for (verdict, changes) in [("worse", worse), ("better", better), ("floor", floors)] {
        for change in changes {
            let (unit, name) = (change.unit, unit_name(change.unit));
            let (old, new) = (spread_cell(unit, &change.old), spread_cell(unit, &change.new));
            println!("{verdict}: {}: {old} → {new} {name}", change.what);
        }
    }
    println!(
        "{} worse, {} better, {} floors moved, {same} unchanged, {not_compared} not compared",
        worse.len(),
        better.len(),
        floors.len()
    );
}
