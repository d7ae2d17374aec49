//! The steps of one record, by example.

use super::{
    exchange::{Answer, Need, Request, Seen},
    note::{ConflictCause, MAX_NOTES},
    record::{DateStatus, LocalChange, Record, Rejection},
};
use crate::{
    diary::Precondition,
    types::{
        Date, DateVersion, Diary, DiaryId, Document, Draft, ErrorCode, REMEMBERED_SAVES, SaveId,
        SaveReceipt, Timestamp, Version,
    },
};

fn draft(text: &str) -> Draft {
    Draft::new("제목", Document::from_text(text))
}

fn diary(version: u64, text: &str) -> Diary {
    let Draft { title, content } = draft(text);
    Diary {
        id: DiaryId::from_bytes([1; 16]),
        date: Date::new(2026, 2, 16).expect("a date"),
        title,
        content,
        version: Version::new(version),
        is_archived: false,
        updated_at: Timestamp::UNIX_EPOCH,
        emotion: None,
        summary_status: None,
        etag: None,
    }
}

fn listed(version: u64) -> DateVersion {
    let date = Date::new(2026, 2, 16).expect("a date");
    let version = Version::new(version);
    DateVersion { date, version, is_archived: false, is_deleted: false }
}

fn saved(version: u64, replayed: bool) -> Answer {
    Answer::Saved(SaveReceipt {
        id: DiaryId::from_bytes([1; 16]),
        version: Version::new(version),
        updated_at: Timestamp::UNIX_EPOCH,
        replayed,
    })
}

fn conflict(version: u64, text: &str) -> Answer {
    Answer::Conflict(Some(diary(version, text)))
}

/// A record that has seen this diary.
fn synced(version: u64, text: &str) -> Record {
    Record::default().learn(Seen::Diary(diary(version, text)))
}

fn save(record: Record, text: &str) -> Record {
    record.write(LocalChange::Save(draft(text)))
}

/// Sends, and takes the answer.
#[track_caller]
fn exchange(record: Record, answer: Answer) -> Record {
    let (record, _) = record.begin(SaveId::new()).expect("a request");
    let id = record.sent_id().expect("it is stored");
    record.settle(id, answer)
}

#[track_caller]
fn assert_text(record: &Record, text: &str) {
    let view = record.view().expect("a diary");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(view.content.expect("its content").block_texts(), lines);
}

#[track_caller]
fn assert_causes(record: &Record, causes: &[ConflictCause]) {
    let listed: Vec<_> = record.conflicts().iter().map(|note| note.cause).collect();
    assert_eq!(listed, causes);
}

#[test]
fn a_new_diary_is_visible_at_once_and_saved_once() {
    let record = save(Record::default(), "비");
    assert_text(&record, "비");
    assert_eq!((record.status(), record.next(None)), (DateStatus::Pending, Some(Need::Send)));
    let id = SaveId::new();
    let (record, request) = record.begin(id).expect("a request");
    let precondition = Precondition::IfAbsent;
    assert_eq!(request, Request::Save { draft: draft("비"), precondition, save_id: id });
    assert!(record.view().expect("a diary").server.is_none());
    let record = record.settle(id, saved(1, false));
    let server = record.view().expect("a diary").server.expect("the server has it");
    assert_eq!((server.version, server.updated_at), (Version::new(1), Timestamp::UNIX_EPOCH));
    assert_eq!(server.id, DiaryId::from_bytes([1; 16]));
    assert_eq!((record.status(), record.next(Some(listed(1)))), (DateStatus::Synced, None));
    assert_text(&record, "비");
}

#[test]
fn a_request_without_an_answer_is_repeated_unchanged() {
    let (record, first) = save(synced(1, "비"), "큰비").begin(SaveId::new()).expect("a request");
    let record = save(record, "큰비\n우산");
    // Neither newer versions nor the text that was written meanwhile change it.
    let record = record.learn(Seen::Diary(diary(5, "눈")));
    assert_eq!(record.next(Some(listed(5))), Some(Need::Send));
    let (record, again) = record.begin(SaveId::new()).expect("a request");
    assert_eq!(again, first);
    // The sent draft is the base of what was written meanwhile.
    let id = record.sent_id().expect("sent");
    let record = record.settle(id, saved(2, true));
    assert_eq!(
        (record.status(), record.next(Some(listed(5)))),
        (DateStatus::Pending, Some(Need::Read))
    );
    let record = record.learn(Seen::Diary(diary(5, "큰비\n바람")));
    assert_text(&record, "큰비\n바람\n우산");
    assert_causes(&record, &[]);
}

