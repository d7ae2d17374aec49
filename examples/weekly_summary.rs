//! The main use case: a user writes a week of diaries, two devices change the same day concurrently
//! without losing a word, and a worker writes the week's summary in the background.
//!
//! ```console
//! $ cargo demo
//! $ SHIORI_URL=http://127.0.0.1:8080 cargo demo     # with a running server
//! ```
#![allow(clippy::print_stdout)] // the output is the purpose of an example

use std::{
    io::{self, Write},
    time::Duration,
};

use futures_util::StreamExt;
use shiori_examples::{
    Person, Result, Service, a_week,
    terminal::{Terminal, bar, fit, pad, wrap},
};
use shiori_sdk::{
    Client, Date, DayEmotion, Diaries, Draft, MergeBlocks, Precondition, ProgressPhase, Saved,
    Summary, SummaryHandle, SummaryStatus, SummaryStep, Week, merge::OnOverlap,
};
use tokio::time::{Instant, interval};

/// The width of the output in columns.
const COLUMNS: usize = 76;

/// The lines that the phone and the laptop add to Saturday concurrently.
const FROM_PHONE: &str = "휴대폰에서: 감나무에게 인사하고 왔다. 새순이 나 있었다.";
const FROM_LAPTOP: &str = "노트북에서: 민재와 다음 달에 다시 모이기로 했다.";

#[tokio::main]
async fn main() -> Result {
    let terminal = Terminal::detect();
    let service = Service::start_or_connect().await?;
    let kind = if service.is_embedded() { "내장 서버 embedded" } else { "서버 server" };
    println!("{kind}: {}", service.url());

    let person = service.sign_up().await?;
    let client = person.sign_in("laptop").await?;

    heading(terminal, "일기 쓰기 · A week of diaries");
    let (week, days) = a_week()?;
    write(&client, days).await?;

    heading(terminal, "두 기기에서 동시에 · Two devices, one day");
    let saturday = week.start().plus_days(5).ok_or("the week has a Saturday")?;
    edit_on_two_devices(&person, saturday).await?;

    heading(terminal, "주간 요약 · The week's summary");
    let summary = summarize(terminal, &client, week).await?;
    show(terminal, &summary)?;

    service.stop().await
}

fn heading(terminal: Terminal, text: &str) {
    println!("\n{}", terminal.bold(text));
}

async fn write(client: &Client, days: Vec<(Date, Draft)>) -> Result {
    for (date, draft) in days {
        let saved = client.diaries().save(date, draft, Precondition::IfAbsent).await?;
        let blocks = saved.draft.content.block_texts();
        let title = pad(&fit(&saved.draft.title, 32), 32);
        println!("  {}  {title}  v{}, {:2} blocks", day(date), saved.version, blocks.len());
    }
    Ok(())
}

/// A device, and its draft.
struct Device {
    name: &'static str,
    diaries: Diaries,
    draft: Draft,
}

