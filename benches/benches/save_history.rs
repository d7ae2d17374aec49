//! What keeping replaced texts costs a save: the same saves, alternately on a server that keeps them
//! and on one that does not.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use shiori_benches::{PASSWORD, Percentiles, Place, record, runtime};
use shiori_sdk::{Client, Date, Document, Draft, Precondition, Version};
use shiori_server::{Config, HistoryPolicy};

/// Saves of each kind on each server, and those before them that are not counted.
const SAVES: usize = 2_000;
const WARM_UP: usize = 100;

/// A page of a diary, about 4 KiB.
fn page(nth: usize) -> Draft {
    let paragraphs =
        (0..20).map(|line| format!("{nth} 번째 저장의 {line} 번째 줄. 비가 와서 오래 걸었다."));
    let mut content = Document::from_text("");
    paragraphs.for_each(|text| content.push_paragraph(&text));
    Draft::new("경주", content)
}

/// One diary, and the sessions that save it in turn.
struct Diary {
    place: Place,
    sessions: Vec<Client>,
    version: Option<Version>,
    times: Vec<Duration>,
}

impl Diary {
    async fn open(history: bool, sessions: usize, configure: impl FnOnce(&mut Config)) -> Self {
        let place = Place::embedded(|config| {
            if !history {
                config.limits.history = HistoryPolicy::default();
            }
            configure(config);
        });
        let place = place.await;
        let (client, email) = place.person_with_email().await;
        let mut clients = vec![client];
        while clients.len() < sessions {
            let client = Client::builder(place.url()).build().unwrap();
            client.auth().login(&email, PASSWORD).await.unwrap();
            clients.push(client);
        }
        Self { place, sessions: clients, version: None, times: Vec::new() }
    }

    async fn save(&mut self, nth: usize) {
        let date = Date::new(2026, 2, 16).unwrap();
        let diaries = self.sessions[nth % self.sessions.len()].diaries();
        let save = diaries.save(date, page(nth), Precondition::from(self.version));
        let started = Instant::now();
        let saved = save.await.unwrap();
        let took = started.elapsed();
        self.version = Some(saved.version);
        if nth >= WARM_UP {
            self.times.push(took);
        }
    }
}

/// One row of the table: the saves of one session, or of two in turn, of which the server keeps each.
async fn measure(table: &mut String, store: &str, sessions: usize, configure: fn(&mut Config)) {
    let mut without = Diary::open(false, sessions, configure).await;
    let mut with = Diary::open(true, sessions, configure).await;
    for nth in 0..WARM_UP + SAVES {
        let order =
            if nth % 2 == 0 { [&mut without, &mut with] } else { [&mut with, &mut without] };
        for diary in order {
            diary.save(nth).await;
        }
    }
    let (before, after) = (Percentiles::of(&mut without.times), Percentiles::of(&mut with.times));
    let ratio = after.p50.as_secs_f64() / before.p50.as_secs_f64();
    let kind = if sessions == 1 { "autosaves of one session" } else { "two sessions in turn" };
    let _ = writeln!(
        table,
        "| {store} | {kind} | {:.0?} | {:.0?} | {ratio:.3} | {:.0?} | {:.0?} |",
        before.p50, after.p50, before.p95, after.p95
    );
    without.place.close().await;
    with.place.close().await;
}

/// The diaries in the MongoDB of the tests.
fn in_mongodb(config: &mut Config) {
    config.mongodb_url = std::env::var("SHIORI_TEST_MONGODB_URL").ok().map(Into::into);
}

fn main() {
    let table = runtime().block_on(async {
        let mut table = String::from(
            "| store | saves | without, p50 | with, p50 | ratio | without, p95 | with, p95 |\n\
             |---|---|---:|---:|---:|---:|---:|\n",
        );
        for sessions in [1, 2] {
            measure(&mut table, "SQLite", sessions, |_| {}).await;
        }
        if std::env::var_os("SHIORI_TEST_MONGODB_URL").is_some() {
            for sessions in [1, 2] {
                measure(&mut table, "MongoDB", sessions, in_mongodb).await;
            }
        }
        table
    });
    record("save_history", &table);
}