#[test]
fn a_late_answer_to_another_request_has_no_effect() {
    let (record, _) = save(synced(1, "비"), "큰비").begin(SaveId::new()).expect("a request");
    assert_eq!(record.clone().settle(SaveId::new(), saved(2, false)), record);
    let id = record.sent_id().expect("sent");
    assert_eq!(record.clone().settle(id, Answer::Deleted), record);
}

#[test]
fn an_undone_change_is_sent_if_an_earlier_one_may_have_been_applied() {
    assert_eq!(save(save(synced(1, "비"), "큰비"), "비").status(), DateStatus::Synced);
    let (record, _) = save(synced(1, "비"), "큰비").begin(SaveId::new()).expect("a request");
    let record = save(record, "비");
    let id = record.sent_id().expect("sent");
    let applied = record.clone().settle(id, saved(2, false));
    assert_text(&applied, "비");
    assert_eq!(applied.next(Some(listed(2))), Some(Need::Send));
    let refused = record.settle(id, conflict(2, "비\n눈"));
    assert_text(&refused, "비\n눈");
    assert_eq!(refused.status(), DateStatus::Synced);

    // The same for a deletion.
    let deleted = synced(1, "비").write(LocalChange::Delete);
    let (record, _) = deleted.begin(SaveId::new()).expect("a request");
    let id = record.sent_id().expect("sent");
    let record = save(record, "비").settle(id, Answer::Deleted);
    assert_text(&record, "비");
    assert_eq!(record.next(None), Some(Need::Send));
}

#[test]
fn a_conflict_is_merged_with_the_stored_base() {
    let record = exchange(save(synced(1, "비\n눈"), "큰비\n눈"), conflict(2, "비\n함박눈"));
    assert_text(&record, "큰비\n함박눈");
    assert_causes(&record, &[]);
    let record = exchange(record, saved(3, false));
    assert_eq!(record.status(), DateStatus::Synced);
}

#[test]
fn an_overlap_keeps_both_texts_and_is_listed_until_it_is_acknowledged() {
    let record = exchange(save(synced(1, "비"), "국수"), conflict(2, "김밥"));
    assert_text(&record, "김밥\n국수");
    let record = exchange(record, saved(3, false));
    assert_eq!(record.status(), DateStatus::Conflicted);
    let note = &record.conflicts()[0];
    assert_eq!((note.number, note.cause), (1, ConflictCause::Overlap));
    let texts = [&note.base, &note.ours, &note.theirs].map(Option::as_ref);
    assert_eq!(texts, [Some(&draft("비")), Some(&draft("국수")), Some(&draft("김밥"))]);
    let later = save(record.clone(), "밥").learn(Seen::Diary(diary(4, "빵")));
    assert_eq!(later.clone().acknowledge(1).conflicts()[0].number, 2, "it was not seen");
    assert_eq!(later.acknowledge(2).conflicts(), []);
    assert_eq!(record.acknowledge(1).status(), DateStatus::Synced);
}

#[test]
fn the_newest_conflicts_are_kept() {
    let mut record = synced(1, "비");
    for number in 0..=MAX_NOTES {
        record = save(record, &format!("국수{number}"));
        record = record.learn(Seen::Diary(diary(number as u64 + 2, &format!("김밥{number}"))));
    }
    let numbers: Vec<_> = record.conflicts().iter().map(|note| note.number).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
}

#[test]
fn titles_are_merged_and_overlap_like_text() {
    let titled = |title: &str| Draft { title: title.to_owned(), ..draft("비") };
    let theirs = |title: &str| Diary { title: title.to_owned(), ..diary(2, "비") };
    let record = synced(1, "비").write(LocalChange::Save(titled("월요일")));
    let same = exchange(record.clone(), Answer::Conflict(Some(theirs("제목"))));
    assert_eq!(same.view().expect("a diary").title, "월요일");
    assert_causes(&same, &[]);
    let both = exchange(record, Answer::Conflict(Some(theirs("휴일"))));
    assert_eq!(both.view().expect("a diary").title, "휴일 / 월요일");
    assert_causes(&both, &[ConflictCause::Overlap]);
}

#[test]
fn an_edit_wins_over_a_deletion() {
    // Edited here.
    let edited = save(synced(1, "비\n눈"), "큰비\n눈");
    let learned = edited.clone().learn(Seen::Deleted(Version::new(2)));
    let refused = exchange(edited, Answer::Conflict(None));
    for record in [learned, refused] {
        assert_text(&record, "큰비\n눈");
        assert_causes(&record, &[ConflictCause::DeletedElsewhere]);
        let (_, request) = record.clone().begin(SaveId::new()).expect("a request");
        assert!(
            matches!(request, Request::Save { precondition: Precondition::IfAbsent, .. }),
            "{request:?}"
        );
        // Another device had edited it, too, and was first.
        let record = exchange(record, conflict(3, "비\n함박눈"));
        assert_text(&record, "큰비\n함박눈");
        assert_causes(&record, &[ConflictCause::DeletedElsewhere]);
    }
    // Edited elsewhere.
    let deleted = synced(1, "비").write(LocalChange::Delete);
    let learned = deleted.clone().learn(Seen::Diary(diary(2, "비\n눈")));
    let refused = exchange(deleted, conflict(2, "비\n눈"));
    for record in [learned, refused] {
        assert_text(&record, "비\n눈");
        assert_causes(&record, &[ConflictCause::DeletedHere]);
        assert_eq!(record.next(Some(listed(2))), None);
    }
}

