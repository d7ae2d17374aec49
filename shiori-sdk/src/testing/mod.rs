//! A server in the process of the test, for programs that use this crate to test themselves with:
//! no server, no database, no model.
//!
//! [`FakeShiori`] speaks the API as a Shiori server does, over HTTP and on a port of its own. Its
//! saves are real compare-and-swaps, it recognises a repeated save by its id, and its refresh tokens
//! rotate. One suite of tests holds it and the server to the same answers. What it does not do is
//! anything by itself:
//!
//! - **Summaries stand still** until [`SummaryClock`] moves them.
//! - **Time stands still** until [`FakeShiori::advance`] moves it. Only a long-poll takes as long
//!   as it asks for.
//! - **Faults happen when they are injected**: lost requests and answers, errors, held requests,
//!   and saves of another device that comes first. See [`Fault`].
//!
//! Dropping the fake closes its port, and the next request finds nobody there.
//!
//! # A program's function, tested
//!
//! ```
//! use shiori_sdk::{
//!     Client, Date, Draft, ErrorKind, Requested, Result, Saved, Week,
//!     testing::{FakeShiori, Fault, CONFLICTING_LINE, Route},
//! };
//!
//! /// Adds a line to a day's diary. This is what is to be tested.
//! async fn add_line(client: &Client, date: Date, line: &str) -> Result<Saved> {
//!     let append = |mut draft: Draft| async move {
//!         draft.content.push_paragraph(line);
//!         draft
//!     };
//!     client.diaries().update(date, append).await
//! }
//!
//! // In a test module these three would be `#[tokio::test]`.
//! async fn a_line_is_added_to_what_another_device_wrote() {
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
//! async fn a_line_is_added_once_though_the_answer_is_lost() {
//!     let fake = FakeShiori::start();
//!     let client = fake.client().await;
//!     let date = Date::new(2026, 2, 16).unwrap();
//!     add_line(&client, date, "아침은 죽").await.unwrap();
//!
//!     fake.inject(Fault::lost_response().on(Route::Save));
//!     let saved = add_line(&client, date, "점심은 국수").await.unwrap();
//!     assert_eq!(saved.draft.content.block_texts(), ["아침은 죽", "점심은 국수"]);
//!     assert_eq!(fake.count(Route::Save), 3, "one was sent twice");
//! }
//!
//! async fn a_week_is_summarised_when_it_is_complete() {
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
//! #     a_line_is_added_to_what_another_device_wrote().await;
//! #     a_line_is_added_once_though_the_answer_is_lost().await;
//! #     a_week_is_summarised_when_it_is_complete().await;
//! # }
//! ```
//!
//! # What it leaves out
//!
//! It answers from another thread, so a runtime whose time is paused (`tokio::time::pause`) may skip
//! to the client's time-outs before the answer is there; real time passes quickly here anyhow.
//!
//! Passwords are kept as they were sent and messages are not translated, so it is no server to put
//! real diaries into. It knows nothing of the internal API, of `/healthz`, `/readyz` and `/metrics`,
//! and it bounds neither time nor sessions.

mod accounts;
mod diaries;
mod faults;
mod server;
mod state;
mod summaries;
mod wire;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use self::{accounts::ACCESS_TTL, faults::Faults, state::State};
use crate::{Client, ClientBuilder, NewAccount, Result, Timestamp};

pub use self::{
    diaries::CONFLICTING_LINE,
    faults::{Fault, Hold},
    summaries::SummaryClock,
    wire::Route,
};

/// A Shiori server for tests, in this process and on a free port of 127.0.0.1. It runs on a thread
/// of its own, so that asynchronous and blocking tests can use it alike, and stops when it is
/// dropped.
pub struct FakeShiori {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// What the server's thread and the test share.
struct Shared {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    seen: Mutex<Vec<SeenRequest>>,
    /// Told whenever a summary may have changed.
    changes: watch::Sender<()>,
}

/// A request as it arrived. Of its query, its headers and its body nothing is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenRequest {
    /// The route, if there is one.
    pub route: Option<Route>,
    /// The method, e.g. `POST`.
    pub method: String,
    /// The path, e.g. `/api/diary/20260216`.
    pub path: String,
    /// The request's `x-request-id`, also found in the client's errors.
    pub request_id: String,
}

impl FakeShiori {
    /// Starts a server that nobody has used yet.
    ///
    /// # Panics
    ///
    /// When the system gives no port or no thread.
    pub fn start() -> Self {
        match Self::try_start() {
            Ok(fake) => fake,
            Err(error) => panic!("the fake server does not start: {error}"),
        }
    }

