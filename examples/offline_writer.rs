//! Writes without a network and merges when it is back. The phone has a replica of the diaries in a
//! file; the laptop saves on the server.
//!
//! A crash between any two steps neither loses a text nor saves it twice: the replica stores each
//! change before it is sent, and the server recognises a repeated save by its id.
#![allow(clippy::print_stdout)] // the output is the purpose of an example

use shiori_examples::{Result, Service};
use shiori_sdk::{
    Client, Date, DateRange, Document, Draft, Precondition, RedbStore, Replica, UnsentChanges,
};

#[tokio::main]
async fn main() -> Result {
    let service = Service::start_or_connect().await?;
    let person = service.sign_up().await?;
    let phone = person.sign_in("phone").await?;
    let laptop = person.sign_in("laptop").await?.diaries();
    let (monday, tuesday) = (Date::new(2026, 4, 6)?, Date::new(2026, 4, 7)?);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("diary.redb");
    let open = async |client: &Client| Replica::open(client.clone(), RedbStore::open(&file)?).await;

    println!("# At home: the laptop saves Monday, and the phone reads it");
    let first = draft("월요일", "아침에 비가 왔다.\n점심은 국수.");
    let home = laptop.save(monday, first, Precondition::IfAbsent).await?;
    let replica = open(&phone).await?;
    replica.sync().await?;
    show(&replica).await?;

    println!("\n# On the train: the phone writes offline, the laptop saves at home");
    let on_monday = "아침에 비가 왔다.\n점심은 냉면.\n기차가 늦었다.";
    replica.save(monday, draft("월요일", on_monday)).await?;
    replica.save(tuesday, draft("기차에서", "창밖이 온통 초록이다.")).await?;
    let at_home = draft("월요일", "아침부터 비가 왔다.\n점심은 칼국수.");
    laptop.save(monday, at_home, Precondition::IfVersion(home.version)).await?;
    show(&replica).await?;

    println!("\n# The phone restarts: everything is in the file");
    drop(replica);
    let replica = open(&phone).await?;
    ensure(replica.unsent() == [monday, tuesday], "both changes are in the file")?;
    match replica.sign_out(UnsentChanges::Keep).await {
        Err(error) => println!("  no sign-out: {error}"),
        Ok(()) => return Err("the unsent changes were lost".into()),
    }

    println!("\n# At the station: the phone sends its changes");
    replica.sync().await?;
    show(&replica).await?;
    for conflict in replica.conflicts(monday).await? {
        let lunch =
            |draft: &Option<Draft>| draft.as_ref().map(|it| it.content.block_texts()[1].clone());
        let (ours, theirs) = (lunch(&conflict.ours), lunch(&conflict.theirs));
        println!("  both changed the same line: {} and {}", or_none(ours), or_none(theirs));
        replica.acknowledge(monday, conflict.number).await?;
    }

    println!("\n# The user decides, and everything is on the server");
    let decided = "아침부터 비가 왔다.\n점심은 냉면.\n기차가 늦었다.";
    replica.save(monday, draft("월요일", decided)).await?;
    replica.sync().await?;
    show(&replica).await?;
    ensure(replica.unsent().is_empty(), "nothing is unsent")?;
    let stored = laptop.get(monday).await?.ok_or("Monday's diary was not found")?;
    ensure(stored.content.block_texts().join("\n") == decided, "the server has the text")?;
    let stored = laptop.get(tuesday).await?.ok_or("Tuesday's diary was not found")?;
    ensure(stored.version.get() == 1, "Tuesday was saved once")?;
    service.stop().await
}

fn draft(title: &str, text: &str) -> Draft {
    Draft::new(title, Document::from_text(text))
}

/// Prints the week as the phone has it.
async fn show(replica: &Replica) -> Result {
    let week = DateRange::new(Date::new(2026, 4, 6)?, Date::new(2026, 4, 12)?)?;
    for entry in replica.list(week).await? {
        if let Some(diary) = replica.get(entry.date).await? {
            let version = diary.version.map_or("new".to_owned(), |it| format!("version {it}"));
            let texts = diary.content.block_texts();
            println!("  {} {:?}, {version}: {texts:?}", entry.date, entry.status);
        }
    }
    Ok(())
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "nothing".to_owned())
}

fn ensure(holds: bool, what: &str) -> Result {
    if holds { Ok(()) } else { Err(format!("check failed: {what}").into()) }
}
