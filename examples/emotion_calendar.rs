//! A year of emotions as a calendar in the terminal: one column for each week, one row for each
//! weekday, and one letter in the colour of the day's emotion.
//!
//! ```console
//! $ cargo run -p shiori-examples --example emotion_calendar
//! ```
#![allow(clippy::print_stdout)] // the output is the purpose of an example

use std::collections::BTreeMap;

use shiori_examples::{
    Result, Service, a_week,
    terminal::{Terminal, bar, pad},
};
use shiori_sdk::{
    Client, Date, DateRange, Document, Draft, Emotion, EmotionHistory, Precondition, Version, Week,
};

/// Lines of the diaries. The built-in model recognises their emotions.
const LINES: [&str; 8] = [
    "오랜만에 친구들을 만나 정말 즐겁고 행복했다.",
    "할머니 생각에 슬퍼서 한참을 울었다.",
    "약속을 또 어긴 동료에게 너무 화가 났다.",
    "밤길에 누가 따라오는 것 같아 무섭고 두려웠다.",
    "갑자기 수아가 찾아와서 깜짝 놀랐다.",
    "싱크대의 썩은 냄새가 역겹고 혐오스러웠다.",
    "회의를 하고 메일에 답했다.",
    "선물을 받아 기쁘고 고마웠다.",
];

/// The weeks of the year that are written.
const WEEKS: i64 = 10;

#[tokio::main]
async fn main() -> Result {
    let service = Service::start_or_connect().await?;
    let client = service.sign_up().await?.sign_in("laptop").await?;
    let terminal = Terminal::detect();

    let year = DateRange::new(Date::new(2026, 1, 1)?, Date::new(2026, 12, 31)?)?;
    let written = write_some_weeks(&client).await?;
    let history = client.emotions().get(year).await?;
    if history.days.len() != written {
        return Err(format!("{} emotions for {written} diaries", history.days.len()).into());
    }

    draw(terminal, year, &history)?;
    legend(terminal, &history);
    months(terminal, &history);
    delete_and_compare(&client, year, &history).await?;
    service.stop().await
}

/// Writes some weeks of the year and has each summarised: a summary tags its days with emotions.
/// Returns the number of days.
async fn write_some_weeks(client: &Client) -> Result<usize> {
    let mut summaries = Vec::new();
    let (sample, days) = a_week()?;
    for (date, draft) in days {
        client.diaries().save(date, draft, Precondition::IfAbsent).await?;
    }
    summaries.push(client.summaries().request(sample).await?.into_handle()?);
    for nth in 0..WEEKS {
        let monday = Date::new(2026, 6, 1)?.plus_days(14 * nth).ok_or("a date of 2026")?;
        let week = Week::containing(monday);
        for (day, date) in week.dates().enumerate() {
            let nth = usize::try_from(nth)?;
            let line = LINES[(day * 5 + nth * 3 + day * nth) % LINES.len()];
            let draft = Draft::new(date.to_string(), Document::from_text(line));
            client.diaries().save(date, draft, Precondition::IfAbsent).await?;
        }
        summaries.push(client.summaries().request(week).await?.into_handle()?);
    }
    let written = summaries.len() * Week::DAYS;
    for summary in summaries {
        summary.wait().await?;
    }
    Ok(written)
}

/// One column for each week of the year. A day without an emotion is a dot.
fn draw(terminal: Terminal, year: DateRange, history: &EmotionHistory) -> Result {
    const NAMES: [&str; Week::DAYS] = ["월", "화", "수", "목", "금", "토", "일"];
    let labels: BTreeMap<_, _> = history.days.iter().map(|day| (day.date, day.label)).collect();
    let first = Week::containing(year.start());
    let weeks = first.start().days_until(year.end()) / 7 + 1;
    println!(
        "\n{}",
        terminal.bold(&format!("{}년의 감정 · The emotions of a year", year.start().year()))
    );

    let mut header = String::new();
    for week in 0..weeks {
        let monday = first.start().plus_days(7 * week).ok_or("a date of the year")?;
        let starts = Week::containing(monday).dates().find(|date| date.day() == 1);
        if let Some(start) = starts.filter(|start| year.contains(*start)) {
            let column = usize::try_from(week)?;
            header = format!("{}{}", pad(&header, column), start.month());
        }
    }
    println!("   {header}");
    for (row, name) in (0_i64..).zip(NAMES) {
        let mut line = String::new();
        for week in 0..weeks {
            let date = first.start().plus_days(7 * week + row).ok_or("a date of the year")?;
            match labels.get(&date) {
                Some(label) => line.push_str(&terminal.emotion(letter(*label), *label)),
                None => line.push(if year.contains(date) { '·' } else { ' ' }),
            }
        }
        println!("{name} {}", line.trim_end());
    }
    Ok(())
}

/// One column wide, because the letters of the Korean names are two columns wide.
fn letter(emotion: Emotion) -> &'static str {
    match emotion {
        Emotion::Fear => "F",
        Emotion::Surprise => "S",
        Emotion::Anger => "A",
        Emotion::Sadness => "s",
        Emotion::Neutral => "n",
        Emotion::Happiness => "H",
        Emotion::Disgust => "D",
    }
}

fn legend(terminal: Terminal, history: &EmotionHistory) {
    let counts: shiori_sdk::EmotionCounts = history.days.iter().map(|day| day.label).collect();
    println!();
    for emotion in Emotion::ALL {
        let name = format!("{} {}", emotion.korean(), emotion.english());
        let share = f64::from(counts.get(emotion)) / f64::from(counts.total().max(1));
        let bar = terminal.emotion(&bar(share, 24), emotion);
        println!("{} {} {bar} {:3}", letter(emotion), pad(&name, 14), counts.get(emotion));
    }
}

fn months(terminal: Terminal, history: &EmotionHistory) {
    println!("\n{}", terminal.bold("달마다 가장 잦은 감정 · The most frequent of each month"));
    for month in &history.months {
        let days = month.counts.total();
        let emotion = month.counts.most_frequent().map_or_else(
            || "동률 · tie".to_owned(),
            |emotion| {
                let name = terminal.emotion(emotion.korean(), emotion);
                format!("{name} {} ({}/{days})", emotion.english(), month.counts.get(emotion))
            },
        );
        println!("{:2}월  {emotion}", month.start.month());
    }
}

/// A deleted diary has no emotion; its restored text has it again.
async fn delete_and_compare(client: &Client, year: DateRange, before: &EmotionHistory) -> Result {
    let day = before.days.first().ok_or("there are days with emotions")?;
    let diaries = client.diaries();
    diaries.delete(day.date, Version::new(1)).await?;
    if client.emotions().get(year).await?.days.contains(day) {
        return Err("a deleted diary has an emotion".into());
    }
    diaries.restore(day.date, Version::new(1), Precondition::IfAbsent).await?;
    if client.emotions().get(year).await? != *before {
        return Err("the restored diary has another emotion".into());
    }
    Ok(())
}
