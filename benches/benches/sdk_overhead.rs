//! The overhead of the SDK compared with bare reqwest: the same calls to the same server,
//! alternating. The order within a pair is swapped each time.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use shiori_benches::{PASSWORD, Percentiles, Place, page, record, runtime};
use shiori_sdk::{
    AccessToken, Client, Credentials, Date, DayView, Draft, Envelope, Precondition, SaveId,
    SaveReceipt, SaveRequest, Title, Version,
};

const PAIRS: usize = 3000;
const WARM_UP: usize = 300;

/// Sends the same requests as the SDK, with bare reqwest.
struct Bare {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Bare {
    async fn sign_in(url: &str, email: &str, password: &str) -> Self {
        let http = reqwest::Client::builder().tcp_nodelay(true).build().unwrap();
        let body = Credentials { email: email.to_owned(), password: password.into() };
        let login = http.post(format!("{url}/api/user/login")).json(&body);
        let answer: Envelope<AccessToken> = login.send().await.unwrap().json().await.unwrap();
        Self { http, url: url.to_owned(), token: answer.data.unwrap().token }
    }

    async fn get(&self, date: Date) -> DayView {
        let request = self.http.get(format!("{}/api/diary/{date}", self.url));
        let answer = request.bearer_auth(&self.token).send().await.unwrap();
        answer.json::<Envelope<DayView>>().await.unwrap().data.unwrap()
    }

    async fn save(&self, date: Date, draft: Draft, version: Version) -> Version {
        let body = SaveRequest {
            title: Title(draft.title),
            content: draft.content,
            version: Some(version),
            save_id: Some(SaveId::new()),
            keep_replaced: false,
        };
        let request = self.http.post(format!("{}/api/diary/{date}", self.url)).json(&body);
        let answer = request.bearer_auth(&self.token).send().await.unwrap();
        answer.json::<Envelope<SaveReceipt>>().await.unwrap().data.unwrap().version
    }
}

async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let result = call.await;
    (result, started.elapsed())
}

/// The times of reads and saves, each with bare reqwest and with the SDK.
async fn measure(client: &Client, bare: &Bare, date: Date) -> [[Vec<Duration>; 2]; 2] {
    let mut times = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    let diaries = client.diaries();
    let first = diaries.save(date, page(), Precondition::IfAbsent).await.unwrap();
    let mut version = first.version;
    for pair in 0..WARM_UP + PAIRS {
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let (read, saved);
            if which == 0 {
                read = timed(async { drop(bare.get(date).await) }).await.1;
                saved = timed(bare.save(date, page(), version)).await;
            } else {
                read = timed(async { drop(diaries.get(date).await.unwrap()) }).await.1;
                let save = diaries.save(date, page(), Precondition::IfVersion(version));
                saved = timed(async { save.await.unwrap().version }).await;
            }
            version = saved.0;
            if pair >= WARM_UP {
                times[0][which].push(read);
                times[1][which].push(saved.1);
            }
        }
    }
    times
}

fn main() {
    let runtime = runtime();
    let table = runtime.block_on(async {
        let place = Place::embedded(|_| {}).await;
        let (client, email) = place.person_with_email().await;
        let bare = Bare::sign_in(place.url(), &email, PASSWORD).await;
        let times = measure(&client, &bare, Date::new(2026, 2, 16).unwrap()).await;
        let mut table = String::from(
            "| call | bare reqwest, p50 | SDK, p50 | ratio | bare, p95 | SDK, p95 |\n\
             |---|---:|---:|---:|---:|---:|\n",
        );
        for (call, [mut bare, mut sdk]) in ["read a day", "save a day"].into_iter().zip(times) {
            let (bare, sdk) = (Percentiles::of(&mut bare), Percentiles::of(&mut sdk));
            let ratio = sdk.p50.as_secs_f64() / bare.p50.as_secs_f64();
            let _ = writeln!(
                table,
                "| {call} | {:.0?} | {:.0?} | {ratio:.3} | {:.0?} | {:.0?} |",
                bare.p50, sdk.p50, bare.p95, sdk.p95
            );
        }
        place.close().await;
        table
    });
    record("sdk_overhead", &table);
}
