use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

use super::{SessionId, Timestamp, UserId, limits::MAX_NICKNAME_CHARS};

/// A password. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = "password"))]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Minimum length of a new password, in characters (Unicode scalar values).
    pub const MIN_CHARS: usize = 8;

    /// Maximum length of a new password, in characters (Unicode scalar values).
    pub const MAX_CHARS: usize = 128;

    /// The password itself. Keep it out of logs.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Checks the rule for new passwords: [`MIN_CHARS`](Self::MIN_CHARS) to
    /// [`MAX_CHARS`](Self::MAX_CHARS) characters with a letter, a digit and a special character.
    ///
    /// Letters and digits may be of any script. Every character is special that is not
    /// alphanumeric, white space or a control character.
    ///
    /// # Errors
    ///
    /// [`WeakPassword`] if the password breaks the rule.
    pub fn check(&self) -> Result<(), WeakPassword> {
        let has = |kind: fn(char) -> bool| self.0.chars().any(kind);
        match self.0.chars().count() {
            ..Self::MIN_CHARS => Err(WeakPassword::TooShort),
            chars if chars > Self::MAX_CHARS => Err(WeakPassword::TooLong),
            _ if !has(char::is_alphabetic) => Err(WeakPassword::NoLetter),
            _ if !has(char::is_numeric) => Err(WeakPassword::NoDigit),
            _ if !has(is_special) => Err(WeakPassword::NoSpecial),
            _ => Ok(()),
        }
    }
}

fn is_special(c: char) -> bool {
    !(c.is_alphanumeric() || c.is_whitespace() || c.is_control())
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

/// A new password breaks the rule of [`Password::check`].
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
    /// The name of the broken rule, as in `data.rule` of a 422 `invalid_request`.
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

/// The body of `POST /api/user/signup`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewAccount {
    /// The e-mail address, at most 254 characters, not case-sensitive; see
    /// [`Email`](super::Email).
    pub email: String,
    /// At least 8 characters with a letter, a digit and a special character; at most 128.
    pub password: Password,
    /// The display name, 1 to 30 characters, not blank and without control characters.
    pub nickname: String,
}

/// Checks the rule for nicknames: 1 to [`MAX_NICKNAME_CHARS`] characters, not blank, no control
/// characters.
///
/// # Errors
///
/// [`InvalidNickname`] if the nickname breaks the rule.
pub fn check_nickname(nickname: &str) -> Result<(), InvalidNickname> {
    match nickname.chars().count() {
        0 => Err(InvalidNickname::Length),
        chars if chars > MAX_NICKNAME_CHARS => Err(InvalidNickname::Length),
        _ if nickname.contains(is_control) => Err(InvalidNickname::ControlCharacter),
        _ if nickname.trim().is_empty() => Err(InvalidNickname::Blank),
        _ => Ok(()),
    }
}

/// Whether a character has no place in a line of text: the control characters (category Cc), and the
/// separators of lines and paragraphs.
pub(super) fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A nickname breaks the rule of [`check_nickname`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidNickname {
    /// It is empty or has more than [`MAX_NICKNAME_CHARS`] characters.
    Length,
    /// It contains a control character.
    ControlCharacter,
    /// It is white space only.
    Blank,
}

impl InvalidNickname {
    /// The name of the broken rule, as in `data.rule` of a 422 `invalid_request`.
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
            Self::ControlCharacter => "the nickname contains a control character",
            Self::Blank => "the nickname is blank",
        })
    }
}

impl Error for InvalidNickname {}

/// `data` of the response to a signup.
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
    /// The e-mail address, not case-sensitive.
    pub email: String,
    /// The password.
    pub password: Password,
}

/// `data` of the response to a login or a refresh. `Debug` does not show the token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessToken {
    /// The access token, for `Authorization: Bearer`.
    pub token: String,
    /// Seconds until it expires, counted from the response.
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
    /// The session's id, to revoke it with.
    pub id: SessionId,
    /// When the device signed in.
    pub created_at: Timestamp,
    /// When the session was last used, with a precision of about a minute.
    pub last_seen_at: Timestamp,
    /// The device's `User-Agent` at the login, if it sent one.
    pub user_agent: Option<String>,
    /// Whether this is the session of the request.
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

    #[test]
    fn a_new_password_is_checked_rule_by_rule() {
        let longest = format!("a1-{}", "x".repeat(Password::MAX_CHARS - 3));
        let too_long = format!("{longest}x");
        for (text, expected) in [
            ("sesame-7", Ok(())),
            ("비밀번호열려라1!", Ok(())),
            ("sésame✨7", Ok(())),
            (&longest, Ok(())),
            ("", Err(WeakPassword::TooShort)),
            ("seame-7", Err(WeakPassword::TooShort)),
            // Characters are counted, not bytes.
            ("열려라참깨1!", Err(WeakPassword::TooShort)),
            (&too_long, Err(WeakPassword::TooLong)),
            ("1234567-", Err(WeakPassword::NoLetter)),
            ("sesame-x", Err(WeakPassword::NoDigit)),
            ("sesame77", Err(WeakPassword::NoSpecial)),
            ("sesame 77\u{7}", Err(WeakPassword::NoSpecial)),
        ] {
            assert_eq!(Password::from(text).check(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_nickname_is_checked_rule_by_rule() {
        let longest = "밤".repeat(MAX_NICKNAME_CHARS);
        let too_long = format!("{longest}밤");
        for (nickname, expected) in [
            ("하루", Ok(())),
            (&longest, Ok(())),
            ("", Err(InvalidNickname::Length)),
            (&too_long, Err(InvalidNickname::Length)),
            ("하\u{0}루", Err(InvalidNickname::ControlCharacter)),
            ("하\u{85}루", Err(InvalidNickname::ControlCharacter)),
            ("하\u{2028}루", Err(InvalidNickname::ControlCharacter)),
            (" \u{3000}", Err(InvalidNickname::Blank)),
        ] {
            assert_eq!(check_nickname(nickname), expected, "{nickname:?}");
        }
    }

    #[test]
    fn rule_names_contain_the_limits() {
        for (rule, limit) in [
            (WeakPassword::TooShort.rule(), Password::MIN_CHARS),
            (WeakPassword::TooLong.rule(), Password::MAX_CHARS),
            (InvalidNickname::Length.rule(), MAX_NICKNAME_CHARS),
        ] {
            assert!(rule.contains(&format!("_{limit}_")), "{rule}: {limit}");
        }
    }
}
