//! A fake of the server's internal API. It grants every claim and records all requests. Tests
//! inject failures.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shiori_sdk::{Date, DiaryId, Progress, SummaryId, Version};
use shiori_worker::{
    ServerApi,
    protocol::{
        Claim, ClaimedDay, Failure, Heartbeat, LeaseToken, Overdue, SummaryResult, TextSoFar,
    },
};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

/// The last segments of the routes' paths.
pub const CLAIM: &str = "claim";
pub const HEARTBEAT: &str = "heartbeat";
pub const RESULT: &str = "result";
pub const FAILURE: &str = "failure";

pub fn response(status: u16, error: Option<&str>, data: &Value) -> ResponseTemplate {
    let mut body = json!({"code": status, "message": "", "data": data});
    if let Some(error) = error {
        body["error"] = error.into();
    }
    ResponseTemplate::new(status).set_body_json(body)
}

pub fn error_response(status: u16, error: &str) -> ResponseTemplate {
    response(status, Some(error), &Value::Null)
}

pub struct FakeServerApi {
    server: MockServer,
    responder: Responder,
}

#[derive(Clone)]
struct Responder {
    lease: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    requests: Vec<(String, Vec<u8>)>,
    faults: Vec<Fault>,
    is_last: bool,
    is_older: bool,
    overdue: Vec<SummaryId>,
}

struct Fault {
    route: &'static str,
    times: u32,
    response: ResponseTemplate,
}

impl FakeServerApi {
    pub async fn start(lease: Duration) -> Self {
        let responder = Responder { lease, state: Arc::default() };
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(responder.clone()).mount(&server).await;
        Self { server, responder }
    }

    pub fn api(&self) -> ServerApi {
        ServerApi::new(&self.server.uri(), "service-token").unwrap()
    }

    /// Returns this response to the next `times` requests to the route. They are still recorded.
    pub fn fail(&self, route: &'static str, times: u32, response: ResponseTemplate) {
        self.responder.state.lock().unwrap().faults.push(Fault { route, times, response });
    }

    /// Marks all further claims as the last attempt.
    pub fn set_last_attempt(&self) {
        self.responder.state.lock().unwrap().is_last = true;
    }

    /// Responds to claims like a server that counts every attempt.
    pub fn set_older(&self) {
        self.responder.state.lock().unwrap().is_older = true;
    }

    /// The overdue summaries; each is listed once, and its claim is the last.
    pub fn set_overdue(&self, ids: &[SummaryId]) {
        self.responder.state.lock().unwrap().overdue = ids.to_vec();
    }

    /// The number of requests to the route.
    pub fn requests(&self, route: &str) -> usize {
        let state = self.responder.state.lock().unwrap();
        state.requests.iter().filter(|(path, _)| path.ends_with(route)).count()
    }

    /// Ends the failures of the route.
    pub fn recover(&self, route: &'static str) {
        self.responder.state.lock().unwrap().faults.retain(|fault| fault.route != route);
    }

    pub fn claims(&self) -> usize {
        self.bodies::<Value>(CLAIM).len()
    }

    pub fn heartbeats(&self) -> usize {
        self.bodies::<Heartbeat>(HEARTBEAT).len()
    }

    pub fn progress(&self) -> Vec<Progress> {
        let heartbeats = self.bodies::<Heartbeat>(HEARTBEAT);
        heartbeats.into_iter().filter_map(|heartbeat| heartbeat.progress).collect()
    }

    /// The texts so far, in the order of their heartbeats.
    pub fn texts(&self) -> Vec<TextSoFar> {
        let heartbeats = self.bodies::<Heartbeat>(HEARTBEAT);
        heartbeats.into_iter().filter_map(|heartbeat| heartbeat.text).collect()
    }

    pub fn results(&self) -> Vec<SummaryResult> {
        self.bodies(RESULT)
    }

    pub fn failures(&self) -> Vec<Failure> {
        self.bodies(FAILURE)
    }

    fn bodies<T: DeserializeOwned>(&self, route: &str) -> Vec<T> {
        let state = self.responder.state.lock().unwrap();
        let matching = state.requests.iter().filter(|(path, _)| path.ends_with(route));
        matching.map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path();
        let mut state = self.state.lock().unwrap();
        state.requests.push((path.to_owned(), request.body.clone()));
        let due = |fault: &&mut Fault| fault.times > 0 && path.ends_with(fault.route);
        if let Some(fault) = state.faults.iter_mut().find(due) {
            fault.times -= 1;
            return fault.response.clone();
        }
        if path.ends_with("overdue") {
            let ids = state.overdue.clone();
            let is_claimed = |id: &SummaryId| {
                let claim = format!("{id}/{CLAIM}");
                state.requests.iter().any(|(path, _)| path.ends_with(&claim))
            };
            let ids = ids.into_iter().filter(|id| !is_claimed(id)).collect();
            return response(200, None, &json!(Overdue { ids }));
        }
        if path.ends_with(CLAIM) {
            let is_overdue = state.overdue.iter().any(|id| path.contains(&id.to_string()));
            let claim = Claim {
                trace: None,
                lease_token: LeaseToken::new(),
                lease_ms: self.lease.as_millis().try_into().unwrap(),
                attempt: 1,
                is_last: state.is_last || is_overdue,
                is_overdue: (!state.is_older).then_some(is_overdue),
                days: vec![ClaimedDay {
                    date: Date::new(2026, 2, 16).unwrap(),
                    diary_id: DiaryId::new(),
                    version: Version::new(1),
                    title: "월요일".to_owned(),
                    texts: vec!["강가를 걸었다. 기뻤다.".to_owned()],
                }],
            };
            return response(200, None, &json!(claim));
        }
        response(200, None, &Value::Null)
    }
}
