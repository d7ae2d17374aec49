use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::{
    SessionId, Timestamp, UserId,
    limits::MAX_NICKNAME_CHARS,
    text::{Size, is_control, is_invisible},
};

/// A password.
///
/// `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = "password"))]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Minimum length of a new password, in characters (Unicode scalar values, as NIST SP 800-63B
    /// counts them) of its [prepared](Self::prepared) form.
    pub const MIN_CHARS: usize = 8;

    /// Maximum length of a new password, in characters (Unicode scalar values) of its
    /// [prepared](Self::prepared) form.
    pub const MAX_CHARS: usize = 128;

    /// The password itself. Keep it out of logs.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The form in which passwords are compared, hashed and measured: every kind of space is
    /// U+0020, and the text is in NFC. So it makes no difference whether a system enters 한 or é as
    /// one code point or as several.
    ///
    /// This is the preparation of RFC 8265, section 4.2 (`OpaqueString`), without its table of
    /// allowed characters, which would reject some existing passwords. Nothing is trimmed, and
    /// letter case is kept.
    pub fn prepared(&self) -> Self {
        let spaces = self.0.chars().map(|c| if is_space(c) { ' ' } else { c });
        Self(spaces.nfc().collect())
    }

    /// Checks the rule for new passwords, on the [prepared](Self::prepared) form:
    /// [`MIN_CHARS`](Self::MIN_CHARS) to [`MAX_CHARS`](Self::MAX_CHARS) characters with a letter, a
    /// digit and a special character.
    ///
    /// Letters and digits may be of any script. A special character is one that is not
    /// alphanumeric, white space or a control character.
    ///
    /// # Errors
    ///
    /// [`WeakPassword`] if the password breaks the rule.
    pub fn check(&self) -> Result<(), WeakPassword> {
        let Self(text) = self.prepared();
        let has = |kind: fn(char) -> bool| text.chars().any(kind);
        match text.chars().count() {
            ..Self::MIN_CHARS => Err(WeakPassword::TooShort),
            chars if chars > Self::MAX_CHARS => Err(WeakPassword::TooLong),
            _ if !has(char::is_alphabetic) => Err(WeakPassword::NoLetter),
            _ if !has(char::is_numeric) => Err(WeakPassword::NoDigit),
            _ if !has(is_special) => Err(WeakPassword::NoSpecial),
            _ => Ok(()),
        }
    }
}

/// The spaces other than U+0020 (category Zs).
fn is_space(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
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
    /// The e-mail address, at most 254 characters, not case-sensitive.
    ///
    /// See [`Email::for_new_account`](super::Email::for_new_account).
    #[cfg_attr(feature = "openapi", schema(format = "email", max_length = 254))]
    pub email: String,
    /// 8 to 128 characters (code points after NFC) with a letter, a digit and a special character.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "password", min_length = 8))]
    pub password: Password,
    /// The display name: 1 to 30 characters as users see them (extended grapheme clusters after NFC)
    /// in at most 1200 bytes of UTF-8, at least one of them visible, without control characters.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 1200))]
    pub nickname: String,
    /// The invitation code, if the server requires one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation_code: Option<InvitationCode>,
}

/// An invitation code of a server that accepts new accounts only with one.
///
/// `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
#[serde(transparent)]
pub struct InvitationCode(String);

impl InvitationCode {
    /// The code itself. Keep it out of logs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for InvitationCode {
    fn from(code: T) -> Self {
        Self(code.into())
    }
}

impl fmt::Debug for InvitationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationCode(…)")
    }
}

/// Checks the rule for nicknames: 1 to [`MAX_NICKNAME_CHARS`](super::MAX_NICKNAME_CHARS) characters
/// as users see them, with at most [`MAX_BYTES_PER_CHAR`](super::limits::MAX_BYTES_PER_CHAR) bytes
/// each on average; no control characters, U+2028 or U+2029; and at least one visible character.
///
/// # Errors
///
/// [`InvalidNickname`] if the nickname breaks the rule.
pub fn check_nickname(nickname: &str) -> Result<(), InvalidNickname> {
    match Size::of(nickname, MAX_NICKNAME_CHARS) {
        _ if nickname.is_empty() => Err(InvalidNickname::Length),
        Size::TooManyCharacters => Err(InvalidNickname::Length),
        Size::TooManyBytes => Err(InvalidNickname::TooManyBytes),
        Size::Fits if nickname.contains(is_control) => Err(InvalidNickname::ControlCharacter),
        Size::Fits if nickname.chars().all(is_invisible) => Err(InvalidNickname::Blank),
        Size::Fits => Ok(()),
    }
}

/// A nickname breaks the rule of [`check_nickname`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidNickname {
    /// It is empty or has more than [`MAX_NICKNAME_CHARS`](super::MAX_NICKNAME_CHARS) characters.
    Length,
    /// It has too many bytes for the permitted number of characters.
    TooManyBytes,
    /// It contains a control character.
    ControlCharacter,
    /// It has no visible character.
    Blank,
}

