//! Secrets, and the data directory that keeps them.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

/// A value that must not be seen. `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A new secret of 256 random bits.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    /// The secret itself. Keep it out of logs.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether the text is the secret, in a time that does not depend on where they differ.
    pub fn matches(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// The secret in this file; on first use a new one is made and kept there, readable by the
    /// owner alone.
    ///
    /// # Errors
    ///
    /// Any error of the file system; [`io::ErrorKind::InvalidData`] when the file is too short to
    /// be a secret.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
            other => other,
        }
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Makes the directory, readable by the owner alone, if there is none.
///
/// # Errors
///
/// Any error of the file system.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes the file, readable and writable by the owner alone, if there is none.
///
/// # Errors
///
/// Any error of the file system.
pub(crate) fn create_private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn read(path: &Path) -> io::Result<Secret> {
    /// Fewer characters than this are no secret but an accident, such as a half-written file.
    const MIN_CHARS: usize = 32;
    let mut text = String::new();
    fs::File::open(path)?.take(4096).read_to_string(&mut text)?;
    let text = text.trim();
    if text.len() < MIN_CHARS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too short to be a secret"));
    }
    Ok(Secret(text.to_owned()))
}

/// Writes the secret aside and links it into place: a reader sees a whole secret or none, and of
/// two processes that start at once both take the first one's.
fn create(path: &Path) -> io::Result<Secret> {
    let secret = Secret::random();
    let aside = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&aside)?;
    file.write_all(secret.0.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&aside, path);
    fs::remove_file(&aside)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error),
        Ok(()) => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_the_owner_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("deep/data");
        create_private_dir(&home).expect("made");
        let path = home.join("jwt.secret");
        let first = Secret::load_or_create(&path).expect("made");
        let second = Secret::load_or_create(&path).expect("read");
        assert!(first.matches(second.reveal()));
        assert!(!first.matches("guess"));
        assert!(!format!("{first:?}").contains(first.reveal()));
        assert_eq!(fs::read_dir(&home).expect("listed").count(), 1, "nothing is left beside it");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode =
                |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o600);
            assert_eq!(mode(&home), 0o700);
        }
    }

    #[test]
    fn half_a_secret_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("jwt.secret");
        fs::write(&path, "short").expect("written");
        let error = Secret::load_or_create(&path).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
