//! The handle of a replica.

use std::{fmt, sync::Arc};

use tokio::{
    sync::{Mutex, Notify, broadcast},
    task::spawn_blocking,
};

use super::{
    days::{Days, Header, read_header},
    entry::{ReplicaDiary, ReplicaEntry},
    event::{self, ReplicaEvent, ReplicaEvents},
    exchange::Seen,
    note::ConflictNote,
    record::{LocalChange, Record},
    round::Listed,
    store::ReplicaStore,
};
use crate::{
    client::Client,
    transport::error::{Error, ErrorKind, Result},
    types::{Date, DateRange, Draft},
};

/// The default of [`ReplicaBuilder::max_content_bytes`].
const MAX_CONTENT_BYTES: u64 = 256 * 1024 * 1024;

/// The diaries of one account on this device. It works offline, survives restarts and converges with
/// the server.
///
/// [`get`](Self::get), [`list`](Self::list), [`save`](Self::save), [`delete`](Self::delete) and
/// [`archive`](Self::archive) answer from the store, without a network. A change is durable when it
/// returns. [`sync`](Self::sync) sends the changes and reads those of other devices;
/// [`run`](Self::run) does it continuously. If both sides changed a diary, the texts are
/// [merged](crate::merge) with their common base; conflicts are [listed](Self::conflicts) until
/// someone [acknowledges](Self::acknowledge) them.
///
/// Clones are cheap and share the store. Every future can be dropped at any await; a local change
/// whose future is dropped may be stored or not.
///
/// ```no_run
/// use shiori_sdk::{Client, Date, Document, Draft, RedbStore, Replica};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder("https://diary.example.com").build()?;
/// client.auth().login("haru@example.com", "correct horse 1!").await?;
/// let replica = Replica::open(client, RedbStore::open("diary.redb")?).await?;
///
/// let date = Date::new(2026, 2, 16)?;
/// replica.save(date, Draft::new("월요일", Document::from_text("비가 왔다."))).await?;
/// replica.sync().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Replica {
    pub(super) client: Client,
    days: Arc<Days>,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) events: broadcast::Sender<ReplicaEvent>,
    /// Notified after a local change.
    pub(super) changed: Notify,
    /// What the server has listed. Locked during a round, so that there is one at a time.
    pub(super) listed: Mutex<Listed>,
}

/// Configures a [`Replica`]. Created by [`Replica::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until a store is opened"]
pub struct ReplicaBuilder {
    client: Client,
    max_content_bytes: u64,
}

/// What [`Replica::sign_out`] does with changes that the server does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnsentChanges {
    /// Fails if there are any.
    Keep,
    /// Deletes them.
    Discard,
}

impl ReplicaBuilder {
    /// The bound of the contents on the device. When they exceed it, those of the earliest dates
    /// are dropped, and read from the server again when they are needed. Unsent changes are never
    /// dropped, and do not count. Default 256 MiB.
    pub fn max_content_bytes(self, max_content_bytes: u64) -> Self {
        Self { max_content_bytes, ..self }
    }

    /// Opens the store; see [`Replica::open`].
    ///
    /// # Errors
    ///
    /// As [`Replica::open`].
    pub async fn open(self, store: impl ReplicaStore + 'static) -> Result<Replica> {
        let Self { client, max_content_bytes } = self;
        let store: Box<dyn ReplicaStore> = Box::new(store);
        let (stored, store) = blocking(move || Ok((read_header(&*store)?, store))).await?;
        let header = header(&client, stored).await?;
        let events = broadcast::Sender::new(event::CAPACITY);
        let sender = events.clone();
        let days = blocking(move || Days::open(store, header, max_content_bytes, sender)).await?;
        let shared =
            Shared { events, changed: Notify::new(), listed: Mutex::new(Listed::default()) };
        Ok(Replica { client, days: Arc::new(days), shared: Arc::new(shared) })
    }
}

impl Replica {
    /// Opens a replica with the default options.
    ///
    /// A new store is bound to the account of the client's session and to its base URL, which needs
    /// the server. Later, the server is needed only if the client has signed in again since. A client
    /// without a session can open the replica too: its user reads and writes, and nothing is sent until
    /// the login.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::ReplicaMismatch`] if the replica belongs to another account or
    /// base URL; [`ErrorKind::SignedOut`] if the store is new and the client is not signed in;
    /// [`ErrorKind::ReplicaDamaged`] if the stored data are damaged or of a later version;
    /// [`ErrorKind::ReplicaStore`] if the store fails; any other kind if the account cannot be
    /// read. Nothing is changed then.
    pub async fn open(client: Client, store: impl ReplicaStore + 'static) -> Result<Self> {
        Self::builder(client).open(store).await
    }

