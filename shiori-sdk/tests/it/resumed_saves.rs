//! Saves that are sent again with the same id after the process was restarted.

use std::sync::Arc;

use shiori_sdk::{
    Client, Conflict, ConflictResolver as _, Document, Draft, MergeBlocks, Outcome, Precondition,
    RetryPolicy, Save, SaveId, Version, WasSent,
    merge::OnOverlap,
    resolve_with,
    testing::{FakeShiori, Route},
};

use crate::scripted_server::day;

const MERGE: MergeBlocks = MergeBlocks { on_overlap: OnOverlap::KeepBoth };

fn draft(text: &str) -> Draft {
    Draft::new("월요일", Document::from_text(text))
}

/// A diary of two versions, and a draft of the first.
struct Fixture {
    fake: Arc<FakeShiori>,
    laptop: Client,
    phone: Client,
    save_id: SaveId,
}

impl Fixture {
    async fn new() -> Self {
        let fake = Arc::new(FakeShiori::start());
        let person = fake.person();
        let laptop = person.sign_in(fake.builder()).await.unwrap();
        let phone =
            person.sign_in(fake.builder().retry_policy(RetryPolicy::never())).await.unwrap();
        let first = Precondition::IfAbsent;
        laptop.diaries().save(day(), draft("점심은 국수"), first).await.unwrap();
        let second = Precondition::IfVersion(Version::new(1));
        laptop.diaries().save(day(), draft("점심은 국수 그리고 커피"), second).await.unwrap();
        Self { fake, laptop, phone, save_id: SaveId::new() }
    }

    fn save(&self) -> Save {
        let version = Precondition::IfVersion(Version::new(1));
        let save = self.phone.diaries().save(day(), draft("점심은 냉면"), version);
        save.with_base(draft("점심은 국수")).with_save_id(self.save_id)
    }

    /// Saves the merge; its response is lost.
    async fn lose_response(&self) {
        let fake = self.fake.clone();
        let merge_and_drop = resolve_with(move |conflict: &Conflict| {
            fake.drop_response_once();
            MERGE.resolve(conflict)
        });
        let error = self.save().on_conflict(merge_and_drop).await.unwrap_err();
        assert_eq!(error.was_sent(), WasSent::Maybe);
    }
}

#[tokio::test]
async fn a_merge_that_was_applied_is_not_merged_again() {
    let fixture = Fixture::new().await;
    fixture.lose_response().await;
    let saves = fixture.fake.count(Route::Save);
    let saved = fixture.save().on_conflict(MERGE).await.unwrap();
    assert_eq!((saved.outcome, saved.version), (Outcome::Replayed, Version::new(3)));
    assert_eq!(saved.draft.content.block_texts(), ["점심은 냉면 그리고 커피"]);
    assert_eq!((saved.report.attempts, saved.report.conflicts), (1, 0));
    assert_eq!(fixture.fake.count(Route::Save), saves + 1);
}

#[tokio::test]
async fn other_saves_since_then_are_part_of_the_result() {
    let fixture = Fixture::new().await;
    fixture.lose_response().await;
    let append = |mut draft: Draft| async move {
        draft.content.push_paragraph("저녁은 김밥");
        draft
    };
    fixture.laptop.diaries().update(day(), append).await.unwrap();
    let saved = fixture.save().on_conflict(MERGE).await.unwrap();
    assert_eq!((saved.outcome, saved.version), (Outcome::Replayed, Version::new(4)));
    assert_eq!(saved.draft.content.block_texts(), ["점심은 냉면 그리고 커피", "저녁은 김밥"]);
}

#[tokio::test]
async fn a_save_that_was_not_applied_is_merged() {
    let fixture = Fixture::new().await;
    let saved = fixture.save().on_conflict(MERGE).await.unwrap();
    assert_eq!((saved.outcome, saved.version), (Outcome::Merged, Version::new(3)));
    assert_eq!(saved.draft.content.block_texts(), ["점심은 냉면 그리고 커피"]);
}
