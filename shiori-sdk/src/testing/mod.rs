//! An in-process server for the tests of programs that use this crate. It needs no database and no
//! model.
//!
//! [`FakeShiori`] implements the API of a Shiori server over HTTP, on a free port. Its saves are
//! real compare-and-swaps, it recognises a repeated save by its id, and its refresh tokens rotate.
//! A conformance suite checks that it responds like the server. It does nothing by itself:
//!
//! - **Summaries do not change** until [`SummaryClock`] steps them.
//! - **Time does not pass** until [`FakeShiori::advance`] advances it. Only a long-poll waits in real
//!   time.
//! - **Faults happen when they are injected**: lost requests and responses, errors, held requests,
//!   and concurrent saves of another device. See [`Fault`].
//!
//! Dropping the fake closes its port, and later requests fail to connect.
//!
//! # Example: tests of a function
//!
//! ```
//! use shiori_sdk::{
//!     Client, Date, Draft, ErrorKind, Requested, Result, Saved, Week,
//!     testing::{FakeShiori, Fault, CONFLICTING_LINE, Route},
//! };
//!
//! /// Adds a line to a day's diary. This is the function under test.
//! async fn add_line(client: &Client, date: Date, line: &str) -> Result<Saved> {
//!     let append = |mut draft: Draft| async move {
//!         draft.content.push_paragraph(line);
//!         draft
//!     };
//!     client.diaries().update(date, append).await
//! }
//!
//! // In a test module these three are `#[tokio::test]`.
//! async fn a_line_is_added_after_the_text_of_another_device() {
//!     let fake = FakeShiori::start();
//!     let client = fake.client().await;
//!     let date = Date::new(2026, 2, 16).unwrap();
//!
//!     fake.inject_conflicts(1);
//!     let saved = add_line(&client, date, "점심은 국수").await.unwrap();
//!     assert_eq!(saved.draft.content.block_texts(), [CONFLICTING_LINE, "점심은 국수"]);
//!     assert_eq!(saved.report.conflicts, 1);
//! }
//!
//! async fn a_line_is_added_once_if_the_response_is_lost() {
//!     let fake = FakeShiori::start();
//!     let client = fake.client().await;
//!     let date = Date::new(2026, 2, 16).unwrap();
//!     add_line(&client, date, "아침은 죽").await.unwrap();
//!
//!     fake.inject(Fault::lost_response().on(Route::Save));
//!     let saved = add_line(&client, date, "점심은 국수").await.unwrap();
//!     assert_eq!(saved.draft.content.block_texts(), ["아침은 죽", "점심은 국수"]);
//!     assert_eq!(fake.count(Route::Save), 3, "one save was sent twice");
//! }
//!
//! async fn a_week_is_summarised_if_it_is_complete() {
//!     let fake = FakeShiori::start();
//!     let client = fake.client().await;
//!     let week = Week::containing(Date::new(2026, 2, 16).unwrap());
//!     let requested = client.summaries().request(week).await.unwrap();
//!     assert!(matches!(requested, Requested::Incomplete { missing } if missing.len() == 7));
//!
//!     for date in week.dates() {
//!         add_line(&client, date, "조용한 하루").await.unwrap();
//!     }
//!     let summary = client.summaries().request(week).await.unwrap().into_handle().unwrap();
//!     assert!(fake.summaries().complete(summary.id(), "조용해서 좋은 한 주였어요."));
//!     let summary = summary.wait().await.unwrap();
//!     assert_eq!(summary.reflection.as_deref(), Some("조용해서 좋은 한 주였어요."));
//!
//!     drop(fake);
//!     let error = client.reflections().get(week).await.unwrap_err();
//!     assert_eq!(error.kind(), ErrorKind::Connect);
//! }
//! #
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! #     a_line_is_added_after_the_text_of_another_device().await;
//! #     a_line_is_added_once_if_the_response_is_lost().await;
//! #     a_week_is_summarised_if_it_is_complete().await;
//! # }
//! ```
//!
//! # Limitations
//!
//! It runs on another thread, so a runtime with paused time (`tokio::time::pause`) may advance to the
//! client's timeouts before the response arrives.
//!
//! It is only for tests: passwords are not hashed and messages are not translated. It has no internal
//! API, no `/healthz`, `/readyz` and `/metrics`, and it limits neither the time of a request nor the
//! number of sessions.

mod accounts;
mod changes;
mod diaries;
mod export;
mod faults;
mod many_diaries;
mod request;
mod response;
mod revisions;
mod route;
mod server;
mod sessions;
mod state;
mod summaries;
mod summary_clock;
mod watch;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{oneshot, watch as tokio_watch};
use uuid::Uuid;

use self::{faults::Faults, state::State};
use crate::{
    Client, ClientBuilder, Result,
    types::{NewAccount, Timestamp, limits::ACCESS_TOKEN_TTL},
};

pub use self::{
    diaries::CONFLICTING_LINE,
    faults::{Fault, Hold},
    route::Route,
    summary_clock::SummaryClock,
};

/// An in-process Shiori server for tests, on a free port of 127.0.0.1. It runs on its own thread, so
/// that both asynchronous and blocking tests can use it, and stops when it is dropped.
pub struct FakeShiori {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// The state that the server's thread and the test share.
struct Shared {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    seen: Mutex<Vec<SeenRequest>>,
    /// Notified when a summary may have changed.
    changes: tokio_watch::Sender<()>,
}

/// A request that arrived, without its query, headers and body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenRequest {
    /// The route; `None` for an unknown path.
    pub route: Option<Route>,
    /// The method, e.g. `POST`.
    pub method: String,
    /// The path, e.g. `/api/diary/20260216`.
    pub path: String,
    /// The request's `x-request-id`, also found in the client's errors.
    pub request_id: String,
}

