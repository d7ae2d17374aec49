//! Two devices of one person write the same day: what the second one learns, and what it can do.
//!
//! Every section begins with a diary that both devices have read. The laptop saves first.
#![allow(clippy::print_stdout)] // an example is there to be read

use shiori_examples::{Result, Service};
use shiori_sdk::{
    Conflict, Date, Diaries, Diary, Document, Draft, MergeBlocks, Overwrite, Precondition,
    Resolution, Save,
    merge::{OnOverlap, merge3_with},
    resolve_with,
};

#[tokio::main]
async fn main() -> Result {
    let service = Service::start_or_connect().await?;
    let person = service.sign_up().await?;
    let phone = person.sign_in("phone").await?.diaries();
    let laptop = person.sign_in("laptop").await?.diaries();
    let mut dates = (1..=28).filter_map(|day| Date::new(2026, 3, day).ok());
    let mut date = || dates.next().ok_or("March has 28 days");

    fail_and_look(&phone, &laptop, date()?).await?;
    update_at_once(&phone, &laptop, date()?).await?;
    merge(&phone, &laptop, date()?).await?;
    merge_with_an_overlap(&phone, &laptop, date()?).await?;
    overwrite(&phone, &laptop, date()?).await?;
    resolve_yourself(&phone, &laptop, date()?).await?;

    service.stop().await
}

/// The default: the save fails, and the error holds both sides.
async fn fail_and_look(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("# FailOnConflict: the caller decides");
    let save = second_save(phone, laptop, date, "점심은 국수", "점심은 김밥").await?;
    let Err(error) = save.await else { return Err("the second save must not succeed".into()) };

    let conflict = error.as_conflict().ok_or("it is a conflict")?;
    println!("{error}");
    println!("  status {:?}, sent: {:?}", error.status_code(), error.was_sent());
    println!("  ours:    {:?}", conflict.ours.content.block_texts());
    if let Some(current) = &conflict.current {
        println!("  current: {:?}, version {}", current.content.block_texts(), current.version);
    }
    Ok(())
}

/// No version to name and no conflict to see: each device says how it changes what stands.
async fn update_at_once(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# update: both at once, as a change to whatever stands");
    let append = |line: &'static str| {
        move |mut draft: Draft| async move {
            draft.content.push_paragraph(line);
            draft
        }
    };
    let (by_phone, by_laptop) = tokio::try_join!(
        phone.update(date, append("휴대폰에서 쓴 줄")),
        laptop.update(date, append("노트북에서 쓴 줄")),
    )?;
    for (device, saved) in [("phone ", &by_phone), ("laptop", &by_laptop)] {
        let report = saved.report;
        println!(
            "  {device} version {}, saves sent: {}, conflicts met: {}",
            saved.version, report.attempts, report.conflicts
        );
    }
    let texts = texts(phone, date).await?;
    println!("  {texts:?}");
    ensure(texts.len() == 2, "both lines are there")
}

/// Changes in different places simply come together.
async fn merge(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# MergeBlocks: changes in different places");
    let (ours, theirs) =
        ("아침에 비가 왔다.\n점심은 국수.\n저녁에 전화했다.", "아침부터 비가 왔다.\n점심은 국수.");
    let save = second_save(phone, laptop, date, ours, theirs).await?;
    let saved = save.on_conflict(MergeBlocks { on_overlap: OnOverlap::Fail }).await?;
    let texts = saved.draft.content.block_texts();
    println!("  {:?} as version {}: {texts:?}", saved.outcome, saved.version);
    ensure(texts == ["아침부터 비가 왔다.", "점심은 국수.", "저녁에 전화했다."], "both changes")
}

