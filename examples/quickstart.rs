//! The twelve lines that matter: write a day, write it again from another device, ask what the
//! week was like.
#![allow(clippy::print_stdout)] // an example is there to be read

use shiori_examples::Service;
use shiori_sdk::{Date, Document, Draft, Precondition, Requested, Week};

#[tokio::main]
async fn main() -> shiori_examples::Result {
    let service = Service::start_or_connect().await?;
    let person = service.sign_up().await?;
    let client = person.sign_in("laptop").await?;
    let diaries = client.diaries();

    // A save names what it expects to find. If another device was first, it fails and says so.
    let date = Date::new(2026, 4, 11)?;
    let draft = Draft::new("통영", Document::from_text("할머니 집을 비우는 날."));
    let saved = diaries.save(date, draft, Precondition::IfAbsent).await?;
    println!("saved {date} as version {}", saved.version);

    // An update reads, changes and saves. If another device was first, it changes what stands then.
    let append = |mut draft: Draft| async move {
        draft.content.push_paragraph("감나무에 인사했다.");
        draft
    };
    let saved = diaries.update(date, append).await?;
    println!("saved {date} as version {}: {:?}", saved.version, saved.draft.content.block_texts());

    // A summary is of a whole week. The answer says at once what is missing, or where to wait.
    match client.summaries().request(Week::containing(date)).await? {
        Requested::Incomplete { missing } => println!("still to be written: {missing:?}"),
        requested => println!("{:?}", requested.into_handle()?.wait().await?.reflection),
    }

    service.stop().await
}
