//! A diary in the terminal. Open the same day in two terminals, and write in both.
//!
//! Each line of input is added as a paragraph; lines that begin with `/` are commands. Changes of
//! the other terminal appear automatically. Without `SHIORI_URL`, the first terminal hosts the
//! server and prints the command for the second.
//!
//! Each terminal has a replica, so it reads and writes also while the server is stopped. With
//! `SHIORI_DIARY_FILE`, the replica is in that file and survives a restart; otherwise it is in memory.
#![allow(clippy::print_stdout)] // a terminal program

use std::{env, future::pending};

use futures_util::StreamExt;
use shiori_examples::{Person, Result, Service, terminal::wrap};
use shiori_sdk::{
    Client, Date, DateStatus, Document, Draft, MemoryStore, RedbStore, Replica, ReplicaDiary,
    ReplicaEvent, Requested, Week,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

const HELP: &str = "  TEXT            add a paragraph
  /edit N TEXT    replace paragraph N; merged if the other terminal has saved
  /title TEXT     set the title
  /day YYYYMMDD   open another day
  /ok             acknowledge the conflicts of the day
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

    let replica = match env::var_os("SHIORI_DIARY_FILE") {
        Some(file) => Replica::open(client.clone(), RedbStore::open(file)?).await?,
        None => Replica::open(client.clone(), MemoryStore::new()).await?,
    };
    let mut events = replica.events();
    let background = replica.clone();
    let run = tokio::spawn(async move { background.run(pending()).await });
    let mut page = Page { client, replica, date, shown: None, is_offline: false };
    page.open(date).await?;
    let mut lines = BufReader::new(stdin()).lines();
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
            Some(event) = events.next() => page.hear(event).await?,
        }
    }
    run.abort();
    // What is not sent is lost if the replica is in memory.
    if let Err(error) = page.replica.sync().await {
        println!("! {error}; not sent: {:?}", page.replica.unsent());
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
    replica: Replica,
    date: Date,
    /// The displayed diary, which is the base of an edit.
    shown: Option<ReplicaDiary>,
    is_offline: bool,
}

impl Page {
    async fn open(&mut self, date: Date) -> Result {
        self.shown = self.replica.get(date).await?;
        self.date = date;
        self.show();
        Ok(())
    }

    fn show(&self) {
        let Some(diary) = &self.shown else {
            println!("── {} · no diary yet", self.date);
            return;
        };
        println!("── {} · {} · {}", self.date, diary.title, describe(diary));
        for (number, text) in diary.content.block_texts().iter().enumerate() {
            for (row, line) in wrap(text, 68).iter().enumerate() {
                let margin = if row == 0 { format!("{:>3} ", number + 1) } else { "    ".into() };
                println!("{margin}{line}");
            }
        }
    }

    async fn run(&mut self, line: &str) -> Result {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut draft = self.shown.as_ref().map(ReplicaDiary::to_draft).unwrap_or_default();
        match command {
            "" => return Ok(()),
            "/help" => {
                println!("{HELP}");
                return Ok(());
            }
            "/day" => return self.open(rest.parse()?).await,
            "/week" => return self.summarize().await,
            "/ok" => {
                for conflict in self.replica.conflicts(self.date).await? {
                    self.replica.acknowledge(self.date, conflict.number).await?;
                }
                return self.refresh().await;
            }
            "/title" => rest.clone_into(&mut draft.title),
            "/edit" => {
                let (number, text) = rest.split_once(' ').ok_or("/edit N TEXT")?;
                let mut texts = draft.content.block_texts();
                let edited = number.parse::<usize>()?.checked_sub(1);
                let edited = edited.and_then(|index| texts.get_mut(index));
                text.clone_into(edited.ok_or("no such paragraph")?);
                // The example replaces all blocks with plain paragraphs; an editor would keep the
                // marks.
                draft.content = Document::from_text(&texts.join("\n"));
            }
            _ if command.starts_with('/') => {
                return Err(format!("unknown command {command}").into());
            }
            _ => draft.content.push_paragraph(line),
        }
        self.save(draft).await
    }

    /// Saves a text that was made from the displayed one. If the other terminal has saved since, both
    /// changes are merged.
    async fn save(&mut self, draft: Draft) -> Result {
        self.replica.save_edited(self.date, self.shown.clone(), draft).await?;
        self.refresh().await
    }

    /// Shows what has happened, here or in the other terminal.
    async fn hear(&mut self, event: ReplicaEvent) -> Result {
        match event {
            ReplicaEvent::Changed { date, .. } if date != self.date => Ok(()),
            ReplicaEvent::Failed(_) => {
                if !std::mem::replace(&mut self.is_offline, true) {
                    println!("· offline: what you write is sent later");
                }
                Ok(())
            }
            ReplicaEvent::Synced => {
                if std::mem::replace(&mut self.is_offline, false) {
                    println!("· online again");
                }
                self.refresh().await
            }
            ReplicaEvent::Paused => {
                println!("· the session has ended: what you write stays here");
                Ok(())
            }
            _ => self.refresh().await,
        }
    }

    /// Shows the day if its text or its status has changed.
    async fn refresh(&mut self) -> Result {
        let now = self.replica.get(self.date).await?;
        if now != self.shown {
            self.shown = now;
            self.show();
        }
        Ok(())
    }

    async fn summarize(&self) -> Result {
        self.replica.sync().await?;
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

fn describe(diary: &ReplicaDiary) -> String {
    let version = diary.version.map_or("new".to_owned(), |version| format!("version {version}"));
    match diary.status {
        DateStatus::Synced => version,
        DateStatus::Pending => format!("{version} · not sent yet"),
        DateStatus::Conflicted => {
            format!("{version} · both terminals changed the same words; /ok if it is right")
        }
        _ => format!("{version} · {:?}", diary.status),
    }
}
