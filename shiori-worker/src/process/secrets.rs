use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::Secret;

/// The secrets in `compose.yaml`, which everybody knows.
const EXAMPLES: [&str; 2] = ["only-for-trying-out-not-for-diaries", "only-for-trying-out"];

/// Whether everybody knows the secret, or it has fewer than 8 different characters. A random one of
/// 16 hexadecimal digits almost never has so few.
pub fn is_guessable(secret: &Secret) -> bool {
    let different: BTreeSet<char> = secret.reveal().chars().collect();
    EXAMPLES.contains(&secret.reveal()) || different.len() < 8
}

/// The largest file that is read as a secret. URLs and lists of invitation codes are far smaller.
const MAX_BYTES: u64 = 64 << 10;

/// A secret could not be read from its file. The error contains nothing of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// The setting and the setting of its file are both set.
    #[error("the settings {name} and {name}_file are both set; remove one")]
    Both {
        /// The setting of the secret.
        name: &'static str,
    },
    /// The file cannot be read, is empty, or is not text.
    #[error("could not read the file of the setting {name}_file, {path}")]
    Read {
        /// The setting of the secret.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The secret of the setting `name`, or the text of the file that `{name}_file` names, without its
/// line breaks at the end. Compose files pass unset variables as empty strings, so an empty path is
/// none.
///
/// # Errors
///
/// [`SecretFileError`] if both are given or the file cannot be read.
pub fn secret_or_file(
    name: &'static str,
    secret: Option<Secret>,
    file: Option<PathBuf>,
) -> Result<Option<Secret>, SecretFileError> {
    let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) else { return Ok(secret) };
    if secret.is_some_and(|secret| !secret.reveal().is_empty()) {
        return Err(SecretFileError::Both { name });
    }
    match read(&path) {
        Ok(secret) => Ok(Some(secret)),
        Err(source) => Err(SecretFileError::Read { name, path, source }),
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    let invalid = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|bytes| bytes > MAX_BYTES) {
        return Err(invalid("it is larger than 64 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(invalid("it is empty")) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, fs};

    use super::*;

    #[test]
    fn a_secret_is_read_from_its_file_without_the_line_break() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        let read = || secret_or_file("jwt_secret", None, Some(path.clone()));
        for (text, secret) in
            [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), (" a b\r\n", " a b")]
        {
            fs::write(&path, text).expect("written");
            let found = read().expect("readable").expect("set");
            assert_eq!(found.reveal(), secret, "{text:?}");
        }
        let given = secret_or_file("jwt_secret", Some("given".into()), Some(PathBuf::new()));
        assert_eq!(given.expect("no file").expect("set").reveal(), "given");
        let empty = secret_or_file("jwt_secret", Some("".into()), Some(path.clone()));
        assert_eq!(empty.expect("readable").expect("set").reveal(), " a b");
        assert!(secret_or_file("jwt_secret", None, None).expect("none").is_none());
    }

    #[test]
    fn errors_name_the_setting_and_show_nothing_of_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        let text = |secret: Option<Secret>| {
            let error =
                secret_or_file("jwt_secret", secret, Some(path.clone())).expect_err("fails");
            format!("{error}: {:?} {error:?}", error.source().map(ToString::to_string))
        };
        assert!(text(None).contains("jwt_secret_file"), "a missing file");
        for content in [&b"hunter2\xff"[..], b"", b"\n", &b"hunter2".repeat(10_000)] {
            fs::write(&path, content).expect("written");
            let text = text(None);
            assert!(text.contains("jwt_secret_file") && !text.contains("hunter2"), "{text}");
        }
        let both = text(Some("hunter2".into()));
        assert!(both.contains("both set") && !both.contains("hunter2"), "{both}");
    }
}