/// Where both changed the same block, `OnOverlap` decides.
async fn merge_with_an_overlap(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# MergeBlocks: both changed the same block");
    let (ours, theirs) = ("아침에 비가 왔다.\n점심은 칼국수.", "아침에 비가 왔다.\n점심은 김밥.");

    // The merge itself is a pure function, for trying out what would come of it.
    let [base, o, t] = [BASE, ours, theirs].map(Document::from_text);
    for on_overlap in [OnOverlap::Ours, OnOverlap::Theirs, OnOverlap::KeepBoth] {
        let merged = merge3_with(&base, &o, &t, on_overlap);
        let overlaps = merged.overlaps.len();
        println!("  {on_overlap:?}: {:?}, {overlaps} overlap", merged.document.block_texts());
    }

    let save = second_save(phone, laptop, date, ours, theirs).await?;
    let refused = save.on_conflict(MergeBlocks { on_overlap: OnOverlap::Fail }).await;
    println!("  Fail: saved: {}, conflict for the caller: {}", refused.is_ok(), refused.is_err());

    // The phone still has its draft and what it was made from, and says now what it wants.
    let conflict = refused.err().ok_or("an overlap was to fail")?;
    let conflict = conflict.as_conflict().ok_or("it is a conflict")?;
    let base = conflict.base.clone().ok_or("the base was given")?;
    let saved = phone
        .save(date, conflict.ours.clone(), conflict.expected.into())
        .with_base(base)
        .on_conflict(MergeBlocks { on_overlap: OnOverlap::KeepBoth })
        .await?;
    let texts = saved.draft.content.block_texts();
    println!("  stored with KeepBoth as version {}: {texts:?}", saved.version);
    ensure(texts == ["아침에 비가 왔다.", "점심은 김밥.", "점심은 칼국수."], "both texts")
}

/// One's own draft wins, and the other's text is gone. It has to be named to happen.
async fn overwrite(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# Overwrite: ours, whatever stands");
    let save = second_save(phone, laptop, date, "휴대폰의 글", "노트북의 글").await?;
    let saved = save.on_conflict(Overwrite).await?;
    println!("  version {}: {:?}", saved.version, texts(laptop, date).await?);
    ensure(texts(laptop, date).await? == ["휴대폰의 글"], "ours alone")
}

/// A resolver of one's own sees both sides and the base, and makes a draft of them, or gives up.
async fn resolve_yourself(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# resolve_with: theirs stays, ours goes below a line of its own");
    let below = resolve_with(|conflict: &Conflict| {
        let Some(current) = &conflict.current else { return Resolution::Fail };
        let mut draft = current.to_draft();
        draft.content.push_paragraph("— 휴대폰에서 쓴 글 —");
        for text in conflict.ours.content.block_texts() {
            draft.content.push_paragraph(&text);
        }
        Resolution::Retry(draft)
    });
    let save = second_save(phone, laptop, date, "휴대폰의 글", "노트북의 글").await?;
    let saved = save.on_conflict(below).await?;
    let texts = saved.draft.content.block_texts();
    println!("  {:?} as version {}: {texts:?}", saved.outcome, saved.version);
    ensure(texts == ["노트북의 글", "— 휴대폰에서 쓴 글 —", "휴대폰의 글"], "theirs, then ours")
}

/// What both devices have read.
const BASE: &str = "아침에 비가 왔다.\n점심은 국수.";

/// The phone's save of `ours`, ready to be sent. Meanwhile the laptop has saved `theirs` over the
/// version that it names.
async fn second_save(
    phone: &Diaries,
    laptop: &Diaries,
    date: Date,
    ours: &str,
    theirs: &str,
) -> Result<Save> {
    let draft = |text| Draft::new("두 기기", Document::from_text(text));
    laptop.save(date, draft(BASE), Precondition::IfAbsent).await?;
    let base: Diary = phone.get(date).await?.ok_or("it was just saved")?;
    let seen = Precondition::IfVersion(base.version);
    laptop.save(date, draft(theirs), seen).await?;
    Ok(phone.save(date, draft(ours), seen).with_base(&base))
}

async fn texts(diaries: &Diaries, date: Date) -> Result<Vec<String>> {
    Ok(diaries.get(date).await?.ok_or("there is a diary")?.content.block_texts())
}

fn ensure(holds: bool, what: &str) -> Result {
    if holds { Ok(()) } else { Err(format!("it should have been: {what}").into()) }
}