/// Both devices have read the same version and save concurrently. One of them receives a conflict
/// and merges.
async fn edit_on_two_devices(person: &Person, date: Date) -> Result {
    let (phone, laptop) = (person.sign_in("phone").await?, person.sign_in("laptop").await?);
    let base = phone.diaries().get(date).await?.ok_or("the saved diary was not found")?;
    let device = |name, client: Client, line| {
        let mut draft = base.to_draft();
        draft.content.push_paragraph(line);
        Device { name, diaries: client.diaries(), draft }
    };
    let phone = device("phone ", phone, FROM_PHONE);
    let laptop = device("laptop", laptop, FROM_LAPTOP);

    let v = base.version;
    let expected = Precondition::IfVersion(v);
    println!("  둘 다 v{v}을 읽고 동시에 저장 · {}: both have read v{v}, both save", day(date));
    let save = |device: &Device| device.diaries.save(date, device.draft.clone(), expected).send();
    let (by_phone, by_laptop) = tokio::join!(save(&phone), save(&laptop));
    let (winner, saved, loser, error) = match (by_phone, by_laptop) {
        (Ok(saved), Err(error)) => (&phone, saved, &laptop, error),
        (Err(error), Ok(saved)) => (&laptop, saved, &phone, error),
        (Ok(_), Ok(_)) => return Err("two saves of one version cannot both succeed".into()),
        (Err(error), Err(_)) => return Err(error.into()),
    };
    println!("  {}  먼저 저장됨 · saved as v{}", winner.name, saved.version);

    // A conflict contains the current diary. Any other error ends the example.
    let Some(current) = error.as_conflict().and_then(|conflict| conflict.current.as_ref()) else {
        return Err(error.into());
    };
    let (status, blocks) = (error.status_code().unwrap_or_default(), current.content.block_texts());
    println!("  {}  {status} · {error}", loser.name);
    println!(
        "          기준 버전 v{v}, 현재 버전 v{0} · expected v{v}, current v{0}:",
        current.version
    );
    println!("          “{}”", blocks.last().map_or("", String::as_str));

    let draft = loser.draft.clone();
    let merge = MergeBlocks { on_overlap: OnOverlap::KeepBoth };
    let saved =
        loser.diaries.save(date, draft, expected).with_base(&base).on_conflict(merge).await?;
    println!(
        "  {}  합쳐서 저장됨 · {:?} as v{}, conflicts: {}",
        loser.name, saved.outcome, saved.version, saved.report.conflicts
    );
    show_day(&saved)
}

fn show_day(saved: &Saved) -> Result {
    let texts = saved.draft.content.block_texts();
    println!("\n    {}", saved.draft.title);
    for text in &texts {
        let is_new = [FROM_PHONE, FROM_LAPTOP].contains(&text.as_str());
        println!("    {} {}", if is_new { "+" } else { "│" }, fit(text, COLUMNS - 6));
    }
    for line in [FROM_PHONE, FROM_LAPTOP] {
        if texts.iter().filter(|text| *text == line).count() != 1 {
            return Err("a line was lost or saved twice".into());
        }
    }
    Ok(())
}

async fn summarize(terminal: Terminal, client: &Client, week: Week) -> Result<Summary> {
    let requested = Instant::now();
    let summary = client.summaries().request(week).await?.into_handle()?;
    println!("  접수됨 · accepted in {} ms", requested.elapsed().as_millis());
    let summary = watch(terminal, &summary).await?;
    if summary.status != SummaryStatus::Completed {
        let why = summary.failure.map_or_else(String::new, |failure| failure.message);
        return Err(format!("the summary is {}: {why}", summary.status).into());
    }
    Ok(summary)
}

/// Shows every change until the final status, and the text while it is written; on a terminal, on
/// lines that are overwritten.
async fn watch(terminal: Terminal, summary: &SummaryHandle) -> Result<Summary> {
    let started = Instant::now();
    let mut steps = summary.watch();
    let mut ticks = interval(Duration::from_millis(100));
    let mut spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏".chars().cycle();
    let mut last: Option<Summary> = None;
    let mut screen = Screen::new(terminal);
    loop {
        tokio::select! {
            step = steps.next() => {
                match step.ok_or("the summary ended without a final status")?? {
                    SummaryStep::Summary(summary) => {
                        // The text belongs to one run.
                        if last.as_ref().is_some_and(|last| last.revision != summary.revision) {
                            screen.text.clear();
                        }
                        if summary.status.is_final() {
                            screen.finish(&progress(&summary, started));
                            return Ok(summary);
                        }
                        screen.log(&progress(&summary, started));
                        last = Some(summary);
                    }
                    SummaryStep::Text(partial) => {
                        screen.log(&format!("“{}…”", partial.text));
                        screen.text = partial.text;
                    }
                    // A step of a newer version.
                    _ => {}
                }
            }
            _ = ticks.tick(), if terminal.is_interactive() => {}
        }
        if let (Some(summary), Some(glyph)) = (&last, spinner.next()) {
            screen.draw(glyph, &progress(summary, started))?;
        }
    }
}

