use std::fmt;

use serde::{Deserialize, Serialize};

use super::{SessionId, Timestamp, UserId};

/// A password on its way to the server. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = "password"))]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Characters a password has at least; a letter, a digit and a special character are among
    /// them.
    pub const MIN_CHARS: usize = 8;

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
