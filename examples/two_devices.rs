//! Two devices of one user write the same day: every way to handle a conflict.
//!
//! In each section both devices have read the same diary, and the laptop saves first.
#![allow(clippy::print_stdout)] // the output is the purpose of an example

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

/// The default: the save fails, and the error contains both drafts.
async fn fail_and_look(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("# FailOnConflict: the caller decides");
    let save = second_save(phone, laptop, date, "점심은 국수", "점심은 김밥").await?;
    let Err(error) = save.await else { return Err("the second save must not succeed".into()) };

    let conflict = error.as_conflict().ok_or("expected a conflict")?;
    println!("{error}");
    println!("  status {:?}, sent: {:?}", error.status_code(), error.was_sent());
    println!("  ours:    {:?}", conflict.ours.content.block_texts());
    if let Some(current) = &conflict.current {
        println!("  current: {:?}, version {}", current.content.block_texts(), current.version);
    }
    Ok(())
}

/// Each device sends a change instead of a draft. The SDK handles versions and conflicts.
async fn update_at_once(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# update: both change the current diary concurrently");
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
            "  {device} version {}, saves: {}, conflicts: {}",
            saved.version, report.attempts, report.conflicts
        );
    }
    let texts = texts(phone, date).await?;
    println!("  {texts:?}");
    ensure(texts.len() == 2, "both lines are stored")
}

/// Changes in different places are merged without an overlap.
async fn merge(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# MergeBlocks: changes in different places");
    let (ours, theirs) =
        ("아침에 비가 왔다.\n점심은 국수.\n저녁에 전화했다.", "아침부터 비가 왔다.\n점심은 국수.");
    let save = second_save(phone, laptop, date, ours, theirs).await?;
    let saved = save.on_conflict(MergeBlocks { on_overlap: OnOverlap::Fail }).await?;
    let texts = saved.draft.content.block_texts();
    println!("  {:?} as version {}: {texts:?}", saved.outcome, saved.version);
    ensure(
        texts == ["아침부터 비가 왔다.", "점심은 국수.", "저녁에 전화했다."],
        "both changes are stored",
    )
}

/// If both changed the same block differently, `OnOverlap` decides.
async fn merge_with_an_overlap(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# MergeBlocks: both changed the same block");
    let (ours, theirs) = ("아침에 비가 왔다.\n점심은 칼국수.", "아침에 비가 왔다.\n점심은 김밥.");

    // The merge is a pure function, so its result can be computed without saving.
    let [base, o, t] = [BASE, ours, theirs].map(Document::from_text);
    for on_overlap in [OnOverlap::Ours, OnOverlap::Theirs, OnOverlap::KeepBoth] {
        let merged = merge3_with(&base, &o, &t, on_overlap);
        let overlaps = merged.overlaps.len();
        println!("  {on_overlap:?}: {:?}, {overlaps} overlap", merged.document.block_texts());
    }

    let save = second_save(phone, laptop, date, ours, theirs).await?;
    let rejected = save.on_conflict(MergeBlocks { on_overlap: OnOverlap::Fail }).await;
    println!("  Fail: saved: {}, conflict: {}", rejected.is_ok(), rejected.is_err());

    // The conflict contains the draft and its base, so the phone can save again with another
    // policy.
    let conflict = rejected.err().ok_or("expected the save to fail")?;
    let conflict = conflict.as_conflict().ok_or("expected a conflict")?;
    let base = conflict.base.clone().ok_or("the conflict has no base")?;
    let saved = phone
        .save(date, conflict.ours.clone(), conflict.expected.into())
        .with_base(base)
        .on_conflict(MergeBlocks { on_overlap: OnOverlap::KeepBoth })
        .await?;
    let texts = saved.draft.content.block_texts();
    println!("  saved with KeepBoth as version {}: {texts:?}", saved.version);
    ensure(
        texts == ["아침에 비가 왔다.", "점심은 김밥.", "점심은 칼국수."],
        "both texts are stored",
    )
}

/// Replaces the current diary. The other device's text is lost, so it must be chosen explicitly.
async fn overwrite(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# Overwrite: our draft replaces the current diary");
    let save = second_save(phone, laptop, date, "휴대폰의 글", "노트북의 글").await?;
    let saved = save.on_conflict(Overwrite).await?;
    println!("  version {}: {:?}", saved.version, texts(laptop, date).await?);
    ensure(texts(laptop, date).await? == ["휴대폰의 글"], "only our text is stored")
}

/// A custom resolver receives both drafts and the base. It returns a draft, or fails.
async fn resolve_yourself(phone: &Diaries, laptop: &Diaries, date: Date) -> Result {
    println!("\n# resolve_with: a resolver appends our text to theirs");
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
    ensure(
        texts == ["노트북의 글", "— 휴대폰에서 쓴 글 —", "휴대폰의 글"],
        "our text follows theirs",
    )
}

/// The text that both devices have read.
const BASE: &str = "아침에 비가 왔다.\n점심은 국수.";

/// The phone's save of `ours`, not sent yet. It will conflict: the laptop has already replaced its
/// expected version with `theirs`.
async fn second_save(
    phone: &Diaries,
    laptop: &Diaries,
    date: Date,
    ours: &str,
    theirs: &str,
) -> Result<Save> {
    let draft = |text| Draft::new("두 기기", Document::from_text(text));
    laptop.save(date, draft(BASE), Precondition::IfAbsent).await?;
    let base: Diary = phone.get(date).await?.ok_or("the saved diary was not found")?;
    let expected = Precondition::IfVersion(base.version);
    laptop.save(date, draft(theirs), expected).await?;
    Ok(phone.save(date, draft(ours), expected).with_base(&base))
}

async fn texts(diaries: &Diaries, date: Date) -> Result<Vec<String>> {
    Ok(diaries.get(date).await?.ok_or("the diary was not found")?.content.block_texts())
}

fn ensure(holds: bool, what: &str) -> Result {
    if holds { Ok(()) } else { Err(format!("check failed: {what}").into()) }
}
