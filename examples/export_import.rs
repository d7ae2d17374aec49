//! Exports a diary to Markdown files and to one file that can be imported again, imports it into
//! another account, and deletes the first account.
//!
//! With a directory as an argument, the files are written there; otherwise, to a temporary directory
//! that is removed at the end.
#![allow(clippy::print_stdout)] // the output is the purpose of an example

use std::{
    env,
    fs::{self, File},
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use futures_util::TryStreamExt;
use shiori_examples::{Result, Service, a_week};
use shiori_sdk::{
    Client, ExportEnd, ExportReader, ExportRecord, ExportedDiary, ImportReport, Precondition,
};

#[tokio::main]
async fn main() -> Result {
    let temporary = tempfile::tempdir()?;
    let directory = env::args_os().nth(1).map_or(temporary.path().to_owned(), PathBuf::from);
    fs::create_dir_all(&directory)?;
    let service = Service::start_or_connect().await?;
    let person = service.sign_up().await?;
    let old = person.sign_in("old laptop").await?;
    let new = service.sign_up().await?.sign_in("new laptop").await?;
    let (week, drafts) = a_week()?;
    let count = drafts.len() as u64;
    for (date, draft) in drafts {
        old.diaries().save(date, draft, Precondition::IfAbsent).await?;
    }

    println!("# Export: one Markdown file for each day, and one file with everything");
    let file = directory.join("export.ndjson");
    let end = export(&old, &directory, &file).await?;
    println!("  {} diaries, {} reflections", end.diaries, end.reflections);
    ensure(end.diaries == count, "every diary is exported")?;
    let saturday = fs::read_to_string(directory.join("20260411.md"))?;
    for line in saturday.lines().filter(|line| !line.is_empty()).take(4) {
        println!("  │ {}", line.chars().take(40).collect::<String>());
    }

    println!("\n# Import into another account, which already has another diary of Monday");
    let monday = week.start();
    new.diaries()
        .update(monday, |mut draft| async {
            draft.content.push_paragraph("새 계정에서 먼저 쓴 글.");
            draft
        })
        .await?;
    let report = import(&new, &file).await?;
    println!("  created: {}, present: {}", report.created, report.present);
    for conflict in &report.conflicts {
        println!("  conflict: {}, which is at version {}", conflict.date, conflict.current);
    }
    ensure(report.created == count - 1, "every other day is imported")?;

    println!("\n# Import again: nothing changes");
    let report = import(&new, &file).await?;
    println!("  created: {}, present: {}", report.created, report.present);
    ensure(report.created == 0 && report.present == count - 1, "nothing was saved twice")?;
    for date in week.dates().filter(|date| *date != monday) {
        let (before, after) = (old.diaries().get(date).await?, new.diaries().get(date).await?);
        let texts = [before, after].map(|diary| diary.map(|diary| diary.content));
        ensure(texts[0].is_some() && texts[0] == texts[1], "both accounts have the same text")?;
    }

    println!("\n# Delete the first account with everything in it");
    person.delete_account(&old).await?;
    ensure(person.sign_in("old laptop").await.is_err(), "the account is gone")?;
    println!("  nobody can sign in to it");
    service.stop().await
}

/// Writes the records to a file, and each diary as Markdown. It takes constant memory.
async fn export(client: &Client, directory: &Path, file: &Path) -> Result<ExportEnd> {
    // The file gets its name when it is complete.
    let unfinished = file.with_extension("tmp");
    let mut lines = BufWriter::new(File::create(&unfinished)?);
    let mut end = None;
    let mut records = client.account().export();
    while let Some(record) = records.try_next().await? {
        serde_json::to_writer(&mut lines, &record)?;
        lines.write_all(b"\n")?;
        match record {
            ExportRecord::Diary(diary) => {
                fs::write(directory.join(format!("{}.md", diary.date)), markdown(&diary))?;
            }
            ExportRecord::End(counted) => end = Some(counted),
            _ => {}
        }
    }
    lines.into_inner()?.sync_all()?;
    fs::rename(&unfinished, file)?;
    // The stream ends with an error if the export is incomplete.
    Ok(end.ok_or("the export has no end")?)
}

/// The page of a day.
fn markdown(diary: &ExportedDiary) -> String {
    let title = shiori_sdk::Document::from_text(&diary.title).to_markdown();
    format!("# {title}\n\n{}\n", diary.content.to_markdown())
}

async fn import(client: &Client, file: &Path) -> Result<ImportReport> {
    let records = ExportReader::new(BufReader::new(File::open(file)?));
    Ok(client.account().import(records).await?)
}

fn ensure(holds: bool, what: &str) -> Result {
    if holds { Ok(()) } else { Err(format!("check failed: {what}").into()) }
}