    /// A builder of a replica that uses this client.
    pub fn builder(client: Client) -> ReplicaBuilder {
        ReplicaBuilder { client, max_content_bytes: MAX_CONTENT_BYTES }
    }

    /// The diary of a date with the local changes; `None` if there is none. If its text was dropped to
    /// save space, it is read from the server.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::NotOnDevice`] if the text was dropped and cannot be read from the
    /// server; it is retryable if its source is. [`ErrorKind::ReplicaStore`] or
    /// [`ErrorKind::ReplicaDamaged`] if the store fails.
    pub async fn get(&self, date: Date) -> Result<Option<ReplicaDiary>> {
        let record = self.blocking(move |days| days.record(date)).await?;
        if record.view().is_none_or(|view| view.content.is_some()) {
            return Ok(record.diary(date, None));
        }
        let read = async { self.verified().await?.diaries().get(date).await };
        let Some(diary) = read.await.map_err(not_on_device)? else { return Ok(None) };
        self.blocking(move |days| {
            let mut shown = None;
            days.step([(date, diary)], |record, diary| {
                // Newer than what was read if the record was changed meanwhile.
                let content = diary.content.clone();
                let record = record.learn(Seen::Diary(diary));
                shown = record.diary(date, Some(content));
                record
            })?;
            Ok(shown)
        })
        .await
    }

    /// The diaries of a range by date, with the local changes and without their texts.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::ReplicaStore`] or [`ErrorKind::ReplicaDamaged`] if the store
    /// fails.
    pub async fn list(&self, range: DateRange) -> Result<Vec<ReplicaEntry>> {
        self.blocking(move |days| days.list(range)).await
    }

    /// Saves a draft on this device. It replaces what [`get`](Self::get) returns now, and is sent by the
    /// next [`sync`](Self::sync).
    ///
    /// A text that was edited for some time must not replace what a round has received meanwhile; use
    /// [`save_edited`](Self::save_edited) for it.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::ReplicaStore`] or [`ErrorKind::ReplicaDamaged`] if the store
    /// fails; [`ErrorKind::SignedOut`] after [`sign_out`](Self::sign_out).
    pub async fn save(&self, date: Date, draft: Draft) -> Result<()> {
        self.change(date, LocalChange::Save(draft)).await
    }

    /// Saves a text that was edited from `base`, the diary that an editor was started from; `None` if
    /// there was none. If the diary has changed since, for example because a round has received
    /// the text of another device, both are merged. Overlaps are listed as [conflicts](Self::conflicts).
    ///
    /// The next edit is based on what [`get`](Self::get) returns then.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save), and as [`get`](Self::get) if the current text was dropped and differs
    /// from `base`.
    pub async fn save_edited(
        &self,
        date: Date,
        base: Option<ReplicaDiary>,
        draft: Draft,
    ) -> Result<()> {
        let record = self.blocking(move |days| days.record(date)).await?;
        let is_dropped = record.view().is_some_and(|view| view.content.is_none());
        let version = record.view().and_then(|view| view.server).map(|server| server.version);
        let is_base = base.as_ref().is_some_and(|base| base.version == version);
        let dropped = if is_dropped && !is_base { self.get(date).await? } else { base.clone() };
        let dropped = dropped.as_ref().map(ReplicaDiary::to_draft);
        self.blocking(move |days| {
            days.step([(date, (draft, dropped))], |record, (draft, dropped)| {
                record.write_edited(base.as_ref(), draft, dropped)
            })
        })
        .await?;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Deletes the diary of a date on this device. Without one, it does nothing. If another device has
    /// changed it, the changed diary stays, and a conflict is listed.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn delete(&self, date: Date) -> Result<()> {
        self.change(date, LocalChange::Delete).await
    }

