//! The report as one HTML page without references to other files, and as Markdown.

use std::fmt::Write;

use crate::{
    Result,
    document::Report,
    plot::escape,
    sections::Section,
    tables::{Table, whole},
};

const STYLE: &str = "
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 32px 24px 64px; color: #1f2630; background: #f6f7f9;
  font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif; }
h1 { font-size: 30px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 21px; margin: 0 0 8px; }
.lead { color: #566070; margin: 0 0 20px; max-width: 76ch; }
section, .facts { background: #fff; border: 1px solid #e2e6eb; border-radius: 10px; padding: 22px 24px; margin: 0 0 20px; }
section p { max-width: 84ch; margin: 0 0 16px; }
.facts dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0; }
.facts dt { color: #566070; } .facts dd { margin: 0; }
nav { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 0 0 20px; font-size: 15px; }
nav a { color: #0b5fa5; text-decoration: none; } nav a:hover { text-decoration: underline; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 520px), 1fr)); gap: 16px; margin: 0 0 16px; }
.plots svg { width: 100%; height: auto; border: 1px solid #eef0f3; border-radius: 8px; }
.scroll { overflow-x: auto; margin: 0 0 14px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: left; border-bottom: 1px solid #eceff2; vertical-align: top; }
th { color: #566070; font-weight: 600; vertical-align: bottom; }
th.n, td.n { text-align: right; padding: 5px 0 5px 16px; }
td.n { white-space: nowrap; }
tbody tr:hover { background: #f8fafc; }
";

const LEAD: &str = "Latency, concurrency and growth of the Shiori diary server, measured beside the physical floors of \
    the same machine in the same run. A number is the median of the repeats, followed by their spread in \
    parentheses: the range of the repeats, without the lowest and the highest if there are at least five. \
    Clients, servers, workers and stores share the cores of one machine: compare figures of one report with \
    each other, not with other machines.";

/// What describes the run, by name.
fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let machine = &report.machine;
    let versions: Vec<_> =
        report.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    vec![
        ("Commit", report.commit.clone()),
        (
            "Run",
            format!(
                "{}, {} s, started {}; {} interleaved repeats (fewer where an experiment takes seconds)",
                report.mode,
                whole(report.run_seconds),
                report.started_at,
                report.repeats,
            ),
        ),
        (
            "Machine",
            format!(
                "{} cores of {}, {} MiB of memory, {}",
                machine.cores,
                machine.processor,
                whole(precise(machine.memory_mib)),
                machine.system,
            ),
        ),
        (
            "Other load",
            format!(
                "load average {:.2} before the run; {:.1} % of the CPU time during it was stolen by the hypervisor",
                machine.load_before, machine.stolen_percent,
            ),
        ),
        ("Versions", versions.join(", ")),
    ]
}

#[allow(clippy::cast_precision_loss)] // mebibytes
fn precise(mib: u64) -> f64 {
    mib as f64
}

/// The page.
///
/// # Errors
///
/// If a plot cannot be drawn.
pub(crate) fn to_html(report: &Report, sections: &[Section]) -> Result<String> {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Shiori benchmark report</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Shiori benchmark report</h1>\n\
         <p class=\"lead\">{LEAD}</p>\n<div class=\"facts\"><dl>\n",
    );
    for (name, value) in facts(report) {
        let _ = writeln!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    html.push_str("</dl></div>\n<nav>\n");
    for (nth, section) in sections.iter().enumerate() {
        let _ = writeln!(html, "<a href=\"#s{nth}\">{}</a>", escape(&section.title));
    }
    html.push_str("</nav>\n");
    for (nth, section) in sections.iter().enumerate() {
        let (title, text) = (escape(&section.title), escape(&section.text));
        let _ = writeln!(html, "<section id=\"s{nth}\">\n<h2>{title}</h2>\n<p>{text}</p>");
        if !section.plots.is_empty() {
            html.push_str("<div class=\"plots\">\n");
            for plot in &section.plots {
                html.push_str(&plot.to_svg()?);
            }
            html.push_str("</div>\n");
        }
        html.extend(
            section.tables.iter().filter(|table| !table.rows.is_empty()).map(Table::to_html),
        );
        html.push_str("</section>\n");
    }
    html.push_str("</body>\n</html>\n");
    Ok(html)
}

/// The same in Markdown, without the plots.
pub(crate) fn to_markdown(report: &Report, sections: &[Section]) -> String {
    let mut markdown = format!("# Shiori benchmark report\n\n{LEAD}\n\n");
    for (name, value) in facts(report) {
        let _ = writeln!(markdown, "- {name}: {value}");
    }
    for section in sections {
        let _ = write!(markdown, "\n## {}\n\n{}\n", section.title, section.text);
        for table in section.tables.iter().filter(|table| !table.rows.is_empty()) {
            let _ = write!(markdown, "\n{}", table.to_markdown());
        }
    }
    markdown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{document::tests::report, figures::Figures, sections::sections};

    #[test]
    fn the_page_refers_to_nothing_outside() {
        let report = report(Figures::default());
        let html = to_html(&report, &sections(&report, None)).expect("a page");
        let outside = ["src=", "url(", "@import", "<script", "href=\"http"];
        assert!(outside.iter().all(|reference| !html.contains(reference)));
        assert!(html.contains("a &lt;processor&gt;"), "texts are escaped");
    }

    #[test]
    fn the_markdown_describes_the_run() {
        let report = report(Figures::default());
        let markdown = to_markdown(&report, &sections(&report, None));
        for fact in
            ["- Commit: 0123456\n", "quick, 62 s", "2 cores of a <processor>", "SQLite 3.50"]
        {
            assert!(markdown.contains(fact), "{fact}");
        }
    }
}
