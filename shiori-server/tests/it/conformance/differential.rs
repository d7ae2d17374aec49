//! Differential test: the same random requests to the fake and to the real server must have the
//! same responses: statuses, error names, headers, data, equality of ids, and times.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::{
    FailureKind, Progress, ProgressPhase, SaveId, SummaryId, Timestamp, testing::FakeShiori,
};
use uuid::Uuid;

use super::{Device, RealServer, Target, cookie};
use crate::fixtures::day;
use crate::raw_client::{RawClient, RawResponse};

/// Runs, each with its own seed, and steps of a run.
const RUNS: u64 = 4;
const STEPS: usize = 360;

/// A request, an action of a worker, or an advance of the clock. Summaries and cookies are given by
/// index, because their values differ between the servers.
#[derive(Debug)]
enum Step {
    Request(usize, Method, String, Option<Value>),
    SummaryRequest(usize, Method, usize, &'static str),
    Refresh(usize, usize),
    Claim(usize),
    Progress(usize, u32),
    Complete(usize),
    Fail(usize),
    Advance(Duration),
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Self::Request(..) => "request",
            Self::SummaryRequest(..) => "summary request",
            Self::Refresh(..) => "refresh",
            Self::Claim(_) => "claim",
            Self::Progress(..) => "progress",
            Self::Complete(_) => "complete",
            Self::Fail(_) => "fail",
            Self::Advance(_) => "advance",
        }
    }
}

/// One of the servers, with two users; the first user has two devices.
struct Driver<S> {
    server: S,
    devices: [Device; 3],
    /// All refresh tokens of each device.
    cookies: [Vec<String>; 3],
    summaries: Vec<SummaryId>,
    /// Numbers that replace ids, in the order of their first use.
    names: HashMap<Uuid, usize>,
    tags: HashMap<String, usize>,
    start: Timestamp,
}

impl<S: Target> Driver<S> {
    async fn start() -> Self {
        let server = S::start().await;
        let (phone, email) = Device::sign_up(&server).await;
        let sessions = phone.raw.get("/api/auth/sessions").await.json();
        let start = sessions["data"][0]["created_at"].as_str().unwrap().parse().unwrap();
        let laptop = Device::log_in(&server, &email).await;
        let devices = [phone, laptop, Device::sign_up(&server).await.0];
        let cookies = devices.each_ref().map(|device| vec![device.cookie.clone()]);
        let (summaries, names, tags) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { server, devices, cookies, summaries, names, tags, start }
    }

    /// Applies the step; returns the normalized outcome.
    async fn apply(&mut self, step: &Step) -> Value {
        match step {
            Step::Request(device, method, path, body) => {
                let body = body.as_ref().map(Value::to_string);
                let response = self.devices[*device].raw.send(method.clone(), path, body).await;
                if response.status == 202 {
                    let id = response.json()["data"]["id"].as_str().unwrap().parse().unwrap();
                    self.summaries.push(id);
                }
                self.normalize(&response)
            }
            Step::SummaryRequest(device, method, nth, query) => {
                let path = format!("/api/diary/summary/{}{query}", self.summary(*nth));
                let response = self.devices[*device].raw.send(method.clone(), &path, None).await;
                self.normalize(&response)
            }
            Step::Refresh(nth, age) => {
                let (device, cookies) = (&mut self.devices[*nth], &mut self.cookies[*nth]);
                let presented = &cookies[cookies.len().saturating_sub(age + 1)];
                let response = device.refresh(&device.access, presented).await;
                if response.status == 200 {
                    let token = response.json()["data"]["token"].as_str().unwrap().to_owned();
                    cookies.push(cookie(&response));
                    device.raw = RawClient::with_token(&self.server.url(), &token);
                    device.access = token;
                }
                self.normalize(&response)
            }
            Step::Claim(nth) => json!(self.server.claim(self.summary(*nth)).await),
            Step::Progress(nth, characters) => {
                let progress = Progress { phase: ProgressPhase::Writing, characters: *characters };
                json!(self.server.progress(self.summary(*nth), progress).await)
            }
            Step::Complete(nth) => {
                let id = self.summary(*nth);
                // Only if it is running, because the fake would start a queued summary.
                let running = self.server.progress(id, PROGRESS).await;
                json!(running && self.server.complete(id, "한 주").await)
            }
            Step::Fail(nth) => {
                let id = self.summary(*nth);
                let running = self.server.progress(id, PROGRESS).await;
                json!(running && self.server.fail(id, FailureKind::NoText).await)
            }
            Step::Advance(by) => {
                self.server.advance(*by);
                Value::Null
            }
        }
    }

