//! A diary in the terminal. Open the same day in two terminals, and write in both.
//!
//! Each line of input is added as a paragraph; lines that begin with `/` are commands. Changes of
//! the other terminal appear automatically. Without `SHIORI_URL`, the first terminal hosts the
//! server and prints the command for the second.
#![allow(clippy::print_stdout)] // a terminal program

use std::{env, time::Duration};

use futures_util::StreamExt;
use shiori_examples::{Person, Result, Service, terminal::wrap};
use shiori_sdk::{
    Change, Client, Date, Diary, Document, Draft, MergeBlocks, Outcome, Precondition, Requested,
    Saved, Week, merge::OnOverlap,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    time::{MissedTickBehavior, interval},
};

/// How often the diary is checked for changes of the other terminal.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

const HELP: &str = "  TEXT            add a paragraph
  /edit N TEXT    replace paragraph N; merged if the other terminal has saved
  /title TEXT     set the title
  /day YYYYMMDD   open another day
  /week           request the week's summary, and follow it
  /help, /quit";

#[tokio::main]
async fn main() -> Result {
    let service = Service::start_or_connect().await?;
    let person = match (env::var("SHIORI_EMAIL"), env::var("SHIORI_PASSWORD")) {
        (Ok(email), Ok(password)) => service.person(email, password),
        _ => service.sign_up().await?,
    };
    let client = person.sign_in("terminal-diary").await?;
    let date = match env::args().nth(1) {
        Some(date) => date.parse()?,
        None => Date::new(2026, 4, 11)?,
    };
    println!(
        "For a second terminal:\n\n  {}\n\n{HELP}\n",
        second_terminal(&service, &person, date)
    );

    let mut page = Page { client, date, shown: None };
    page.open(date).await?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut checks = interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                None => break,
                Some(line) if line.trim() == "/quit" => break,
                // An invalid command must not end the program.
                Some(line) => if let Err(error) = page.run(line.trim()).await {
                    println!("! {error}");
                },
            },
            _ = checks.tick() => if let Err(error) = page.refresh().await {
                println!("! {error}");
            },
        }
    }
    service.stop().await
}

fn second_terminal(service: &Service, person: &Person, date: Date) -> String {
    let (email, password) = person.credentials();
    format!(
        "SHIORI_URL={} SHIORI_EMAIL={email} SHIORI_PASSWORD={password} \\\n    \
         cargo run -p shiori-examples --example terminal_diary {date}",
        service.url()
    )
}

/// The day that is open.
struct Page {
    client: Client,
    date: Date,
    /// The displayed version, which is the base of an edit.
    shown: Option<Diary>,
}

impl Page {
    async fn open(&mut self, date: Date) -> Result {
        self.shown = self.client.diaries().get(date).await?;
        self.date = date;
        self.show();
        Ok(())
    }

    fn show(&self) {
        let Some(diary) = &self.shown else {
            println!("── {} · no diary yet", self.date);
            return;
        };
        println!("── {} · {} · version {}", self.date, diary.title, diary.version);
        for (number, text) in diary.content.block_texts().iter().enumerate() {
            for (row, line) in wrap(text, 68).iter().enumerate() {
                let margin = if row == 0 { format!("{:>3} ", number + 1) } else { "    ".into() };
                println!("{margin}{line}");
            }
        }
    }

    async fn run(&mut self, line: &str) -> Result {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "" => return Ok(()),
            "/help" => println!("{HELP}"),
            "/day" => self.open(rest.parse()?).await?,
            "/week" => self.summarize().await?,
            "/title" => {
                let saved = self.client.diaries().entry(self.date).or_insert(Draft::default());
                Self::saved(
                    &saved.and_modify(|draft| rest.clone_into(&mut draft.title)).save().await?,
                );
            }
            "/edit" => {
                let (number, text) = rest.split_once(' ').ok_or("/edit N TEXT")?;
                self.edit(number.parse()?, text).await?;
            }
            _ if command.starts_with('/') => {
                return Err(format!("unknown command {command}").into());
            }
            _ => {
                let append = |mut draft: Draft| async move {
                    draft.content.push_paragraph(line);
                    draft
                };
                let saved = self.client.diaries().update(self.date, append).await?;
                Self::saved(&saved);
            }
        }
        self.refresh().await
    }

    /// Changes the displayed version. If the other terminal has saved since, both changes are
    /// merged.
    async fn edit(&mut self, number: usize, text: &str) -> Result {
        let shown = self.shown.as_ref().ok_or("the day has no diary")?;
        let mut texts = shown.content.block_texts();
        let edited = number.checked_sub(1).and_then(|index| texts.get_mut(index));
        text.clone_into(edited.ok_or("no such paragraph")?);
        // The example replaces all blocks with plain paragraphs; an editor would keep the marks.
        let draft = Draft::new(&*shown.title, Document::from_text(&texts.join("\n")));
        let merge = MergeBlocks { on_overlap: OnOverlap::KeepBoth };
        let save =
            self.client.diaries().save(self.date, draft, Precondition::IfVersion(shown.version));
        let saved = save.with_base(shown).on_conflict(merge).await?;
        Self::saved(&saved);
        Ok(())
    }

    fn saved(saved: &Saved) {
        let how = match saved.outcome {
            Outcome::Merged => "merged with the other terminal's changes",
            Outcome::Replayed => "saved by an earlier attempt",
            _ => "saved",
        };
        println!("✓ {how}, version {}", saved.version);
    }

    /// Shows the day if it has changed.
    async fn refresh(&mut self) -> Result {
        let diaries = self.client.diaries();
        let now = match &self.shown {
            None => diaries.get(self.date).await?,
            Some(shown) => match diaries.get_if_changed(shown).await? {
                Change::Unchanged => return Ok(()),
                Change::Changed(now) => now,
            },
        };
        if now != self.shown {
            self.shown = now;
            self.show();
        }
        Ok(())
    }

    async fn summarize(&self) -> Result {
        let week = Week::containing(self.date);
        let handle = match self.client.summaries().request(week).await? {
            Requested::Incomplete { missing } => {
                let days: Vec<_> = missing.iter().map(ToString::to_string).collect();
                println!("· days without a diary: {}", days.join(" "));
                return Ok(());
            }
            requested => requested.into_handle()?,
        };
        let mut changes = handle.watch();
        while let Some(step) = changes.next().await {
            let Some(summary) = step?.into_summary() else { continue };
            println!("· {:?}", summary.status);
            for line in wrap(summary.reflection.as_deref().unwrap_or_default(), 68) {
                println!("    {line}");
            }
        }
        Ok(())
    }
}
