//! The server's side of the wire: it grants every claim, writes down what it is told, and answers
//! wrongly when asked to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shiori_sdk::{Date, DiaryId, Progress, Version};
use shiori_worker::{
    ServerApi,
    protocol::{Claim, ClaimedDay, Failure, Heartbeat, LeaseToken, SummaryResult},
};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

/// The last part of a route's path.
pub const CLAIM: &str = "claim";
pub const HEARTBEAT: &str = "heartbeat";
pub const RESULT: &str = "result";
pub const FAILURE: &str = "failure";

pub fn answer(status: u16, error: Option<&str>, data: &Value) -> ResponseTemplate {
    let mut body = json!({"code": status, "message": "", "data": data});
    if let Some(error) = error {
        body["error"] = error.into();
    }
    ResponseTemplate::new(status).set_body_json(body)
}

pub fn refusal(status: u16, error: &str) -> ResponseTemplate {
    answer(status, Some(error), &Value::Null)
}

pub struct Desk {
    wire: MockServer,
    book: Book,
}

#[derive(Clone)]
struct Book {
    lease: Duration,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Default)]
struct Pages {
    seen: Vec<(String, Vec<u8>)>,
    faults: Vec<Fault>,
    is_last: bool,
}

struct Fault {
    route: &'static str,
    times: u32,
    answer: ResponseTemplate,
}

impl Desk {
    pub async fn open(lease: Duration) -> Self {
        let book = Book { lease, pages: Arc::default() };
        let wire = MockServer::start().await;
        Mock::given(any()).respond_with(book.clone()).mount(&wire).await;
        Self { wire, book }
    }

    pub fn api(&self) -> ServerApi {
        ServerApi::new(&self.wire.uri(), "service-token").unwrap()
    }

    /// The next `times` calls of the route are written down all the same, and answered so.
    pub fn fault(&self, route: &'static str, times: u32, answer: ResponseTemplate) {
        self.book.pages.lock().unwrap().faults.push(Fault { route, times, answer });
    }

    /// From now on every claim is the last attempt.
    pub fn make_last(&self) {
        self.book.pages.lock().unwrap().is_last = true;
    }

    /// From now on the route is answered rightly again.
    pub fn mend(&self, route: &'static str) {
        self.book.pages.lock().unwrap().faults.retain(|fault| fault.route != route);
    }

    pub fn claimed(&self) -> usize {
        self.bodies::<Value>(CLAIM).len()
    }

    pub fn beats(&self) -> usize {
        self.bodies::<Heartbeat>(HEARTBEAT).len()
    }

    pub fn progress(&self) -> Vec<Progress> {
        let beats = self.bodies::<Heartbeat>(HEARTBEAT);
        beats.into_iter().filter_map(|beat| beat.progress).collect()
    }

    pub fn results(&self) -> Vec<SummaryResult> {
        self.bodies(RESULT)
    }

    pub fn failures(&self) -> Vec<Failure> {
        self.bodies(FAILURE)
    }

    fn bodies<T: DeserializeOwned>(&self, route: &str) -> Vec<T> {
        let pages = self.book.pages.lock().unwrap();
        let of_route = pages.seen.iter().filter(|(path, _)| path.ends_with(route));
        of_route.map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

impl Respond for Book {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path();
        let mut pages = self.pages.lock().unwrap();
        pages.seen.push((path.to_owned(), request.body.clone()));
        let due = |fault: &&mut Fault| fault.times > 0 && path.ends_with(fault.route);
        if let Some(fault) = pages.faults.iter_mut().find(due) {
            fault.times -= 1;
            return fault.answer.clone();
        }
        if path.ends_with(CLAIM) {
            let claim = Claim {
                trace: None,
                lease_token: LeaseToken::new(),
                lease_ms: self.lease.as_millis().try_into().unwrap(),
                attempt: 1,
                is_last: pages.is_last,
                days: vec![ClaimedDay {
                    date: Date::new(2026, 2, 16).unwrap(),
                    diary_id: DiaryId::new(),
                    version: Version::new(1),
                    title: "월요일".to_owned(),
                    texts: vec!["강가를 걸었다. 기뻤다.".to_owned()],
                }],
            };
            return answer(200, None, &json!(claim));
        }
        answer(200, None, &Value::Null)
    }
}
