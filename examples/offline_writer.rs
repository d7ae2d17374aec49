//! Writes without a network and merges when it is back. Drafts wait in an outbox on disk, each with
//! its base and the id of its save.
//!
//! A crash between any two steps neither loses a draft nor saves it twice: a draft stays in the
//! outbox until its save is acknowledged, and the server recognises a repeated save by its id.
#![allow(clippy::print_stdout)] // the output is the purpose of an example

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use shiori_examples::{Result, Service};
use shiori_sdk::{
    Date, Diaries, Diary, Document, Draft, MergeBlocks, Precondition, SaveId, Saved, Version,
    WasSent, merge::OnOverlap,
};

/// A draft that is not sent yet.
#[derive(Serialize, Deserialize)]
struct PendingSave {
    date: Date,
    draft: Draft,
    /// The diary that the draft was made from; `None` for a new day.
    base: Option<Draft>,
    version: Option<Version>,
    /// Created with the draft and sent with every attempt.
    save_id: SaveId,
}

/// One file for each draft, in a directory.
struct Outbox(PathBuf);

impl Outbox {
    /// Stores a draft. After a crash the file is either complete or missing.
    fn put(&self, pending: &PendingSave) -> Result<PathBuf> {
        let path = self.0.join(format!("{}.json", pending.date));
        let unfinished = path.with_extension("tmp");
        fs::write(&unfinished, serde_json::to_vec(pending)?)?;
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }

    /// The files of the pending drafts, by date.
    fn pending(&self) -> Result<Vec<PathBuf>> {
        let mut paths: Vec<_> =
            fs::read_dir(&self.0)?.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        Ok(paths)
    }

    /// Sends the pending drafts. After a retryable error, the remaining drafts are kept.
    async fn send(&self, diaries: &Diaries) -> Result<Vec<Saved>> {
        let mut sent = Vec::new();
        for path in self.pending()? {
            let pending = serde_json::from_slice(&fs::read(&path)?)?;
            match send(diaries, pending).await {
                Ok(saved) => {
                    // The save is acknowledged, so the file can be removed.
                    fs::remove_file(&path)?;
                    sent.push(saved);
                }
                Err(error) if error.is_retryable() => {
                    let applied = error.was_sent() != WasSent::No;
                    println!("  {error}: the draft stays in the outbox, maybe applied: {applied}");
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sent)
    }
}

async fn send(diaries: &Diaries, pending: PendingSave) -> shiori_sdk::Result<Saved> {
    let mut save = diaries
        .save(pending.date, pending.draft, pending.version.into())
        .with_save_id(pending.save_id)
        .on_conflict(MergeBlocks { on_overlap: OnOverlap::KeepBoth });
    if let Some(base) = pending.base {
        save = save.with_base(base);
    }
    save.await
}

/// A draft that is written without a network.
fn write(date: Date, base: Option<&Diary>, text: &str) -> PendingSave {
    let title = base.map_or("기차에서", |diary| &diary.title);
    PendingSave {
        date,
        draft: Draft::new(title, Document::from_text(text)),
        base: base.map(Draft::from),
        version: base.map(|diary| diary.version),
        save_id: SaveId::new(),
    }
}

#[tokio::main]
async fn main() -> Result {
    let service = Service::start_or_connect().await?;
    let person = service.sign_up().await?;
    let phone = person.sign_in("phone").await?.diaries();
    let laptop = person.sign_in("laptop").await?.diaries();
    let (monday, tuesday) = (Date::new(2026, 4, 6)?, Date::new(2026, 4, 7)?);
    let dir = tempfile::tempdir()?;
    let outbox = Outbox(dir.path().to_owned());

    println!("# At home: both devices read Monday");
    let first = Draft::new("월요일", Document::from_text("아침에 비가 왔다.\n점심은 국수."));
    laptop.save(monday, first, Precondition::IfAbsent).await?;
    let read = phone.get(monday).await?.ok_or("the saved diary was not found")?;
    println!("  version {}: {:?}", read.version, read.content.block_texts());

    println!("\n# On the train: the phone writes offline, the laptop saves at home");
    let on_monday = "아침에 비가 왔다.\n점심은 국수.\n기차가 늦었다.";
    outbox.put(&write(monday, Some(&read), on_monday))?;
    let kept = outbox.put(&write(tuesday, None, "창밖이 온통 초록이다."))?;
    let kept_json = fs::read(&kept)?;
    println!("  in the outbox: {}", outbox.pending()?.len());
    let at_home = Draft::new("월요일", Document::from_text("아침부터 비가 왔다.\n점심은 국수."));
    laptop.save(monday, at_home, Precondition::IfVersion(read.version)).await?;

    println!("\n# At the station: the phone sends its outbox");
    for saved in outbox.send(&phone).await? {
        let texts = saved.draft.content.block_texts();
        println!("  {} {:?} as version {}: {texts:?}", saved.date, saved.outcome, saved.version);
    }
    ensure(outbox.pending()?.is_empty(), "the outbox is empty")?;

    println!("\n# The phone crashed after sending Tuesday and sends it again");
    fs::write(&kept, kept_json)?;
    for saved in outbox.send(&phone).await? {
        println!("  {} {:?}: still version {}", saved.date, saved.outcome, saved.version);
        ensure(saved.version.get() == 1, "the draft was saved once")?;
    }
    let monday = laptop.get(monday).await?.ok_or("Monday's diary was not found")?;
    let expected = ["아침부터 비가 왔다.", "점심은 국수.", "기차가 늦었다."];
    ensure(monday.content.block_texts() == expected, "Monday has the changes of both devices")?;
    service.stop().await
}

fn ensure(holds: bool, what: &str) -> Result {
    if holds { Ok(()) } else { Err(format!("check failed: {what}").into()) }
}
