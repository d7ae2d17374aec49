//! Two reports beside each other.

use std::fmt::Write;

use super::Section;
use crate::{
    compare::{Change, Comparison, RULE},
    document::Report,
    tables::{Table, spread_cell, unit_name},
};

pub(super) fn comparison_section(
    report: &Report,
    old: &Report,
    comparison: &Comparison,
) -> Section {
    let Comparison { worse, better, floors, same, not_compared } = comparison;
    let mut text = format!(
        "This report ({}) beside an older one ({}). {} figures are worse, {} are better, {same} have not changed, \
         and {not_compared} are not compared. {RULE}",
        report.commit,
        old.commit,
        worse.len(),
        better.len(),
    );
    if !floors.is_empty() {
        let count = floors.len();
        let _ = write!(
            text,
            " {count} floors changed, so the machine was not the same during both runs."
        );
    }
    if report.machine.processor != old.machine.processor
        || report.machine.cores != old.machine.cores
    {
        text.push_str(" The machines differ: the comparison says little.");
    }
    let mut table = Table::new(2, &["", "figure", "before", "now", "now ÷ before"]);
    for (verdict, changes) in [("worse", worse), ("better", better), ("floor", floors)] {
        for change in changes {
            table.row(
                [verdict.to_owned(), change.what.clone()].into_iter().chain(change_cells(change)),
            );
        }
    }
    Section {
        title: "Compared with an older report".to_owned(),
        text,
        tables: vec![table],
        ..Section::default()
    }
}

fn change_cells(change: &Change) -> [String; 3] {
    let unit = unit_name(change.unit);
    let with_unit =
        |spread| format!("{} {unit}", spread_cell(change.unit, spread)).trim_end().to_owned();
    let ratio = change.ratio();
    let ratio = if ratio.is_finite() { format!("{ratio:.2}") } else { "–".to_owned() };
    [with_unit(&change.old), with_unit(&change.new), ratio]
}
