//! A session's tokens: read from a response, restored from a store, and when to renew them.

use std::{sync::Arc, time::Duration};

use reqwest::header::{HeaderMap, SET_COOKIE};
use tokio::time::Instant;
use uuid::Uuid;

use super::token_store::StoredSession;
use crate::{
    transport::{
        deadline,
        error::{Error, ErrorKind, Result},
        request::Response,
    },
    types::{AccessToken, Timestamp},
};

/// How long before its expiry an access token is renewed. Less if its lifetime is short.
const RENEWAL_MARGIN: Duration = Duration::from_secs(60);

/// Upper bound of the lifetime that a response may state.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// The name of the refresh token's cookie.
pub(super) const REFRESH_COOKIE: &str = "refresh_token";

/// The name of the cookie by which a server knows the device of a login.
pub(super) const DEVICE_COOKIE: &str = "device";

#[derive(Clone)]
pub(super) struct Tokens {
    pub(super) access: Arc<str>,
    pub(super) refresh: Arc<str>,
    /// When to renew the access token, which is before it expires.
    pub(super) renew_at: Instant,
    /// By this machine's clock; only for the store.
    expires_at: Timestamp,
    /// The login that began the session, of this client or of another one that shares its store.
    pub(super) login: Uuid,
    /// How often the session was renewed since the login.
    pub(super) renewals: u64,
    /// Whether this client received the tokens from the server, rather than from its store.
    pub(super) is_received: bool,
}

impl Tokens {
    pub(super) fn from_response(response: &Response) -> Result<Self> {
        let access: AccessToken = response.data()?;
        let refresh = refresh_cookie(&response.headers)
            .ok_or_else(|| Error::new(ErrorKind::InvalidResponse))?;
        // From the lifetime in the response, not the expiry in the token, because clocks differ.
        let lifetime = Duration::from_secs(access.expires_in).min(MAX_LIFETIME);
        let margin = RENEWAL_MARGIN.min(lifetime / 5);
        Ok(Self {
            access: access.token.into(),
            refresh: refresh.into(),
            renew_at: deadline::after(lifetime.saturating_sub(margin)),
            expires_at: Timestamp::now() + lifetime,
            login: Uuid::new_v4(),
            renewals: 0,
            is_received: true,
        })
    }

    pub(super) fn restore(stored: StoredSession) -> Self {
        let remaining = stored.expires_at.duration_since(Timestamp::now()).min(MAX_LIFETIME);
        Self {
            access: stored.access_token.into(),
            refresh: stored.refresh_token.into(),
            renew_at: deadline::after(remaining.saturating_sub(RENEWAL_MARGIN)),
            expires_at: stored.expires_at,
            login: stored.login,
            renewals: stored.renewals,
            is_received: false,
        }
    }

    /// The same tokens as the renewal of these.
    pub(super) fn renewing(self, replaced: &Self) -> Self {
        Self { login: replaced.login, renewals: replaced.renewals + 1, ..self }
    }

    pub(super) fn to_stored(&self, base_url: &str, device_token: Option<&str>) -> StoredSession {
        StoredSession {
            access_token: self.access.to_string(),
            refresh_token: self.refresh.to_string(),
            expires_at: self.expires_at,
            base_url: Some(base_url.to_owned()),
            login: self.login,
            renewals: self.renewals,
            device_token: device_token.map(str::to_owned),
        }
    }
}

/// The refresh token in the response's cookies.
pub(crate) fn refresh_cookie(headers: &HeaderMap) -> Option<String> {
    find_cookie(headers, REFRESH_COOKIE)
}

/// The value of a cookie in the response; `None` if it is empty.
pub(super) fn find_cookie(headers: &HeaderMap, expected: &str) -> Option<String> {
    let cookies = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = cookies.filter_map(|cookie| {
        let (name, value) = cookie.split(';').next()?.split_once('=')?;
        (name.trim() == expected).then(|| unquoted(value.trim()).to_owned())
    });
    values.next().filter(|value| !value.is_empty())
}

/// The value without the quotes around it (RFC 6265, section 4.1.1).
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).map_or(value, str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refresh_token_is_found_among_cookies() {
        let cookie = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SET_COOKIE, value.parse().expect("a header"));
            }
            refresh_cookie(&headers)
        };
        let found = cookie(&["a=b; Path=/", "refresh_token=x=y; HttpOnly; Path=/api/auth"]);
        assert_eq!(found.as_deref(), Some("x=y"));
        assert_eq!(cookie(&["refresh_token = \"abc\" ; Path=/"]).as_deref(), Some("abc"));
        assert_eq!(cookie(&["refresh_token=\" a\"b"]).as_deref(), Some("\" a\"b"));
        assert_eq!(cookie(&["refresh_token=\"\""]), None);
        assert_eq!(cookie(&["refresh_token=; Max-Age=0"]), None);
        assert_eq!(cookie(&["refresh_tokens=no", "garbage"]), None);
    }

    #[test]
    fn an_expiry_in_the_far_future_does_not_panic() {
        let stored = StoredSession {
            access_token: "access".into(),
            refresh_token: "refresh".into(),
            expires_at: Timestamp::from_millis(i64::MAX),
            base_url: None,
            login: Uuid::nil(),
            renewals: 0,
            device_token: None,
        };
        assert!(Tokens::restore(stored).renew_at > deadline::after(MAX_LIFETIME / 2));
    }
}
