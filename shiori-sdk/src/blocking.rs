//! A client without async, for scripts and other programs that have no runtime.
//!
//! ```no_run
//! use shiori_sdk::{Client, Date, Week};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("http://127.0.0.1:8080").build_blocking()?;
//! client.auth().login("haru@example.com", "correct horse 1!")?;
//!
//! let date = Date::new(2026, 2, 16)?;
//! client.diaries().update(date, |mut draft| {
//!     draft.content.push_paragraph("비가 와서 오래 걸었다.");
//!     draft
//! })?;
//!
//! let summary = client.summaries().request(Week::containing(date))?.into_handle()?;
//! if let Some(reflection) = client.summaries().wait(summary.id())?.reflection {
//!     println!("{reflection}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Each method blocks until the async method of the same name returns, and returns its result. The
//! client has its own runtime with one thread, which also renews the session. Clones share the
//! runtime; it shuts down when the last clone is dropped.
//!
//! The client can also be built, used and dropped inside an async runtime, but each call blocks its
//! thread and all other tasks on that thread. Prefer the async client there. If the server runs on
//! the blocked thread, it cannot respond and the call times out.

#[cfg(feature = "replica")]
mod replica;

use std::{
    fmt,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use futures_util::StreamExt;
use tokio::runtime::{self, Handle, Runtime};

use crate::{
    AccountInfo, CallOptions, Change, ClientBuilder, ConflictResolver, Date, DateRange,
    DateVersion, Diary, DiaryEntry, DiaryRevision, Draft, EmotionHistory, Error, ErrorKind,
    ExportRecord, ImportReport, InvitationCode, Precondition, Reflection, Requested, Result,
    RevisionEntry, SaveId, Saved, SessionId, SessionInfo, Summary, SummaryId, SummaryStep, UserId,
    Version, Week, WeekMeta,
};
#[cfg(feature = "replica")]
pub use replica::Replica;

/// A blocking client. Created by [`ClientBuilder::build_blocking`].
#[derive(Clone)]
pub struct Client {
    client: crate::Client,
    runtime: Arc<Background>,
}

impl ClientBuilder {
    /// Builds a blocking client.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::build`]; also of kind [`ErrorKind::Config`] if the thread of the runtime
    /// cannot be created.
    pub fn build_blocking(self) -> Result<Client> {
        let client = self.build()?;
        // Needs a worker thread: a renewal of the session continues while no call is in progress.
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("shiori-sdk")
            .enable_all()
            .build()
            .map_err(|error| Error::new(ErrorKind::Config).with_source(error))?;
        Ok(Client { client, runtime: Arc::new(Background(Some(runtime))) })
    }
}

impl Client {
    /// Accounts and sessions.
    pub fn auth(&self) -> Auth {
        Auth(self.clone())
    }

    /// The account of the signed-in user.
    pub fn account(&self) -> Account {
        Account(self.clone())
    }

    /// Diaries.
    pub fn diaries(&self) -> Diaries {
        Diaries(self.clone())
    }

    /// Weekly summaries.
    pub fn summaries(&self) -> Summaries {
        Summaries(self.clone())
    }

    /// The newest reflection on a week; see [`Reflections::get`](crate::Reflections::get).
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn reflection(&self, week: Week) -> Result<Option<Reflection>> {
        self.block_on(self.client.reflections().get(week))
    }

    /// The diaries of a week; see [`Weeks::meta`](crate::Weeks::meta).
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn week(&self, week: Week) -> Result<WeekMeta> {
        self.block_on(self.client.weeks().meta(week))
    }

    /// The emotions of a range of days; see [`Emotions::get`](crate::Emotions::get).
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn emotions(&self, range: DateRange) -> Result<EmotionHistory> {
        self.block_on(self.client.emotions().get(range))
    }

    /// The options of this client's calls.
    pub fn options(&self) -> &CallOptions {
        self.client.options()
    }

    /// A client with other options that shares everything else with this one.
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self { client: self.client.with_options(options), runtime: self.runtime.clone() }
    }

    /// The async client behind this one. They share the session.
    pub fn as_async(&self) -> &crate::Client {
        &self.client
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

/// The runtime of a client and its clones. A bare [`Runtime`] panics when it blocks or is dropped
/// inside another runtime.
struct Background(Option<Runtime>);

impl Background {
    /// Polls the future on this thread; the runtime's own thread drives its timers and connections.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _context = self.0.as_ref().map(Runtime::enter);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            thread::park();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let Some(runtime) = self.0.take() else { return };
        if Handle::try_current().is_ok() {
            // Does not wait for the thread, so it is allowed inside another runtime.
            runtime.shutdown_background();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Accounts and sessions; see [`crate::Auth`]. Created by [`Client::auth`].
#[derive(Debug, Clone)]
pub struct Auth(Client);

/// The account of the signed-in user; see [`crate::Account`]. Created by [`Client::account`].
#[derive(Debug, Clone)]
pub struct Account(Client);

/// Diaries; see [`crate::Diaries`]. Created by [`Client::diaries`].
#[derive(Debug, Clone)]
pub struct Diaries(Client);

/// Weekly summaries; see [`crate::Summaries`]. Created by [`Client::summaries`].
#[derive(Debug, Clone)]
pub struct Summaries(Client);

/// Methods that block on the async method of the same name.
macro_rules! blocking {
    ($type:ty => $async:ident {
        $($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $output:ty;)*
    }) => {
        impl $type {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// As the async method.
                pub fn $name(&self, $($argument: $kind),*) -> Result<$output> {
                    self.0.block_on(self.0.client.$async().$name($($argument),*))
                }
            )*
        }
    };
}

blocking!(Auth => auth {
    /// Creates an account; see [`crate::Auth::signup`].
    signup(email: &str, password: &str, nickname: &str) -> UserId;
    /// Creates an account with an invitation code; see [`crate::Auth::signup_with_invitation`].
    signup_with_invitation(
        email: &str,
        password: &str,
        nickname: &str,
        code: impl Into<InvitationCode>
    ) -> UserId;
    /// Signs in; see [`crate::Auth::login`].
    login(email: &str, password: &str) -> ();
    /// Renews the access token now; see [`crate::Auth::refresh`].
    refresh() -> ();
    /// Ends the session; see [`crate::Auth::logout`].
    logout() -> ();
    /// Verifies the access token on the server; see [`crate::Auth::verify`].
    verify() -> ();
    /// Lists the sessions of the account; see [`crate::Auth::sessions`].
    sessions() -> Vec<SessionInfo>;
    /// Ends another session; see [`crate::Auth::revoke`].
    revoke(id: SessionId) -> ();
});

impl Auth {
    /// Whether this client has a session; see [`crate::Auth::is_signed_in`].
    pub fn is_signed_in(&self) -> bool {
        self.0.client.auth().is_signed_in()
    }
}

blocking!(Account => account {
    /// The account; see [`crate::Account::get`].
    get() -> AccountInfo;
    /// Changes the nickname; see [`crate::Account::rename`].
    rename(nickname: &str) -> AccountInfo;
    /// Changes the password; see [`crate::Account::change_password`].
    change_password(current: &str, new: &str) -> ();
    /// Deletes the account and all its data; see [`crate::Account::delete`].
    delete(password: &str) -> ();
});

impl Account {
    /// Everything that the server stores about the user; each `next` blocks until the next record.
    /// See [`crate::Account::export`].
    pub fn export(&self) -> impl Iterator<Item = Result<ExportRecord>> + use<> {
        let client = self.0.clone();
        let mut records = client.client.account().export();
        std::iter::from_fn(move || client.block_on(records.next()))
    }

    /// Saves the diaries of an export; see [`crate::Account::import`].
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn import<I>(&self, records: I) -> Result<ImportReport>
    where
        I: IntoIterator<Item = Result<ExportRecord>>,
        I::IntoIter: Send,
    {
        self.0.block_on(self.0.client.account().import(records))
    }
}

blocking!(Diaries => diaries {
    /// The diary of a date; see [`crate::Diaries::get`].
    get(date: Date) -> Option<Diary>;
    /// The diary of a date if it has changed; see [`crate::Diaries::get_if_changed`].
    get_if_changed(known: &Diary) -> Change;
    /// Lists the diaries of a range; see [`crate::Diaries::list`].
    list(range: DateRange) -> Vec<DiaryEntry>;
    /// The versions of a range; see [`crate::Diaries::versions`].
    versions(range: DateRange) -> Vec<DateVersion>;
    /// Deletes a date's diary; see [`crate::Diaries::delete`].
    delete(date: Date, version: Version) -> ();
    /// Archives a date's diary or restores it; see [`crate::Diaries::archive`].
    archive(date: Date, version: Version, archived: bool) -> Version;
    /// Lists the revisions of a date; see [`crate::Diaries::revisions`].
    revisions(date: Date) -> Vec<RevisionEntry>;
    /// One revision of a date; see [`crate::Diaries::revision`].
    revision(date: Date, version: Version) -> DiaryRevision;
    /// Saves the text of a revision again; see [`crate::Diaries::restore`].
    restore(date: Date, revision: Version, precondition: Precondition) -> Saved;
    /// Deletes the revisions of a date, or of all dates; see [`crate::Diaries::purge_revisions`].
    purge_revisions(date: Option<Date>) -> ();
});

impl Diaries {
    /// Saves a draft if the precondition holds; see [`crate::Diaries::save`].
    pub fn save(&self, date: Date, draft: Draft, precondition: Precondition) -> Save {
        let save = self.0.client.diaries().save(date, draft, precondition);
        Save { client: self.0.clone(), save }
    }

    /// The diaries of a range with their contents; each `next` blocks until the next diary. See
    /// [`crate::Diaries::read`].
    pub fn read(&self, range: DateRange) -> impl Iterator<Item = Result<Diary>> + use<> {
        let client = self.0.clone();
        let mut diaries = client.client.diaries().read(range);
        std::iter::from_fn(move || client.block_on(diaries.next()))
    }

    /// The versions of all diaries as they change; each `next` blocks until the next one. See
    /// [`crate::Diaries::watch`].
    pub fn watch(&self) -> impl Iterator<Item = Result<DateVersion>> + use<> {
        let client = self.0.clone();
        let mut changes = client.client.diaries().watch();
        std::iter::from_fn(move || client.block_on(changes.next()))
    }

    /// Reads a date's diary, changes it and saves it; see [`crate::Diaries::update`].
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn update(
        &self,
        date: Date,
        mut change: impl FnMut(Draft) -> Draft + Send,
    ) -> Result<Saved> {
        let change = move |draft| std::future::ready(change(draft));
        self.0.block_on(self.0.client.diaries().update(date, change))
    }
}

/// A save that is not sent yet; see [`crate::Save`]. Created by [`Diaries::save`].
#[derive(Debug)]
#[must_use = "a save does nothing until it is sent"]
pub struct Save {
    client: Client,
    save: crate::Save,
}

impl Save {
    /// Sets the common base of a merge; see [`crate::Save::with_base`].
    pub fn with_base(self, base: impl Into<Draft>) -> Self {
        Self { save: self.save.with_base(base), ..self }
    }

    /// Sets what to do after a version conflict; see [`crate::Save::on_conflict`].
    pub fn on_conflict(self, resolver: impl ConflictResolver + 'static) -> Self {
        Self { save: self.save.on_conflict(resolver), ..self }
    }

    /// Sets the timeout of the save; see [`crate::Save::with_deadline`].
    pub fn with_deadline(self, deadline: std::time::Duration) -> Self {
        Self { save: self.save.with_deadline(deadline), ..self }
    }

    /// Sets the id of this save; see [`crate::Save::with_save_id`].
    pub fn with_save_id(self, save_id: SaveId) -> Self {
        Self { save: self.save.with_save_id(save_id), ..self }
    }

    /// Keeps the replaced text as a revision; see [`crate::Save::keep_replaced`].
    pub fn keep_replaced(self) -> Self {
        Self { save: self.save.keep_replaced(), ..self }
    }

    /// Sends the save; see [`crate::Save::send`].
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn send(self) -> Result<Saved> {
        self.client.block_on(self.save.send())
    }
}

blocking!(Summaries => summaries {
    /// Requests a week's summary; see [`crate::Summaries::request`].
    request(week: Week) -> Requested;
    /// Requests a week's summary; with `force`, even if nothing has changed. See
    /// [`crate::Summaries::request_with`].
    request_with(week: Week, force: bool) -> Requested;
});

impl Summaries {
    /// The current summary; see [`SummaryHandle::poll`](crate::SummaryHandle::poll).
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn poll(&self, id: SummaryId) -> Result<Summary> {
        self.0.block_on(self.0.client.summaries().handle(id).poll())
    }

    /// Waits for a final status; see [`SummaryHandle::wait`](crate::SummaryHandle::wait).
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn wait(&self, id: SummaryId) -> Result<Summary> {
        self.0.block_on(self.0.client.summaries().handle(id).wait())
    }

    /// Cancels the summary; see [`SummaryHandle::cancel`](crate::SummaryHandle::cancel).
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn cancel(&self, id: SummaryId) -> Result<()> {
        self.0.block_on(self.0.client.summaries().handle(id).cancel())
    }

    /// The steps of a summary until it is final; each `next` blocks until the next step. See
    /// [`SummaryHandle::watch`](crate::SummaryHandle::watch).
    pub fn watch(&self, id: SummaryId) -> impl Iterator<Item = Result<SummaryStep>> + use<> {
        let client = self.0.clone();
        let mut changes = client.client.summaries().handle(id).watch();
        std::iter::from_fn(move || client.block_on(changes.next()))
    }
}