    /// One of the latest summaries, or an unknown id.
    fn summary(&self, age: usize) -> SummaryId {
        let found = self.summaries.iter().rev().nth(age).copied();
        found.unwrap_or_else(|| SummaryId::from_bytes([7; 16]))
    }

    /// The response without messages and tokens, with numbered ids and times relative to the start.
    fn normalize(&mut self, response: &RawResponse) -> Value {
        let mut body = response.json();
        self.mask(&mut body);
        let mut header = |name: &str| {
            let mut value = json!(response.headers.get(name).map(|value| value.to_str().unwrap()));
            self.mask(&mut value);
            value
        };
        let names = [
            "location",
            "retry-after",
            "content-type",
            "x-content-type-options",
            "set-cookie",
            "cache-control",
            "vary",
            "www-authenticate",
        ];
        let headers = names.map(&mut header);
        let tag = response.headers.get("etag").map(|tag| self.tag(tag.to_str().unwrap()));
        json!({"status": response.status, "headers": headers, "etag": tag, "body": body})
    }

    /// The number of an entity tag, in the order of their first use.
    fn tag(&mut self, tag: &str) -> usize {
        let next = self.tags.len();
        *self.tags.entry(tag.to_owned()).or_insert(next)
    }

    fn mask(&mut self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask(item)),
            Value::Object(fields) => {
                // Messages may differ.
                fields.remove("message");
                if let Some(token) = fields.get_mut("token") {
                    *token = json!("token");
                }
                if let Some(Value::String(tag)) = fields.get("etag") {
                    let tag = self.tag(tag);
                    fields.insert("etag".to_owned(), json!(tag));
                }
                fields.values_mut().for_each(|field| self.mask(field));
            }
            Value::String(text) => {
                let id = text.rsplit('/').next().and_then(|text| Uuid::try_parse(text).ok());
                if let Some(id) = id {
                    let next = self.names.len();
                    *text = format!("id {}", self.names.entry(id).or_insert(next));
                } else if let Ok(moment) = text.parse::<Timestamp>() {
                    *text = format!("{:?}", moment.duration_since(self.start));
                } else if let Some(rest) = text.strip_prefix("refresh_token=") {
                    *text = rest.split_once(';').unwrap().1.to_owned();
                }
            }
            _ => {}
        }
    }
}

const PROGRESS: Progress = Progress { phase: ProgressPhase::Writing, characters: 0 };