impl InvalidNickname {
    /// The name of the broken rule, as in `data.rule` of a 422 `invalid_request`.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Length => "1_to_30_characters",
            Self::TooManyBytes => "at_most_1200_bytes",
            Self::ControlCharacter => "no_control_characters",
            Self::Blank => "not_blank",
        }
    }
}

impl fmt::Display for InvalidNickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the nickname is empty or too long",
            Self::TooManyBytes => "the nickname has too many bytes",
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

/// The caller's account: `data` of the response to `GET` and `PATCH /api/user`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountInfo {
    /// The id of the user.
    pub user_id: UserId,
    /// The e-mail address, in lower case.
    pub email: String,
    /// The display name.
    pub nickname: String,
    /// When the account was created.
    pub created_at: Timestamp,
}

/// The body of `PATCH /api/user`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountChange {
    /// The new display name, under the rule of signups.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 1200))]
    pub nickname: String,
}

/// The body of `POST /api/user/password`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PasswordChange {
    /// The current password.
    pub password: Password,
    /// 8 to 128 characters (code points after NFC) with a letter, a digit and a special character.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "password", min_length = 8))]
    pub new_password: Password,
}

/// The body of `DELETE /api/user`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PasswordCheck {
    /// The password of the account.
    pub password: Password,
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

/// `data` of the response to a login or a refresh.
///
/// `Debug` does not show the token.
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

/// The body of `POST /api/auth/refresh`.
///
/// `Debug` does not show the token.
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

/// The body of `POST /api/auth/verify`.
///
/// `Debug` does not show the token.
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
    /// The session's id.
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
    use super::{super::limits::MAX_BYTES_PER_CHAR, *};

    #[test]
    fn debug_shows_no_secret() {
        let account = NewAccount {
            invitation_code: None,
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
    fn a_password_is_the_same_in_every_normal_form() {
        let composed = Password::from("한글-é1!");
        let decomposed =
            Password::from("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}-e\u{301}1!");
        assert_ne!(composed, decomposed);
        assert_eq!(decomposed.prepared(), composed);
        assert_eq!(composed.prepared(), composed);
        // Both forms count as six characters, two too few.
        assert_eq!(
            (composed.check(), decomposed.check()),
            (Err(WeakPassword::TooShort), Err(WeakPassword::TooShort))
        );
        for password in [composed, decomposed] {
            assert_eq!(Password::from(format!("{}ab", password.reveal())).check(), Ok(()));
        }
        // A combining mark that NFC composes with its letter is not a special character.
        assert_eq!(Password::from("sesame\u{301}77").check(), Err(WeakPassword::NoSpecial));
        for space in ["\u{a0}", "\u{2003}", "\u{202f}", "\u{3000}"] {
            let typed = Password::from(format!(" Open{space}Sesame-7 "));
            assert_eq!(typed.prepared().reveal(), " Open Sesame-7 ");
        }
        // Compatibility forms and letter case are kept, and nothing is removed.
        for text in ["ﬁ-Ⅳ-Ａ-ﾊﾝ", "a\u{200b}b\tc\u{1f600}", "İI"] {
            assert_eq!(Password::from(text).prepared().reveal(), text);
        }
        let longest = format!("a1-{}", "é".repeat(Password::MAX_CHARS - 3));
        let longest: String = longest.nfd().collect();
        assert!(longest.chars().count() > Password::MAX_CHARS);
        assert_eq!(Password::from(longest).check(), Ok(()));
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
            ("\u{200b}\u{200d}", Err(InvalidNickname::Blank)),
            ("\u{202e}\u{2066} \u{2069}", Err(InvalidNickname::Blank)),
            ("\u{feff}", Err(InvalidNickname::Blank)),
            ("\u{3164}\u{115f}\u{ffa0}", Err(InvalidNickname::Blank)),
            ("\u{2800}\u{ad}\u{fe0f}", Err(InvalidNickname::Blank)),
            ("\u{e0041}\u{e007f}", Err(InvalidNickname::Blank)),
            ("\u{202e}하루", Ok(())),
            (&"👨‍👩‍👧‍👦".repeat(MAX_NICKNAME_CHARS), Ok(())),
            (&"\u{1103}\u{1161}\u{11af}".repeat(MAX_NICKNAME_CHARS), Ok(())),
            (&format!("하{}", "\u{301}".repeat(600)), Err(InvalidNickname::TooManyBytes)),
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
            (InvalidNickname::TooManyBytes.rule(), MAX_NICKNAME_CHARS * MAX_BYTES_PER_CHAR),
        ] {
            assert!(rule.contains(&format!("_{limit}_")), "{rule}: {limit}");
        }
    }
}
