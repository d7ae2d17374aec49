//! The shortest useful program: save a day, append to it, and request the week's summary.
#![allow(clippy::print_stdout)] // the output is the purpose of an example

use shiori_examples::Service;
use shiori_sdk::{Date, Document, Draft, Precondition, Requested, Week};

#[tokio::main]
async fn main() -> shiori_examples::Result {
    let service = Service::start_or_connect().await?;
    let person = service.sign_up().await?;
    let client = person.sign_in("laptop").await?;
    let diaries = client.diaries();

    // A save has a precondition. If another device has saved first, it fails with a conflict.
    let date = Date::new(2026, 4, 11)?;
    let draft = Draft::new("통영", Document::from_text("할머니 집을 비우는 날."));
    let saved = diaries.save(date, draft, Precondition::IfAbsent).await?;
    println!("saved {date} as version {}", saved.version);

    // An update reads, changes and saves. After a conflict, it changes the current diary.
    let append = |mut draft: Draft| async move {
        draft.content.push_paragraph("감나무에 인사했다.");
        draft
    };
    let saved = diaries.update(date, append).await?;
    println!("saved {date} as version {}: {:?}", saved.version, saved.draft.content.block_texts());

    // A summary needs a whole week. The response lists the missing days, or has a handle to wait with.
    match client.summaries().request(Week::containing(date)).await? {
        Requested::Incomplete { missing } => println!("days without a diary: {missing:?}"),
        requested => println!("{:?}", requested.into_handle()?.wait().await?.reflection),
    }

    service.stop().await
}
