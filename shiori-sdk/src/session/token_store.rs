//! Stores of sessions.

use std::{
    error, fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::types::Timestamp;

/// Stores a client's session, for example in a file, a key chain or a database, so that it survives
/// restarts.
///
/// Use a store with one client at a time. Refresh tokens are used once; if two clients use the same
/// one, the server treats it as stolen and ends the session.
///
/// The SDK calls `load` once, when the client is built, and `save` after every login, renewal and
/// logout. It makes one call at a time, on a thread that may block.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// The session that was stored last, if any.
    ///
    /// # Errors
    ///
    /// Any error; building the client then fails.
    fn load(&self) -> Result<Option<StoredSession>, Box<dyn error::Error + Send + Sync>>;

    /// Replaces the stored session; `None` removes it. The change must be durable when this
    /// returns.
    ///
    /// # Errors
    ///
    /// Any error. A login returns it to its caller; a renewal logs it and succeeds.
    fn save(
        &self,
        session: Option<&StoredSession>,
    ) -> Result<(), Box<dyn error::Error + Send + Sync>>;
}

/// A session in a [`TokenStore`]. Its serialised form contains the tokens, which grant access to the
/// account; `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSession {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    /// By this machine's clock. Only a hint: the server decides.
    pub(super) expires_at: Timestamp,
}

impl fmt::Debug for StoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Stores the session in a JSON file that only its owner can read. The file is replaced atomically
/// and synced, so that a crash leaves the old session or the new one.
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

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
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
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// On Unix, the rename is durable only after the directory is synced. On other systems, a directory
/// cannot be opened as a file.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
