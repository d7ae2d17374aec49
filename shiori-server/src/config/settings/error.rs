use std::{io, path::PathBuf};

use shiori_worker::SecretFileError;

/// Invalid settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read the settings file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is invalid.
    #[error("invalid settings file {path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The error, without values of the file.
        reason: String,
    },
    /// A value is out of range.
    #[error("the setting {name} must be {rule}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// The rule that it must satisfy.
        rule: &'static str,
    },
    /// A required setting is missing.
    #[error("the setting {name} is required: {reason}")]
    Required {
        /// The setting.
        name: &'static str,
        /// Why it is required.
        reason: &'static str,
    },
    /// A secret cannot be read from its file.
    #[error(transparent)]
    SecretFile(#[from] SecretFileError),
    /// The data directory cannot be used.
    #[error("could not use the data directory {path}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