#[test]
fn a_deletion_is_sent_again_if_only_the_flag_has_changed() {
    let deleted = synced(1, "비").write(LocalChange::Delete);
    let archived = |version| Diary { is_archived: true, ..diary(version, "비") };
    let record = exchange(deleted.clone(), Answer::Conflict(Some(archived(2))));
    assert!(record.view().is_none());
    assert_eq!(record.next(Some(listed(2))), Some(Need::Send));
    // After another version, it may have been deleted and written again.
    let record = exchange(deleted, Answer::Conflict(Some(archived(3))));
    assert_text(&record, "비");
    assert_causes(&record, &[ConflictCause::DeletedHere]);
}

#[test]
fn a_deletion_by_both_sides_is_done() {
    let deleted = synced(1, "비").write(LocalChange::Delete);
    for record in [
        exchange(deleted.clone(), Answer::Deleted),
        exchange(deleted.clone(), Answer::Conflict(None)),
        deleted.learn(Seen::Deleted(Version::new(2))),
    ] {
        assert!(record.view().is_none());
        assert_eq!((record.status(), record.next(None)), (DateStatus::Synced, None));
        // The version of the deletion may be a later one.
        let listed = DateVersion { is_deleted: true, ..listed(4) };
        assert_eq!(record.next(Some(listed)), Some(Need::LearnDeletion(Version::new(4))));
        let record = record.learn(Seen::Deleted(Version::new(4)));
        assert_eq!(record.next(Some(listed)), None);
        // What is written now is new.
        let record = exchange(save(record, "눈"), conflict(5, "비"));
        assert_text(&record, "비\n눈");
        assert_causes(&record, &[]);
    }
}

#[test]
fn what_is_written_after_a_deletion_without_an_answer_is_kept() {
    let deleted = synced(1, "비").write(LocalChange::Delete);
    let (record, _) = deleted.begin(SaveId::new()).expect("a request");
    let record = save(record, "비");
    // The deletion was applied, or another one and a save.
    let written_again = exchange(record.clone(), conflict(3, "눈"));
    assert_text(&written_again, "눈\n비");
    assert_causes(&written_again, &[ConflictCause::Uncertain]);
    // It was not applied, so the same text as before is no change.
    let edited = exchange(record, conflict(2, "눈"));
    assert_text(&edited, "눈");
    assert_causes(&edited, &[]);
}

#[test]
fn a_rejection_does_not_hold_back_a_later_change() {
    let (record, _) = save(synced(1, "비"), "큰비").begin(SaveId::new()).expect("a request");
    let record = record.write(LocalChange::Delete);
    let code = ErrorCode::DocumentTooLarge;
    let record = exchange(record, Answer::Rejected(Rejection { code }));
    assert_eq!((record.status(), record.next(None)), (DateStatus::Pending, Some(Need::Send)));
    let (_, request) = record.begin(SaveId::new()).expect("a request");
    assert_eq!(request, Request::Delete { version: Version::new(1) });
}

#[test]
fn archiving_is_merged_as_a_flag() {
    let archive = |archived| LocalChange::Archive(archived);
    let record = synced(1, "비").write(archive(true));
    assert!(record.view().expect("a diary").is_archived);
    assert_eq!(record.clone().write(archive(false)).status(), DateStatus::Synced);
    let archived = Diary { is_archived: true, ..diary(2, "비\n눈") };
    let done = [
        exchange(record.clone(), Answer::Archived(Version::new(2))),
        // An earlier request was applied, or another device has archived it.
        exchange(record.clone(), Answer::Conflict(Some(archived))),
    ];
    for record in done {
        assert!(record.view().expect("a diary").is_archived);
        assert_eq!(record.status(), DateStatus::Synced);
    }
    let again = exchange(record.clone(), conflict(2, "비\n눈"));
    assert_text(&again, "비\n눈");
    assert_eq!(again.next(Some(listed(2))), Some(Need::Send));
    // A deletion removes the flag, too.
    let record = exchange(record, Answer::Conflict(None));
    assert_eq!((record.status(), record.view().is_none()), (DateStatus::Synced, true));
    assert_eq!(record.write(archive(true)).status(), DateStatus::Synced);
}

