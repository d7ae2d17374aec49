//! Stores of sessions.

use std::{
    any::Any,
    error, fmt,
    fs::{self, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    private_file::{directory_of, private, sync_directory},
    types::Timestamp,
};

/// Stores a client's session, for example in a file, a key chain or a database, so that it survives
/// restarts.
///
/// The SDK calls `load` when the client is built, and before it renews or removes the session;
/// `save` after every login, renewal and logout. A client makes one call at a time, on a thread that
/// may block.
///
/// Several clients, also in several processes, can share a store that implements
/// [`try_lock`](Self::try_lock), such as [`FileTokenStore`]. They share one session then: the client
/// that renews it stores the new tokens, and the others load them. Without a lock, use a store with
/// one client at a time. Otherwise a client may use an old refresh token, which the server treats
/// as stolen, and the session ends.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// The session that was stored last, if any.
    ///
    /// # Errors
    ///
    /// Any error; building the client then fails.
    fn load(&self) -> Result<Option<StoredSession>, Box<dyn error::Error + Send + Sync>>;

    /// Replaces the stored session; `None` removes it. After a logout, the session is `None`, or
    /// contains only the token by which the server knows this device at its next login
    /// ([`StoredSession::is_signed_in`]). The change must be durable when this returns.
    ///
    /// # Errors
    ///
    /// Any error. A login returns it to its caller; a renewal logs it and succeeds.
    fn save(
        &self,
        session: Option<&StoredSession>,
    ) -> Result<(), Box<dyn error::Error + Send + Sync>>;

    /// Locks the store until the result is dropped; `None` if another client holds the lock. A
    /// client holds it while it renews the session, which takes a few requests at most, and tries
    /// again every 20 ms until its [`call_timeout`](crate::CallOptions::call_timeout).
    ///
    /// Default: succeeds and locks nothing, for a store that only one client uses.
    ///
    /// # Errors
    ///
    /// Any error if the store cannot be locked. The client logs it and continues without a lock.
    fn try_lock(&self) -> Result<Option<StoreLock>, Box<dyn error::Error + Send + Sync>> {
        Ok(Some(StoreLock::new(())))
    }
}

/// The lock of a [`TokenStore`]. Dropping it unlocks the store.
pub struct StoreLock {
    _guard: Box<dyn Any + Send + Sync>,
}

impl StoreLock {
    /// A lock that is released when `guard` is dropped.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreLock").finish_non_exhaustive()
    }
}

/// A session in a [`TokenStore`]. Its serialised form contains the tokens, which grant access to the
/// account; `Debug` does not show them.
///
/// It belongs to the base URL of the client that stored it: a client with another base URL ignores
/// it, and replaces it at its next login. Sessions that version 0.1.0 stored have no base URL and
/// belong to the client that loads them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSession {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    /// By this machine's clock. Only a hint: the server decides.
    pub(super) expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base_url: Option<String>,
    /// The login that began the session; nil in sessions that version 0.1.0 stored.
    #[serde(default)]
    pub(super) login: Uuid,
    /// How often the session was renewed since the login.
    #[serde(default)]
    pub(super) renewals: u64,
    /// The token by which the server knows this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) device_token: Option<String>,
}

impl StoredSession {
    /// The device token alone, after a logout. The empty tokens are what version 0.1.0 can read.
    pub(super) fn signed_out(base_url: &str, device_token: &str) -> Self {
        Self {
            access_token: String::new(),
            refresh_token: String::new(),
            expires_at: Timestamp::UNIX_EPOCH,
            base_url: Some(base_url.to_owned()),
            login: Uuid::nil(),
            renewals: 0,
            device_token: Some(device_token.to_owned()),
        }
    }

    /// Whether it contains the tokens of a session, and not only the device token, which is kept
    /// after a logout for the next login.
    pub fn is_signed_in(&self) -> bool {
        !self.access_token.is_empty()
    }

    /// The base URL of the client that stored the session. `None` if version 0.1.0 stored it.
    pub fn base_url(&self) -> Option<&str> {
        self.base_url.as_deref()
    }
}

impl fmt::Debug for StoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("base_url", &self.base_url)
            .field("is_signed_in", &self.is_signed_in())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Stores the session in a JSON file that only its owner can read. The file is replaced atomically
/// and synced, so that a crash leaves the old session or the new one.
///
/// Several clients and processes can share the file. They lock a second file, whose name is that of
/// the first with `.lock` added; it stays empty and is never removed. The lock is released when its
/// process ends, also if it is killed.
///
/// ```no_run
/// use shiori_sdk::{Client, FileTokenStore};
///
/// # fn main() -> shiori_sdk::Result<()> {
/// let client = Client::builder("https://diary.example.com")
///     .token_store(FileTokenStore::new("session.json"))
///     .build()?;
/// if !client.auth().is_signed_in() {
///     println!("please sign in");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FileTokenStore {
    path: PathBuf,
}

impl FileTokenStore {
    /// Stores the session in this file. Its directory must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file that is locked. Not the session itself, because that is replaced.
    fn lock_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        path.into()
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let directory = directory_of(&self.path);
        let temporary = directory.join(format!(".{}.tmp", Uuid::new_v4()));
        let written =
            write_synced(&temporary, content).and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        sync_directory(directory)
    }
}

impl TokenStore for FileTokenStore {
    fn load(&self) -> Result<Option<StoredSession>, Box<dyn error::Error + Send + Sync>> {
        match fs::read(&self.path) {
            // The error of serde is omitted because it may quote the file.
            Ok(json) => serde_json::from_slice(&json)
                .map(Some)
                .map_err(|_| "the file is not a valid session".into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn save(
        &self,
        session: Option<&StoredSession>,
    ) -> Result<(), Box<dyn error::Error + Send + Sync>> {
        match session {
            Some(session) => self.replace(&serde_json::to_vec(session)?)?,
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            },
        }
        Ok(())
    }

    fn try_lock(&self) -> Result<Option<StoreLock>, Box<dyn error::Error + Send + Sync>> {
        let file = private(OpenOptions::new().write(true).create(true)).open(self.lock_path())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(StoreLock::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = private(OpenOptions::new().write(true).create_new(true)).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
