//! Generated secrets, and private files.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use shiori_worker::Secret;
use subtle::ConstantTimeEq;

/// A new secret of 256 random bits.
fn random() -> Secret {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()).into()
}

/// Whether the text equals the secret, in constant time.
pub(crate) fn matches(secret: &Secret, text: &str) -> bool {
    secret.reveal().as_bytes().ct_eq(text.as_bytes()).into()
}

/// Reads the secret in this file, or creates it, readable only by the owner.
///
/// # Errors
///
/// Any error of the file system; [`io::ErrorKind::InvalidData`] if the file is too short to be a
/// secret.
pub(crate) fn load_or_create(path: &Path) -> io::Result<Secret> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        other => other,
    }
}

/// Creates the directory if missing, accessible only by the owner.
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

/// Creates the file if missing, accessible only by the owner.
///
/// # Errors
///
/// Any error of the file system.
#[cfg(feature = "embedded")]
pub(crate) fn create_private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn read(path: &Path) -> io::Result<Secret> {
    /// A shorter file is an error; it may be a partial write.
    const MIN_CHARS: usize = 32;
    let mut text = String::new();
    fs::File::open(path)?.take(4096).read_to_string(&mut text)?;
    let text = text.trim();
    if text.len() < MIN_CHARS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too short to be a secret"));
    }
    Ok(text.into())
}

/// Writes a temporary file and links it to the final path: readers find a complete secret or none,
/// and processes that start concurrently use the same secret.
fn create(path: &Path) -> io::Result<Secret> {
    let secret = random();
    let temporary = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(secret.reveal().as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
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
    fn a_secret_is_created_once_and_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("deep/data");
        create_private_dir(&home).expect("made");
        let path = home.join("jwt.secret");
        let first = load_or_create(&path).expect("made");
        let second = load_or_create(&path).expect("read");
        assert!(matches(&first, second.reveal()));
        assert!(!matches(&first, "guess"));
        assert!(!format!("{first:?}").contains(first.reveal()));
        assert_eq!(fs::read_dir(&home).expect("listed").count(), 1, "no temporary file is left");
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
    fn a_partial_secret_is_rejected() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("jwt.secret");
        fs::write(&path, "short").expect("written");
        let error = load_or_create(&path).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
