use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

use super::{SessionId, Timestamp, UserId};

/// A password on its way to the server. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = "password"))]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// The fewest characters (Unicode scalar values) of a new password.
    pub const MIN_CHARS: usize = 8;

    /// The most characters of a new password.
    pub const MAX_CHARS: usize = 128;

    /// Checks the rule for new passwords: [`Password::MIN_CHARS`] to [`Password::MAX_CHARS`]
    /// characters, among them a letter, a digit and a special character. Letters and digits of
    /// every script count. A character that is neither, and neither white space nor a control
    /// character, is special.
    ///
    /// # Errors
    ///
    /// [`WeakPassword`] names the first part of the rule that is broken.
    pub fn check(&self) -> Result<(), WeakPassword> {
        let is_special = |c: char| !(c.is_alphanumeric() || c.is_whitespace() || c.is_control());
        match self.0.chars().count() {
            ..Self::MIN_CHARS => Err(WeakPassword::TooShort),
            chars if chars > Self::MAX_CHARS => Err(WeakPassword::TooLong),
            _ if !self.0.contains(char::is_alphabetic) => Err(WeakPassword::NoLetter),
            _ if !self.0.contains(char::is_numeric) => Err(WeakPassword::NoDigit),
            _ if !self.0.contains(is_special) => Err(WeakPassword::NoSpecial),
            _ => Ok(()),
        }
    }

    /// The password itself. Keep it out of logs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Password {
    fn from(password: T) -> Self {
        Self(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The part of the password rule that a new password breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeakPassword {
    /// It has fewer than [`Password::MIN_CHARS`] characters.
    TooShort,
    /// It has more than [`Password::MAX_CHARS`] characters.
    TooLong,
    /// It has no letter.
    NoLetter,
    /// It has no digit.
    NoDigit,
    /// It has no special character.
    NoSpecial,
}

impl WeakPassword {
    /// The rule's name in the data of an `invalid_request` error.
    pub fn rule(self) -> &'static str {
        match self {
            Self::TooShort => "at_least_8_characters",
            Self::TooLong => "at_most_128_characters",
            Self::NoLetter => "a_letter",
            Self::NoDigit => "a_digit",
            Self::NoSpecial => "a_special_character",
        }
    }
}

impl fmt::Display for WeakPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "the password is too short",
            Self::TooLong => "the password is too long",
            Self::NoLetter => "the password has no letter",
            Self::NoDigit => "the password has no digit",
            Self::NoSpecial => "the password has no special character",
        })
    }
}

impl Error for WeakPassword {}

/// The most characters (Unicode scalar values) of a nickname.
pub const MAX_NICKNAME_CHARS: usize = 30;

/// Checks the rule for nicknames: 1 to [`MAX_NICKNAME_CHARS`] characters, no control characters,
/// not only white space.
///
/// # Errors
///
/// [`InvalidNickname`] names the part of the rule that is broken.
pub fn check_nickname(nickname: &str) -> Result<(), InvalidNickname> {
    match nickname.chars().count() {
        1..=MAX_NICKNAME_CHARS if nickname.contains(char::is_control) => {
            Err(InvalidNickname::ControlCharacter)
        }
        1..=MAX_NICKNAME_CHARS if nickname.trim().is_empty() => Err(InvalidNickname::Blank),
        1..=MAX_NICKNAME_CHARS => Ok(()),
        _ => Err(InvalidNickname::Length),
    }
}

/// The part of the nickname rule that a nickname breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidNickname {
    /// It is empty, or has more than [`MAX_NICKNAME_CHARS`] characters.
    Length,
    /// It has a control character.
    ControlCharacter,
    /// It has nothing but white space.
    Blank,
}

impl InvalidNickname {
    /// The rule's name in the data of an `invalid_request` error.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Length => "1_to_30_characters",
            Self::ControlCharacter => "no_control_characters",
            Self::Blank => "not_blank",
        }
    }
}

impl fmt::Display for InvalidNickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the nickname is empty or too long",
            Self::ControlCharacter => "the nickname has a control character",
            Self::Blank => "the nickname has nothing but white space",
        })
    }
}

impl Error for InvalidNickname {}

/// The body of `POST /api/user/signup`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewAccount {
    /// The e-mail address, at most 254 characters; letter case makes no difference.
    pub email: String,
    /// At least 8 characters with a letter, a digit and a special character; at most 128.
    pub password: Password,
    /// What to call the person, 1 to 30 characters.
    pub nickname: String,
}

/// The answer to a signup.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedUp {
    /// The new account.
    pub user_id: UserId,
}

/// The body of `POST /api/user/login`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Credentials {
    /// The e-mail address; letter case makes no difference.
    pub email: String,
    /// The password.
    pub password: Password,
}

/// The answer to a login or a refresh. `Debug` does not show the token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessToken {
    /// The access token, for `Authorization: Bearer`.
    pub token: String,
    /// Seconds until it expires, counted from the answer.
    pub expires_in: u64,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// The body of `POST /api/auth/refresh`. `Debug` does not show the token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefreshRequest {
    /// The access token of the session; it may be expired.
    pub access_token: String,
}

impl fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshRequest(…)")
    }
}

/// The body of `POST /api/auth/verify`. `Debug` does not show the token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerifyRequest {
    /// The access token to check.
    pub access_token: String,
}

impl fmt::Debug for VerifyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyRequest(…)")
    }
}

/// One device's signed-in session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// Names the session, for signing it out.
    pub id: SessionId,
    /// When the device signed in.
    pub created_at: Timestamp,
    /// When the device was last heard of, to about a minute.
    pub last_seen_at: Timestamp,
    /// What the device called itself, if it did.
    pub user_agent: Option<String>,
    /// Whether this is the session that asks.
    pub current: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let account = NewAccount {
            email: "a@example.com".into(),
            password: "sesame-1".into(),
            nickname: "a".into(),
        };
        let token = AccessToken { token: "sesame".into(), expires_in: 900 };
        let refresh = RefreshRequest { access_token: "sesame".into() };
        let verify = VerifyRequest { access_token: "sesame".into() };
        assert!(!format!("{account:?}{token:?}{refresh:?}{verify:?}").contains("sesame"));
    }
}
