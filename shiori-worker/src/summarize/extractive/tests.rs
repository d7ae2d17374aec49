use proptest::prelude::*;
use serde_json::Value;
use shiori_sdk::{Date, DayEmotion, Distribution, Document, Emotion};

use super::*;
use crate::summarize::DayText;

fn day(nth: u8, title: &str, blocks: Vec<String>, label: Emotion) -> DayText {
    let date = Date::new(2026, 2, 16 + nth).unwrap();
    let mut weights = [1.0; 7];
    weights[label.index()] = 8.0;
    let distribution = Distribution::from_weights(weights);
    let confidence = distribution.probability(label);
    let emotion = DayEmotion { date, label, confidence, distribution };
    DayText { date, title: title.to_owned(), blocks, emotion }
}

/// The week of the examples, with the intended emotions.
fn real_week() -> WeekText {
    let week = [
        (include_str!("../../../../examples/data/monday.json"), Emotion::Neutral),
        (include_str!("../../../../examples/data/tuesday.json"), Emotion::Surprise),
        (include_str!("../../../../examples/data/wednesday.json"), Emotion::Anger),
        (include_str!("../../../../examples/data/thursday.json"), Emotion::Disgust),
        (include_str!("../../../../examples/data/friday.json"), Emotion::Fear),
        (include_str!("../../../../examples/data/saturday.json"), Emotion::Sadness),
        (include_str!("../../../../examples/data/sunday.json"), Emotion::Happiness),
    ];
    let days = (0..).zip(week).map(|(nth, (json, label))| {
        let sample: Value = serde_json::from_str(json).unwrap();
        let document = Document::from_value(&sample["content"]).unwrap();
        day(nth, sample["title"].as_str().unwrap(), document.block_texts(), label)
    });
    WeekText { days: days.collect(), trace: None }
}

fn quotes(text: &str) -> Vec<&str> {
    text.split('「').skip(1).filter_map(|rest| rest.split('」').next()).collect()
}

#[test]
fn the_reflection_on_the_example_week() {
    let text = reflect(&real_week()).unwrap();
    assert_eq!(
        text,
        "놀란 마음으로 시작해서 행복한 마음으로 마무리한 한 주였네요. \
         화요일에는 「수아가 배낭에서 꺼낸 봉투에 서울에 있는 병원의 채용 통지서가 들어 있었다」라고 썼네요. \
         수요일에 쓴 「퇴근하고 한강까지 40분을 걸었다」, 이 한 줄에서 그날 마음이 느껴졌어요. \
         토요일에 쓴 「돌아오는 버스에서 할머니 목소리가 그리워 옛날 음성 메시지를 반복해서 들었다」라는 말도 기억에 남아요. \
         그리고 일요일에는 「민재와 수아가 할머니 달력 뒷장에서 된장찌개 적는 법을 찾아낸 것이다」라고 썼고요. \
         쉽지 않은 날도 있었는데, 좋은 마음으로 한 주를 마쳐서 참 다행이에요. \
         그 마음이 다음 주에도 이어지면 좋겠어요."
    );
}

#[test]
fn the_same_week_yields_the_same_text_with_unchanged_quotes() {
    let week = real_week();
    let text = reflect(&week).unwrap();
    assert_eq!(reflect(&week).unwrap(), text);
    let quotes = quotes(&text);
    assert!((2..=4).contains(&quotes.len()), "{text}");
    let written: Vec<&String> = week.days.iter().flat_map(|day| &day.blocks).collect();
    for quote in quotes {
        let quote = quote.trim_end_matches('…');
        assert!(written.iter().any(|block| block.contains(quote)), "{quote}");
    }
}

#[test]
fn the_language_follows_from_the_script() {
    use unicode_normalization::UnicodeNormalization;

    let text_of = |block: &str| {
        let week = WeekText {
            days: vec![day(0, "", vec![block.to_owned()], Emotion::Happiness)],
            trace: None,
        };
        reflect(&week).expect("a text")
    };
    let japanese = text_of("今日は川沿いを歩いた。とても楽しかった。");
    assert!(japanese.contains("On Monday you wrote"), "{japanese}");
    assert!(japanese.contains("“今日は川沿いを歩いた”"), "{japanese}");
    let decomposed: String = "강가를 오래 걸었다. coffee도 마셨다.".nfd().collect();
    assert!(text_of(&decomposed).contains("월요일에는"));
}

#[test]
fn an_english_week_gets_an_english_text() {
    let blocks = vec!["I walked along the river for an hour. The light was lovely.".to_owned()];
    let days = vec![day(0, "River", blocks, Emotion::Happiness)];
    assert_eq!(
        reflect(&WeekText { days, trace: None }).unwrap(),
        "The strongest feeling of the day was joy. \
         On Monday you wrote, “I walked along the river for an hour”. \
         I hope that this good feeling stays with you next week."
    );
}

#[test]
fn a_title_is_quoted_if_there_is_no_text_and_an_empty_week_has_no_text() {
    let titled =
        WeekText { days: vec![day(0, "그냥 하루", vec![], Emotion::Neutral)], trace: None };
    assert!(reflect(&titled).unwrap().contains("「그냥 하루」"));
    let empty =
        WeekText { days: vec![day(0, " ", vec![" \n".to_owned()], Emotion::Neutral)], trace: None };
    assert_eq!(reflect(&empty), None);
}

#[test]
fn a_week_of_megabytes_is_bounded() {
    let block = "오늘은 비가 왔다. 우산을 썼다. ".repeat(20_000);
    let days = (0..7).map(|nth| day(nth, "", vec![block.clone()], Emotion::Sadness)).collect();
    let week = WeekText { days, trace: None };
    assert!(sentence::of_week(&week).len() <= 280);
    assert!(reflect(&week).unwrap().chars().count() <= MAX_REFLECTION_CHARS);
}

#[tokio::test]
async fn the_trait_reports_progress_and_failure() {
    let seen = std::sync::atomic::AtomicU32::new(0);
    let progress = |now: Writing<'_>| {
        seen.store(now.characters, std::sync::atomic::Ordering::Relaxed);
    };
    let written = ExtractiveSummarizer::new().summarize(real_week(), &progress).await.unwrap();
    assert_eq!(written.engine, "extractive/1");
    assert_eq!(seen.into_inner() as usize, written.reflection.chars().count());
    let nothing = WeekText { days: Vec::new(), trace: None };
    let error = ExtractiveSummarizer::new().summarize(nothing, &|_| {}).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (FailureKind::NoText, false));
}

fn any_week() -> impl Strategy<Value = WeekText> {
    let text = prop_oneof![
        "\\PC{0,120}",
        "[가-힣 .!?~…\n]{0,200}",
        "[a-zA-Z .!?']{0,200}",
        "(👨‍👩‍👧|😀|가){0,400}",
    ];
    let any_day = (prop::collection::vec(text, 0..6), 0usize..7);
    prop::collection::vec(any_day, 0..8).prop_map(|days| WeekText {
        days: (0..)
            .zip(days)
            .map(|(nth, (blocks, label))| day(nth, "제목", blocks, Emotion::ALL[label]))
            .collect(),
        trace: None,
    })
}

proptest! {
    #[test]
    fn any_week_gets_a_text_within_the_limit(week in any_week()) {
        if let Some(text) = reflect(&week) {
            prop_assert!((1..=MAX_REFLECTION_CHARS).contains(&text.chars().count()));
            prop_assert_eq!(reflect(&week), Some(text));
        }
    }
}