impl FakeShiori {
    /// Starts an empty server.
    ///
    /// # Panics
    ///
    /// If the system cannot open a port or start a thread.
    pub fn start() -> Self {
        match Self::try_start() {
            Ok(fake) => fake,
            Err(error) => panic!("could not start the fake server: {error}"),
        }
    }

    fn try_start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(Timestamp::now())),
            faults: Mutex::default(),
            seen: Mutex::default(),
            changes: tokio_watch::Sender::new(()),
        });
        let (stop, stopped) = oneshot::channel();
        let serve = server::serve(listener, shared.clone(), stopped);
        let thread = thread::Builder::new()
            .name("fake-shiori".to_owned())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A builder of a client for this server. The client is not signed in.
    pub fn builder(&self) -> ClientBuilder {
        Client::builder(self.url())
    }

    /// Creates a new account.
    pub fn person(&self) -> Person {
        let email = format!("person-{}@example.com", Uuid::new_v4().simple());
        let account = NewAccount {
            email: email.clone(),
            password: Person::PASSWORD.into(),
            nickname: "시험".to_owned(),
            invitation_code: None,
        };
        let mut state = self.shared.state();
        let now = state.now;
        let signed_up = state.accounts.sign_up(&account, now);
        debug_assert!(signed_up.is_ok(), "the address is new, and every field is valid");
        Person { url: self.url(), email }
    }

    /// A client that is signed in with a new account. For several clients of one account, see
    /// [`FakeShiori::person`].
    ///
    /// # Panics
    ///
    /// If an injected fault affects the login.
    pub async fn client(&self) -> Client {
        match self.person().sign_in(self.builder()).await {
            Ok(client) => client,
            Err(error) => panic!("could not sign in: {error}"),
        }
    }

    /// Steps the summaries. They do not change automatically.
    pub fn summaries(&self) -> SummaryClock {
        SummaryClock::new(self.shared.clone())
    }

    /// The time of the fake: the time of its start plus all advances.
    pub fn now(&self) -> Timestamp {
        self.shared.state().now
    }

    /// Advances the time of the fake. Access tokens expire after
    /// [`ACCESS_TOKEN_TTL`], sessions after [`SESSION_TTL`](crate::limits::SESSION_TTL) without a
    /// refresh. A refresh can be repeated for [`REFRESH_REPEAT`](crate::limits::REFRESH_REPEAT)
    /// until one of its tokens is used, and for [`REFRESH_GRACE`](crate::limits::REFRESH_GRACE)
    /// afterwards.
    pub fn advance(&self, by: Duration) {
        let mut state = self.shared.state();
        state.now = state.now + by;
    }

    /// Advances the time of the fake until every access token has expired. Clients renew them
    /// automatically.
    pub fn expire_access_tokens(&self) {
        self.advance(ACCESS_TOKEN_TTL);
    }

    /// Injects a fault that affects the next matching request. A request is affected by at most one
    /// fault: the first matching one in the order of injection.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults().add(fault);
    }

    /// The next `count` saves conflict: another device first adds the paragraph [`CONFLICTING_LINE`] to the
    /// diary, and the response is 409 with the current diary. Saves that fail anyway do not count.
    pub fn inject_conflicts(&self, count: u32) {
        let mut state = self.shared.state();
        let pending = &mut state.diaries.injected_conflicts;
        *pending = pending.saturating_add(count);
    }

    /// The next request is applied, and its response is lost: [`Fault::lost_response`].
    pub fn drop_response_once(&self) {
        self.inject(Fault::lost_response());
    }

    /// The next response has this status: [`Fault::status`].
    pub fn fail_next(&self, status: u16) {
        self.inject(Fault::status(status));
    }

    /// Holds the next request for this route before it is applied, until it is released.
    pub fn hold(&self, route: Route) -> Hold {
        let (hold, gate) = Hold::new();
        self.inject(Fault::held(gate).on(route));
        hold
    }

    /// Every request that arrived, in order.
    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.shared.seen).clone()
    }

    /// The number of requests for this route.
    pub fn count(&self, route: Route) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| seen.route == Some(route)).count()
    }
}

impl Drop for FakeShiori {
    /// Stops the server and closes all connections. When this returns, the port is closed.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If the server failed, the test has seen failed requests.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for FakeShiori {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeShiori").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    fn record(&self, request: SeenRequest) {
        lock(&self.seen).push(request);
    }

    fn notify_changed(&self) {
        self.changes.send_replace(());
    }

    fn subscribe(&self) -> tokio_watch::Receiver<()> {
        self.changes.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The user of an account on a [`FakeShiori`], with any number of devices.
#[derive(Debug, Clone)]
pub struct Person {
    url: String,
    email: String,
}

impl Person {
    /// The password of every person.
    pub const PASSWORD: &'static str = "correct horse 1!";

    /// The e-mail address.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// A new, signed-in client.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the login fails: the fake was dropped, or an injected fault affects
    /// the login.
    pub async fn device(&self) -> Result<Client> {
        self.sign_in(Client::builder(&self.url)).await
    }

    /// A signed-in client from this builder.
    ///
    /// # Errors
    ///
    /// As [`Person::device`], and if the builder fails.
    pub async fn sign_in(&self, builder: ClientBuilder) -> Result<Client> {
        let client = builder.build()?;
        client.auth().login(&self.email, Self::PASSWORD).await?;
        Ok(client)
    }
}
