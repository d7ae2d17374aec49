//! Writes where there is no network, and merges when there is one again: an outbox of drafts on
//! disk, each with what it was made from and the id of its save.
//!
//! Whatever happens between two steps, nothing is lost and nothing is doubled: a draft stays in the
//! outbox until its save is acknowledged, and a save that is sent again is recognised by its id.
#![allow(clippy::print_stdout)] // an example is there to be read

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use shiori_examples::{Result, Service};
use shiori_sdk::{
    Date, Diaries, Diary, Document, Draft, MergeBlocks, Precondition, SaveId, Saved, Version,
    WasSent, merge::OnOverlap,
};

/// A draft that waits for the network.
#[derive(Serialize, Deserialize)]
struct Waiting {
    date: Date,
    draft: Draft,
    /// What the draft was made from; nothing for a new day.
    base: Option<Draft>,
    version: Option<Version>,
    /// Made with the draft, and the same however often it is sent.
    save_id: SaveId,
}

/// One file for each draft, in a directory.
struct Outbox(PathBuf);

impl Outbox {
    /// Writes a draft down. A file is there as a whole or not at all.
    fn put(&self, waiting: &Waiting) -> Result<PathBuf> {
        let path = self.0.join(format!("{}.json", waiting.date));
        let unfinished = path.with_extension("tmp");
        fs::write(&unfinished, serde_json::to_vec(waiting)?)?;
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }

    /// The drafts that wait, by date.
    fn waiting(&self) -> Result<Vec<PathBuf>> {
        let mut paths: Vec<_> =
            fs::read_dir(&self.0)?.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        Ok(paths)
    }

    /// Sends what waits. What cannot be sent now stays.
    async fn send(&self, diaries: &Diaries) -> Result<Vec<Saved>> {
        let mut sent = Vec::new();
        for path in self.waiting()? {
            let waiting = serde_json::from_slice(&fs::read(&path)?)?;
            match send(diaries, waiting).await {
                Ok(saved) => {
                    // Only now, for the save is acknowledged.
                    fs::remove_file(&path)?;
                    sent.push(saved);
                }
                Err(error) if error.is_retryable() => {
                    let applied = error.was_sent() != WasSent::No;
                    println!("  {error}: the draft stays, applied perhaps: {applied}");
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sent)
    }
}

async fn send(diaries: &Diaries, waiting: Waiting) -> shiori_sdk::Result<Saved> {
    let mut save = diaries
        .save(waiting.date, waiting.draft, waiting.version.into())
        .with_save_id(waiting.save_id)
        .on_conflict(MergeBlocks { on_overlap: OnOverlap::KeepBoth });
    if let Some(base) = waiting.base {
        save = save.with_base(base);
    }
    save.await
}

/// What somebody makes of a diary without a network.
fn write(date: Date, base: Option<&Diary>, text: &str) -> Waiting {
    let title = base.map_or("기차에서", |diary| &diary.title);
    Waiting {
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
    let read = phone.get(monday).await?.ok_or("it was just saved")?;
    println!("  version {}: {:?}", read.version, read.content.block_texts());

    println!("\n# On the train: the phone writes on, the laptop saves at home");
    let on_monday = "아침에 비가 왔다.\n점심은 국수.\n기차가 늦었다.";
    outbox.put(&write(monday, Some(&read), on_monday))?;
    let kept = outbox.put(&write(tuesday, None, "창밖이 온통 초록이다."))?;
    let lost_answer = fs::read(&kept)?;
    println!("  in the outbox: {}", outbox.waiting()?.len());
    let at_home = Draft::new("월요일", Document::from_text("아침부터 비가 왔다.\n점심은 국수."));
    laptop.save(monday, at_home, Precondition::IfVersion(read.version)).await?;

    println!("\n# At the station: the outbox is sent");
    for saved in outbox.send(&phone).await? {
        let texts = saved.draft.content.block_texts();
        println!("  {} {:?} as version {}: {texts:?}", saved.date, saved.outcome, saved.version);
    }
    ensure(outbox.waiting()?.is_empty(), "nothing waits any more")?;

    println!("\n# The phone died after sending Tuesday, before it could tidy up: it sends again");
    fs::write(&kept, lost_answer)?;
    for saved in outbox.send(&phone).await? {
        println!("  {} {:?}: it is still version {}", saved.date, saved.outcome, saved.version);
        ensure(saved.version.get() == 1, "nothing was saved twice")?;
    }
    let monday = laptop.get(monday).await?.ok_or("it is there")?;
    let expected = ["아침부터 비가 왔다.", "점심은 국수.", "기차가 늦었다."];
    ensure(monday.content.block_texts() == expected, "both devices' changes of Monday")?;
    service.stop().await
}

fn ensure(holds: bool, what: &str) -> Result {
    if holds { Ok(()) } else { Err(format!("it should have been: {what}").into()) }
}
