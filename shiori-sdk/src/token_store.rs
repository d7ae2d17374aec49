//! Where a session is kept over restarts.

use std::{
    error, fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Keeps a client's session over restarts: in a file, a key chain, a database.
///
/// A store belongs to one client at a time. Refresh tokens are used once; of two clients that work
/// with the same one, the slower is taken for a thief, and both are signed out.
///
/// The SDK calls `load` once, when the client is built, and `keep` on a thread where it may block,
/// after every login, renewal and logout; one call at a time.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// The session that was kept last, if any.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being read; the client is not built then.
    fn load(&self) -> Result<Option<StoredSession>, Box<dyn error::Error + Send + Sync>>;

    /// Keeps this session in the place of the one before, or with `None` forgets it. When it
    /// returns, a crash must not bring the old one back.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being stored. A login tells it to its caller; a renewal goes on
    /// without, and logs it.
    fn keep(
        &self,
        session: Option<&StoredSession>,
    ) -> Result<(), Box<dyn error::Error + Send + Sync>>;
}

/// A session as a [`TokenStore`] keeps it. It holds secrets: whoever has it is signed in. `Debug`
/// does not show them, serialising does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSession {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    /// By the clock of this machine; a hint, for the server has the last word.
    pub(crate) expires_at: Timestamp,
}

impl fmt::Debug for StoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Keeps the session in a file as JSON, readable by its owner alone. The file is replaced as a
/// whole and synced, so a crash leaves the old one or the new one.
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
    /// Keeps the session in this file; its directory has to be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let draft = directory.join(format!(".{}.tmp", Uuid::new_v4()));
        let written = write_synced(&draft, content).and_then(|()| fs::rename(&draft, &self.path));
        if let Err(error) = written {
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        sync_directory(directory)
    }
}

impl TokenStore for FileTokenStore {
    fn load(&self) -> Result<Option<StoredSession>, Box<dyn error::Error + Send + Sync>> {
        match fs::read(&self.path) {
            // The reason is left out: it could quote what stands in the file.
            Ok(json) => serde_json::from_slice(&json)
                .map(Some)
                .map_err(|_| "the file holds no session".into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn keep(
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

/// Only Unix lets a directory be opened, and needs it for the rename to last.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