/// The next random step, given the latest known versions.
fn next_step(nth: usize, rng: &mut StdRng, seen: &HashMap<String, u64>, ids: &[SaveId]) -> Step {
    // Begin with a complete week.
    let writes_week = nth < 7;
    let device = if writes_week { 0 } else { [0, 0, 0, 1, 1, 2][rng.random_range(0..6)] };
    let date = if writes_week { nth } else { rng.random_range(0..8) };
    let date = day(16).plus_days(i64::try_from(date).unwrap()).unwrap();
    let path = format!("/api/diary/{date}");
    let version = match (seen.get(&path), rng.random_range(0..5)) {
        (_, 0) => json!(rng.random_range(0..9)),
        (_, 1) => Value::Null,
        (seen, _) => json!(seen),
    };
    let week = |rng: &mut StdRng| {
        let start = day(if rng.random_bool(0.8) { 16 } else { 17 });
        (start, start.plus_days(if rng.random_bool(0.9) { 6 } else { 3 }).unwrap())
    };
    let summary = rng.random_range(0..3);
    match if writes_week { 0 } else { rng.random_range(0..37) } {
        0..6 => {
            let text = format!("{nth} 번째 글");
            let content = json!({"type": "doc", "content": [
                {"type": "paragraph", "content": [{"type": "text", "text": text}]}]});
            let mut body = json!({"title": text, "content": content, "version": version});
            if rng.random_bool(0.5) {
                body["save_id"] = json!(ids[rng.random_range(0..ids.len())]);
            }
            Step::Request(device, Method::POST, path, Some(body))
        }
        6..9 => Step::Request(device, Method::GET, path, None),
        9 if rng.random_bool(0.3) => {
            Step::Request(device, Method::DELETE, format!("{path}?version={version}"), None)
        }
        9..11 => {
            let body = json!({"archived": rng.random_bool(0.5), "version": version});
            Step::Request(device, Method::POST, format!("{path}/archive"), Some(body))
        }
        11..13 => {
            let (method, path, body) = match nth % 3 {
                0 => (Method::GET, "/api/diary?start=20260214&end=20260225", None),
                1 => (Method::GET, "/api/diary/versions?start=20260117&end=20360225", None),
                _ => {
                    // None of the dates in one of eight cases, which is an error.
                    let dates = (16..24).filter(|date| nth >> (date % 3) & 4 != 0);
                    let dates: Vec<_> = dates.map(day).collect();
                    (Method::POST, "/api/diary/read", Some(json!({ "dates": dates })))
                }
            };
            Step::Request(device, method, path.to_owned(), body)
        }
        13..17 => {
            let (start, end) = week(rng);
            let body = json!({"start": start, "end": end, "force": rng.random_bool(0.2)});
            Step::Request(device, Method::POST, "/api/diary/summary".to_owned(), Some(body))
        }
        17..19 => {
            let query = ["", "?wait=0.01&after=2", "?wait=30"][rng.random_range(0..3)];
            Step::SummaryRequest(device, Method::GET, summary, query)
        }
        19 => Step::SummaryRequest(device, Method::DELETE, summary, ""),
        20..22 => {
            let (start, end) = week(rng);
            let path = format!("/api/diary/reflections?start={start}&end={end}");
            Step::Request(device, Method::GET, path, None)
        }
        22..24 => Step::Claim(summary),
        24 => Step::Progress(summary, rng.random_range(0..500)),
        25 => Step::Complete(summary),
        26 => [Step::Complete(summary), Step::Fail(summary)].into_iter().nth(nth % 2).unwrap(),
        27 => Step::Refresh(device, usize::from(rng.random_bool(0.1))),
        28 => Step::Request(device, Method::GET, "/api/auth/sessions".to_owned(), None),
        29..32 => Step::Request(device, Method::GET, format!("{path}/revisions"), None),
        32 => {
            let version = rng.random_range(0..9);
            let path = format!("{path}/revisions/{version}");
            Step::Request(device, Method::GET, path, None)
        }
        33 => {
            let path = "/api/diary/emotions?start=20260101&end=20261231".to_owned();
            Step::Request(device, Method::GET, path, None)
        }
        34 if rng.random_bool(0.3) => {
            Step::Request(device, Method::DELETE, format!("{path}/revisions"), None)
        }
        // Multiples of seven seconds never equal one of the server's periods.
        _ => Step::Advance(Duration::from_secs(7 * [1, 1, 10, 30][rng.random_range(0..4)])),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_respond_identically_to_random_requests() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..RUNS {
        let mut rng = StdRng::seed_from_u64(seed);
        let ids = [(); 4].map(|()| SaveId::new());
        let mut real = Driver::<RealServer>::start().await;
        let mut fake = Driver::<FakeShiori>::start().await;
        let mut seen = HashMap::new();
        for nth in 0..STEPS {
            let step = next_step(nth, &mut rng, &seen, &ids);
            let (real, fake) = (real.apply(&step).await, fake.apply(&step).await);
            assert_eq!(fake, real, "seed {seed}, step {nth}: {step:?}");
            if let Step::Request(0 | 1, _, path, _) = &step {
                let data = &real["body"]["data"];
                let version = data["version"].as_u64().or(data["current"]["version"].as_u64());
                let path = path.split('?').next().unwrap_or_default().trim_end_matches("/archive");
                match version {
                    Some(version) => seen.insert(path.to_owned(), version),
                    None => seen.remove(path),
                };
            }
            outcomes.insert(match &real {
                Value::Bool(taken) => format!("{} {taken}", step.name()),
                response => response["body"]["error"].as_str().unwrap_or(step.name()).to_owned(),
            });
        }
        real.server.stop().await;
        fake.server.stop().await;
    }
    // Checks that the runs have covered these outcomes.
    for outcome in [
        "request",
        "refresh",
        "claim true",
        "claim false",
        "progress true",
        "progress false",
        "complete true",
        "complete false",
        "fail true",
        "diary_conflict",
        "week_incomplete",
        "not_found",
        "invalid_request",
        "invalid_range",
        "summary_final",
        "unauthorized",
        "session_expired",
        "refresh_reused",
    ] {
        assert!(outcomes.contains(outcome), "{outcome} is not in {outcomes:?}");
    }
}