    fn try_start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new()),
            faults: Mutex::default(),
            seen: Mutex::default(),
            changes: watch::Sender::new(()),
        });
        let (stop, stopped) = oneshot::channel();
        let serve = server::serve(listener, shared.clone(), stopped);
        let thread = thread::Builder::new()
            .name("fake-shiori".to_owned())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of it, to be set up further. Nobody is signed in.
    pub fn builder(&self) -> ClientBuilder {
        Client::builder(self.url())
    }

    /// An account that nobody has used yet.
    pub fn person(&self) -> Person {
        let email = format!("person-{}@example.com", Uuid::new_v4().simple());
        let account = NewAccount {
            email: email.clone(),
            password: Person::PASSWORD.into(),
            nickname: "시험".to_owned(),
        };
        let created = self.shared.lock().accounts.create(account);
        created.expect("the address is new, and every field keeps its rule");
        Person { url: self.url(), email }
    }

    /// A device of somebody new, signed in. For more devices of one person, see
    /// [`FakeShiori::person`].
    ///
    /// # Panics
    ///
    /// When a fault that was injected before hits the login.
    pub async fn client(&self) -> Client {
        match self.person().sign_in(self.builder()).await {
            Ok(client) => client,
            Err(error) => panic!("not signed in: {error}"),
        }
    }

    /// The clock of summaries: nothing happens to them until it is moved.
    pub fn summaries(&self) -> SummaryClock {
        SummaryClock::new(self.shared.clone())
    }

    /// The time in the fake. It stands still at the moment of the start until it is moved.
    pub fn now(&self) -> Timestamp {
        self.shared.lock().now
    }

    /// Moves the time in the fake: access tokens expire after 15 minutes, sessions after 30 days
    /// without a refresh, and the answer of a refresh can be asked for again for 10 seconds.
    pub fn advance(&self, by: Duration) {
        let mut state = self.shared.lock();
        state.now = state.now + by;
    }

    /// Moves the time in the fake so far that every access token has expired. Clients renew theirs
    /// by themselves.
    pub fn expire_access_tokens(&self) {
        self.advance(ACCESS_TTL);
    }

    /// Makes a fault wait for the next request that it is meant for. A request meets one fault at
    /// most, the first that was injected.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults().add(fault);
    }

    /// The next so many saves lose against another device: each finds that a paragraph,
    /// [`CONFLICTING_LINE`], has just been added to the diary, and is answered 409 with the diary as it
    /// stands. Saves that would have failed anyhow do not count.
    pub fn inject_conflicts(&self, count: u32) {
        let mut state = self.shared.lock();
        let pending = &mut state.diaries.pending_conflicts;
        *pending = pending.saturating_add(count);
    }

    /// The next request is applied, and its answer is lost: [`Fault::lost_answer`].
    pub fn drop_response_once(&self) {
        self.inject(Fault::lost_response());
    }

    /// The next request is answered with this status: [`Fault::status`].
    pub fn fail_next(&self, status: u16) {
        self.inject(Fault::status(status));
    }

    /// Holds the next request for this route back before it is applied, until it is released.
    pub fn hold(&self, route: Route) -> Hold {
        let (hold, gate) = Hold::new();
        self.inject(Fault::held(gate).on(route));
        hold
    }

    /// Every request that has arrived, in order.
    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.shared.seen).clone()
    }

    /// How many requests for this route have arrived.
    pub fn count(&self, route: Route) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| seen.route == Some(route)).count()
    }
}

impl Drop for FakeShiori {
    /// Stops the server; whoever is connected is cut off. When this returns, the port is closed.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A server that failed has answered nothing, and the test has seen that.
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
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    fn saw(&self, request: SeenRequest) {
        lock(&self.seen).push(request);
    }

    fn changed(&self) {
        self.changes.send_replace(());
    }

    fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody with an account at a [`FakeShiori`], and any number of devices.
#[derive(Debug, Clone)]
pub struct Person {
    url: String,
    email: String,
}

impl Person {
    /// The password of every such person.
    pub const PASSWORD: &'static str = "correct horse 1!";

    /// The e-mail address.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// A device of this person, signed in.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) when the fake is gone, or a fault was injected before.
    pub async fn device(&self) -> Result<Client> {
        self.sign_in(Client::builder(&self.url)).await
    }

    /// The same, set up as one likes.
    ///
    /// # Errors
    ///
    /// As [`Person::device`], and when the builder does not build.
    pub async fn sign_in(&self, builder: ClientBuilder) -> Result<Client> {
        let client = builder.build()?;
        client.auth().login(&self.email, Self::PASSWORD).await?;
        Ok(client)
    }
}