#[test]
fn a_forgotten_save_is_listed_and_adds_nothing() {
    let forgotten = REMEMBERED_SAVES as u64 + 2;
    let record = save(synced(1, "비"), "비\n우산");
    let once = exchange(record.clone(), conflict(forgotten, "비\n우산\n버스"));
    assert_causes(&once, &[]);
    let (record, _) = record.begin(SaveId::new()).expect("a request");
    let remembered = exchange(record.clone(), conflict(forgotten - 1, "비\n우산\n버스"));
    assert_causes(&remembered, &[]);
    let twice = exchange(record, conflict(forgotten, "비\n우산\n버스"));
    assert_text(&twice, "비\n우산\n버스");
    assert_causes(&twice, &[ConflictCause::Uncertain]);

    // What was undone meanwhile stays undone.
    let (sent, _) = save(synced(1, "비 눈"), "비 우산").begin(SaveId::new()).expect("a request");
    let undone = exchange(save(sent, "비 눈"), conflict(forgotten, "비 우산\n버스"));
    assert_text(&undone, "비 눈\n버스");
    assert_causes(&undone, &[ConflictCause::Uncertain]);

    // It was deleted before the repeated request was applied.
    let (created, _) = save(Record::default(), "비").begin(SaveId::new()).expect("a request");
    assert_causes(&exchange(created.clone(), saved(forgotten, false)), &[ConflictCause::Uncertain]);
    assert_causes(&exchange(created, saved(forgotten, true)), &[]);
}

#[test]
fn a_rejected_text_is_kept_and_sent_again_after_the_next_change() {
    let rejection = Rejection { code: ErrorCode::DocumentTooLarge };
    let record = exchange(save(synced(1, "비"), "큰비"), Answer::Rejected(rejection.clone()));
    assert_eq!((record.status(), record.rejection()), (DateStatus::Rejected, Some(&rejection)));
    assert_eq!(record.next(Some(listed(1))), None);
    assert_eq!(record.next(Some(listed(2))), Some(Need::Read));
    let record = record.learn(Seen::Diary(diary(2, "비\n눈")));
    assert_text(&record, "큰비\n눈");
    assert_eq!(record.next(Some(listed(2))), None);
    let record = save(record, "눈");
    assert_eq!(
        (record.status(), record.next(Some(listed(2)))),
        (DateStatus::Pending, Some(Need::Send))
    );
    assert_eq!(record.write(LocalChange::Save(draft("비\n눈"))).status(), DateStatus::Synced);
}

#[test]
fn dropped_content_is_read_again_before_it_is_needed() {
    let dropped = synced(1, "비").drop_content();
    let view = dropped.view().expect("a diary");
    assert_eq!((view.title, view.content), ("제목", None));
    assert_eq!(dropped.next(Some(listed(1))), None, "only when someone wants it");
    assert_text(&dropped.clone().learn(Seen::Diary(diary(1, "비"))), "비");

    let written = save(dropped, "비\n우산");
    assert_eq!(written.next(Some(listed(1))), Some(Need::Read));
    let same = written.clone().learn(Seen::Diary(diary(1, "비")));
    let merged = exchange(same, conflict(2, "눈"));
    assert_text(&merged, "눈\n우산");
    assert_causes(&merged, &[]);
    // The base is no longer on the server.
    let newer = written.learn(Seen::Diary(diary(2, "비\n바람")));
    assert_causes(&newer, &[ConflictCause::Uncertain]);

    let pending = save(synced(1, "비"), "눈").drop_content();
    assert_text(&pending, "눈");
    assert_text(&exchange(pending, conflict(2, "비\n바람")), "눈\n바람");
}

#[test]
fn older_versions_have_no_effect() {
    let record = synced(3, "비");
    assert_eq!(record.next(Some(listed(2))), None);
    assert_eq!(record.clone().learn(Seen::Diary(diary(2, "눈"))), record);
    assert_eq!(record.clone().learn(Seen::Deleted(Version::new(3))), record);
}

#[test]
fn a_record_is_stored_as_json_and_debug_shows_no_text() {
    let record = exchange(save(synced(1, "비밀"), "비밀 국수"), conflict(2, "비밀 김밥"));
    let (record, _) = record.begin(SaveId::new()).expect("a request");
    let json = serde_json::to_string(&record).expect("JSON");
    assert_eq!(serde_json::from_str::<Record>(&json).expect("a record"), record);
    let shown = format!("{record:?}");
    assert!(!shown.contains("비밀") && !shown.contains("제목"), "{shown}");
}