    /// Archives the diary of a date on this device, or restores it. Without a diary, it does nothing.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn archive(&self, date: Date, archived: bool) -> Result<()> {
        self.change(date, LocalChange::Archive(archived)).await
    }

    /// The conflicts of a date that nobody has acknowledged, oldest first: at most four, of which the
    /// newest are kept.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub async fn conflicts(&self, date: Date) -> Result<Vec<ConflictNote>> {
        self.blocking(move |days| Ok(days.record(date)?.conflicts().to_vec())).await
    }

    /// Removes the conflicts of a date up to this [number](ConflictNote::number), because a user has
    /// seen them. The diary does not change.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn acknowledge(&self, date: Date, number: u64) -> Result<()> {
        self.blocking(move |days| days.step([(date, number)], Record::acknowledge)).await
    }

    /// The dates with changes that the server does not have, also those that it has rejected.
    pub fn unsent(&self) -> Vec<Date> {
        self.days.unsent()
    }

    /// What happens from now on, as a stream for a user interface. A receiver that lags behind by more
    /// than 1,024 events gets [`ReplicaEvent::Missed`].
    pub fn events(&self) -> ReplicaEvents {
        ReplicaEvents::new(self.shared.events.subscribe())
    }

    /// Removes everything from the store, and ends the session. Further calls on this replica and its
    /// clones fail.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::UnsentChanges`] if the server does not have all changes and
    /// they must be kept: nothing has happened then. [`ErrorKind::ReplicaStore`] if the store
    /// cannot be cleared. As [`Auth::logout`](crate::Auth::logout) if the server could not end the
    /// session; the store is empty and the client signed out nevertheless.
    pub async fn sign_out(&self, unsent: UnsentChanges) -> Result<()> {
        let discard = unsent == UnsentChanges::Discard;
        let header = self.blocking(move |days| days.clear(discard)).await?;
        // Wakes `run`, which then ends.
        self.shared.changed.notify_one();
        let is_ours = self.client.login().is_ok_and(|login| header.knows(login));
        if is_ours { self.client.auth().logout().await } else { Ok(()) }
    }

    async fn change(&self, date: Date, change: LocalChange) -> Result<()> {
        self.blocking(move |days| days.step([(date, change)], Record::write)).await?;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// A client that uses only the current session, which belongs to the account of the replica.
    pub(super) async fn verified(&self) -> Result<Client> {
        let header = self.days.header()?;
        let login = self.client.login()?;
        let client = self.client.only_for(login);
        if !header.knows(login) {
            check_account(&client, &header).await?;
            self.blocking(move |days| days.set_login(login)).await?;
        }
        Ok(client)
    }

    /// Runs a function that may block. It runs to its end also if the future is dropped.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        function: impl FnOnce(&Days) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let days = self.days.clone();
        blocking(move || function(&days)).await
    }

    pub(super) fn days(&self) -> &Days {
        &self.days
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The header of the store, after the session was compared with it. A new one if the store has none.
async fn header(client: &Client, stored: Option<Header>) -> Result<Header> {
    let Some(stored) = stored else {
        let login = client.login()?;
        let account = client.only_for(login).account().get().await?;
        return Ok(Header::new(client.base_url(), account.user_id, login));
    };
    if stored.base_url != client.base_url() {
        return Err(Error::new(ErrorKind::ReplicaMismatch));
    }
    match client.login() {
        Ok(login) if !stored.knows(login) => {
            check_account(&client.only_for(login), &stored).await?;
        }
        // The same login, or none: the user is the one who used the replica last.
        Ok(_) | Err(_) => {}
    }
    Ok(stored)
}

async fn check_account(client: &Client, header: &Header) -> Result<()> {
    if client.account().get().await?.user_id == header.account {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::ReplicaMismatch))
    }
}

fn not_on_device(error: Error) -> Error {
    if matches!(error.kind(), ErrorKind::ReplicaStore | ErrorKind::ReplicaDamaged) {
        return error;
    }
    let dropped = Error::new(ErrorKind::NotOnDevice).with_retry_after(error.retry_after());
    let dropped = if error.is_retryable() { dropped.with_retryable() } else { dropped };
    dropped.with_source(error)
}

async fn blocking<T: Send + 'static>(
    function: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended = spawn_blocking(function).await;
    // Only if the store panics, or the runtime is shutting down.
    ended.unwrap_or_else(|error| Err(Error::new(ErrorKind::ReplicaStore).with_source(error)))
}