/// The lines at the end of the output that are overwritten.
struct Screen {
    terminal: Terminal,
    /// The text so far.
    text: String,
    /// Lines below the first.
    drawn: usize,
}

impl Screen {
    fn new(terminal: Terminal) -> Self {
        Self { terminal, text: String::new(), drawn: 0 }
    }

    /// Prints a line, without a terminal.
    fn log(&self, line: &str) {
        if !self.terminal.is_interactive() {
            println!("  {line}");
        }
    }

    /// Draws the progress and below it the text so far, on a terminal.
    fn draw(&mut self, glyph: char, progress: &str) -> io::Result<()> {
        if !self.terminal.is_interactive() {
            return Ok(());
        }
        let text = if self.text.is_empty() { Vec::new() } else { wrap(&self.text, COLUMNS - 4) };
        self.erase();
        print!("  {glyph} {progress}");
        for line in &text {
            print!("\n    {line}");
        }
        self.drawn = text.len();
        io::stdout().flush()
    }

    /// Replaces everything by the last progress.
    fn finish(&mut self, progress: &str) {
        if self.terminal.is_interactive() {
            self.erase();
            println!("  ✓ {progress}");
        } else {
            self.log(progress);
        }
    }

    /// Moves to the first line and erases everything below.
    fn erase(&mut self) {
        if self.drawn > 0 {
            print!("\x1b[{}A", self.drawn);
        }
        print!("\r\x1b[J");
        self.drawn = 0;
    }
}

fn progress(summary: &Summary, started: Instant) -> String {
    let phase = summary.progress.map(|progress| (progress.phase, progress.characters));
    let (share, doing) = match (summary.status, phase) {
        (SummaryStatus::Queued, _) => (0.05, "차례를 기다리는 중 · queued".to_owned()),
        (SummaryStatus::Running, Some((ProgressPhase::Emotions, _))) => {
            (0.4, "감정을 읽는 중 · reading emotions".to_owned())
        }
        (SummaryStatus::Running, Some((ProgressPhase::Writing, characters))) => {
            (0.7, format!("회고를 쓰는 중 · writing, {characters} characters"))
        }
        (SummaryStatus::Running, _) => (0.2, "일기를 읽는 중 · running".to_owned()),
        (SummaryStatus::Completed, _) => (1.0, "완료 · completed".to_owned()),
        (status, _) => (1.0, status.to_string()),
    };
    let seconds = started.elapsed().as_secs_f64();
    format!("{} {seconds:5.2} s  {doing}", bar(share, 20))
}

fn show(terminal: Terminal, summary: &Summary) -> Result {
    let reflection =
        summary.reflection.as_deref().ok_or("the completed summary has no reflection")?;
    heading(terminal, "회고 · Reflection");
    for line in wrap(reflection, COLUMNS - 2) {
        println!("  {line}");
    }
    println!("\n  작성 · written by: {}", summary.engine.as_deref().unwrap_or("?"));

    heading(terminal, "한 주의 감정 · Emotions of the week");
    for emotion in &summary.emotions {
        println!("  {}", chart_line(terminal, emotion));
    }
    if summary.emotions.len() != Week::DAYS {
        return Err(format!("{} emotions for seven days", summary.emotions.len()).into());
    }
    Ok(())
}

fn chart_line(terminal: Terminal, emotion: &DayEmotion) -> String {
    let label = format!("{} {}", emotion.label.korean(), emotion.label.english());
    let bar = terminal.emotion(&bar(emotion.confidence, 32), emotion.label);
    let percent = emotion.confidence * 100.0;
    format!("{}  {}  {bar} {percent:3.0} %", day(emotion.date), pad(&label, 15))
}

/// The date with its weekday, in Korean and English.
fn day(date: Date) -> String {
    const NAMES: [&str; Week::DAYS] =
        ["월 Mon", "화 Tue", "수 Wed", "목 Thu", "금 Fri", "토 Sat", "일 Sun"];
    let name = NAMES[usize::from(date.days_since_monday())];
    format!("{name} {:02}-{:02}", date.month(), date.day())
}
