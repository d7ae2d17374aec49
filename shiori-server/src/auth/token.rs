use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use shiori_sdk::{SessionId, Timestamp, UserId};
use shiori_worker::Secret;
use uuid::Uuid;

use super::{
    device::DeviceClaims,
    hs256::{self, HmacSha256},
};

/// The keys of all tokens. `Debug` does not show them.
///
/// An access token is a JWT. A refresh token is opaque: the user, the session, the generation, and
/// a tag over them. Stores contain only the generation, so a stolen database contains no token, and
/// a token whose response was lost can be derived again.
#[derive(Clone)]
pub(crate) struct TokenKeys {
    /// Signs all tokens.
    current: Keys,
    /// The tokens that it signed are accepted, too.
    previous: Option<Keys>,
    validation: Validation,
}

/// The keys of one secret: one per kind of token, so that no kind is accepted as another.
#[derive(Clone)]
struct Keys {
    signing: EncodingKey,
    verifying: DecodingKey,
    refresh: HmacSha256,
    device: HmacSha256,
}

impl Keys {
    fn derive(secret: &Secret) -> Self {
        let root = HmacSha256::new(secret.reveal().as_bytes());
        let access = root.sign(b"shiori access token 1");
        let key = |kind: &[u8]| HmacSha256::new(&root.sign(kind));
        Self {
            signing: EncodingKey::from_secret(&access),
            verifying: DecodingKey::from_secret(&access),
            refresh: key(b"shiori refresh token 1"),
            device: key(b"shiori device token 1"),
        }
    }
}

impl TokenKeys {
    /// The keys of the secret that signs, and of another one whose tokens are accepted.
    pub(crate) fn new(secret: &Secret, previous: Option<&Secret>) -> Self {
        hs256::install();
        let mut validation = Validation::new(Algorithm::HS256);
        // Not checked by the library, which would use the system clock; `verify` receives the time
        // from the caller.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Self { current: Keys::derive(secret), previous: previous.map(Keys::derive), validation }
    }

    /// What the keys of a secret accept: first those of the current one.
    fn accepted<T>(
        &self,
        verify: impl Fn(&Keys) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        match (verify(&self.current), &self.previous) {
            (Err(TokenError::Invalid), Some(previous)) => verify(previous),
            (verified, _) => verified,
        }
    }

    /// A new access token that is valid for `ttl`, rounded up to whole seconds.
    ///
    /// # Errors
    ///
    /// [`TokenError::Unsigned`] if the process has installed a `jsonwebtoken` provider without
    /// HS256.
    pub(crate) fn issue(
        &self,
        user: UserId,
        session: SessionId,
        generation: u64,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<String, TokenError> {
        let payload = Payload {
            sub: user,
            sid: session,
            generation: Some(generation),
            iat: now.as_millis().div_euclid(1000),
            exp: (now + ttl + Duration::from_millis(999)).as_millis().div_euclid(1000),
            jti: Uuid::new_v4(),
        };
        encode(&Header::new(Algorithm::HS256), &payload, &self.current.signing)
            .map_err(|_| TokenError::Unsigned)
    }

    /// The claims of an access token that one of this server's secrets signed and that has not
    /// expired.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`], [`TokenError::Expired`].
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        let claims = self.verify_ignoring_expiry(token)?;
        if now < claims.expires_at { Ok(claims) } else { Err(TokenError::Expired) }
    }

    /// The claims of an access token that one of this server's secrets signed.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`].
    pub(crate) fn verify_ignoring_expiry(&self, token: &str) -> Result<Claims, TokenError> {
        let decode = |keys: &Keys| decode::<Payload>(token, &keys.verifying, &self.validation);
        let payload = self.accepted(|keys| decode(keys).map_err(|_| TokenError::Invalid))?.claims;
        Ok(Claims {
            user: payload.sub,
            session: payload.sid,
            generation: payload.generation,
            expires_at: Timestamp::from_millis(payload.exp.saturating_mul(1000)),
        })
    }

    /// The refresh token of a session's generation. Deterministic.
    pub(crate) fn refresh_token(&self, claims: RefreshClaims) -> String {
        let message = claims.to_bytes();
        URL_SAFE_NO_PAD.encode([&message[..], &self.current.refresh.sign(&message)].concat())
    }

    /// The claims of a refresh token that one of this server's secrets signed. The store decides whether it
    /// is current.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`].
    pub(crate) fn verify_refresh(&self, token: &str) -> Result<RefreshClaims, TokenError> {
        let bytes: [u8; RefreshClaims::LEN + TAG_LEN] = decode_exact(token)?;
        let (message, tag) = bytes.split_first_chunk().ok_or(TokenError::Invalid)?;
        self.accepted(|keys| checked(keys.refresh.is_signed(message, tag)))?;
        Ok(RefreshClaims::from_bytes(message))
    }

    /// The device token with these claims.
    pub(crate) fn device_token(&self, claims: &DeviceClaims) -> String {
        let message = claims.to_bytes();
        URL_SAFE_NO_PAD.encode([&message[..], &self.current.device.sign(&message)].concat())
    }

    /// The claims of a device token that one of this server's secrets signed.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`].
    pub(crate) fn verify_device(&self, token: &str) -> Result<DeviceClaims, TokenError> {
        let bytes: [u8; DeviceClaims::LEN + TAG_LEN] = decode_exact(token)?;
        let (message, tag) = bytes.split_first_chunk().ok_or(TokenError::Invalid)?;
        self.accepted(|keys| checked(keys.device.is_signed(message, tag)))?;
        Ok(DeviceClaims::from_bytes(message))
    }
}

fn checked(is_signed: bool) -> Result<(), TokenError> {
    if is_signed { Ok(()) } else { Err(TokenError::Invalid) }
}

/// The bytes of an opaque token, which must have this length.
fn decode_exact<const LEN: usize>(token: &str) -> Result<[u8; LEN], TokenError> {
    let mut bytes = [0; LEN];
    match URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) {
        Ok(len) if len == LEN => Ok(bytes),
        _ => Err(TokenError::Invalid),
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKeys(…)")
    }
}

/// The claims of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The user.
    pub(crate) user: UserId,
    /// The session.
    pub(crate) session: SessionId,
    /// The generation of the refresh token that was issued with it. `None` in tokens of version
    /// 0.1.0.
    pub(crate) generation: Option<u64>,
    /// When it expires, to the second.
    pub(crate) expires_at: Timestamp,
}

/// The payload of an access token (RFC 7519, section 4.1).
#[derive(Serialize, Deserialize)]
struct Payload {
    sub: UserId,
    sid: SessionId,
    #[serde(rename = "gen", default, skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    iat: i64,
    exp: i64,
    jti: Uuid,
}

/// The claims of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefreshClaims {
    /// The user.
    pub(crate) user: UserId,
    /// The session that it refreshes.
    pub(crate) session: SessionId,
    /// Which of the session's refresh tokens it is.
    pub(crate) generation: u64,
}

/// Bytes of an HMAC-SHA256 tag.
const TAG_LEN: usize = 32;

impl RefreshClaims {
    const LEN: usize = 40;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(self.user.as_bytes());
        bytes[16..32].copy_from_slice(self.session.as_bytes());
        bytes[32..].copy_from_slice(&self.generation.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let (mut user, mut session, mut generation) = ([0; 16], [0; 16], [0; 8]);
        user.copy_from_slice(&bytes[..16]);
        session.copy_from_slice(&bytes[16..32]);
        generation.copy_from_slice(&bytes[32..]);
        Self {
            user: UserId::from_bytes(user),
            session: SessionId::from_bytes(session),
            generation: u64::from_be_bytes(generation),
        }
    }
}

/// A token was rejected, or could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TokenError {
    /// It is malformed or has a wrong signature.
    #[error("invalid token")]
    Invalid,
    /// It has expired.
    #[error("expired token")]
    Expired,
    /// The `jsonwebtoken` provider of the process does not support HS256.
    #[error("could not sign the token")]
    Unsigned,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const TTL: Duration = Duration::from_mins(15);

    fn keys() -> TokenKeys {
        TokenKeys::new(&Secret::from("a secret that is only for tests"), None)
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_771_200_000_400)
    }

    fn forge(header: &Value, payload: &str, tag: &[u8]) -> String {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn payload_of(token: &str) -> &str {
        token.split('.').nth(1).expect("a payload")
    }

    #[test]
    fn an_access_token_is_valid_until_it_expires() {
        let (user, session) = (UserId::new(), SessionId::new());
        let token = keys().issue(user, session, 7, now(), TTL).expect("signed");
        // Another process with the same secret accepts it.
        let claims = keys().verify(&token, now()).expect("ours");
        assert_eq!((claims.user, claims.session, claims.generation), (user, session, Some(7)));
        assert_eq!(claims.expires_at.as_millis() % 1000, 0);
        let last = now() + TTL;
        assert!(keys().verify(&token, last).is_ok(), "the token is valid for the full time");
        assert_eq!(keys().verify(&token, claims.expires_at), Err(TokenError::Expired));
        assert_eq!(keys().verify_ignoring_expiry(&token), Ok(claims));
    }

    #[test]
    fn a_token_of_version_0_1_0_has_no_generation() {
        let keys = keys();
        let (user, session) = (UserId::new(), SessionId::new());
        let payload = json!({
            "sub": user, "sid": session, "iat": 0, "exp": i64::MAX, "jti": Uuid::new_v4(),
        });
        let token = encode(&Header::new(Algorithm::HS256), &payload, &keys.current.signing)
            .expect("signed");
        let claims = keys.verify(&token, now()).expect("valid");
        assert_eq!((claims.user, claims.session, claims.generation), (user, session, None));
    }

    #[test]
    fn access_tokens_are_unique() {
        let (user, session) = (UserId::new(), SessionId::new());
        let issue = || keys().issue(user, session, 1, now(), TTL).expect("signed");
        assert_ne!(issue(), issue());
    }

    #[test]
    fn tokens_of_another_secret_are_rejected() {
        let others = TokenKeys::new(&Secret::from("another secret"), None);
        let token = others.issue(UserId::new(), SessionId::new(), 1, now(), TTL).expect("signed");
        assert_eq!(keys().verify(&token, now()), Err(TokenError::Invalid));
        let claims =
            RefreshClaims { user: UserId::new(), session: SessionId::new(), generation: 1 };
        let rejected = keys().verify_refresh(&others.refresh_token(claims));
        assert_eq!(rejected, Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_cannot_choose_its_algorithm() {
        let keys = keys();
        let token = keys.issue(UserId::new(), SessionId::new(), 1, now(), TTL).expect("signed");
        let payload = payload_of(&token);
        let access_key = HmacSha256::new(keys.current.signing.as_bytes());
        for algorithm in ["none", "None", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", ""]
        {
            let header = json!({ "alg": algorithm, "typ": "JWT" });
            let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header.to_string()));
            for tag in [&access_key.sign(signed.as_bytes())[..], b""] {
                let forged = forge(&header, payload, tag);
                assert_eq!(keys.verify(&forged, now()), Err(TokenError::Invalid), "{algorithm}");
            }
        }
        // Checks `forge`: with the right algorithm, the token is valid.
        let header = json!({ "alg": "HS256" });
        let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header.to_string()));
        let good = forge(&header, payload, &access_key.sign(signed.as_bytes()));
        assert!(keys.verify(&good, now()).is_ok());
    }

    #[test]
    fn one_kind_of_token_is_not_accepted_as_another() {
        let keys = keys();
        let header = json!({ "alg": "HS256" });
        let token = keys.issue(UserId::new(), SessionId::new(), 1, now(), TTL).expect("signed");
        let payload = payload_of(&token);
        let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header.to_string()));
        let forged = forge(&header, payload, &keys.current.refresh.sign(signed.as_bytes()));
        assert_eq!(keys.verify(&forged, now()), Err(TokenError::Invalid));
        assert_eq!(keys.verify_refresh(&token), Err(TokenError::Invalid));
    }

    #[test]
    fn a_signed_payload_without_a_session_is_rejected() {
        let keys = keys();
        let payload = json!({ "sub": UserId::new(), "exp": i64::MAX });
        let token = encode(&Header::new(Algorithm::HS256), &payload, &keys.current.signing)
            .expect("signed");
        assert_eq!(keys.verify(&token, now()), Err(TokenError::Invalid));
    }

    #[test]
    fn a_refresh_token_contains_its_session_and_generation() {
        for generation in [0, 1, 255, u64::MAX] {
            let claims =
                RefreshClaims { user: UserId::new(), session: SessionId::new(), generation };
            let token = keys().refresh_token(claims);
            assert_eq!(
                token,
                keys().refresh_token(claims),
                "deriving it again yields the same token"
            );
            assert_eq!(keys().verify_refresh(&token), Ok(claims));
        }
    }

    /// The servers of a cluster change their secrets one after the other.
    #[test]
    fn tokens_of_both_secrets_are_accepted() {
        let secrets = ["the first secret", "the second secret"].map(Secret::from);
        let keys = |current: usize, other: Option<usize>| {
            TokenKeys::new(&secrets[current], other.map(|other| &secrets[other]))
        };
        let (user, session) = (UserId::new(), SessionId::new());
        let refresh = RefreshClaims { user, session, generation: 4 };
        let device = DeviceClaims::new("haru@example.com", "a hash");
        // Each server accepts the tokens of the one before and of the one after it.
        let servers = [keys(0, None), keys(0, Some(1)), keys(1, Some(0)), keys(1, None)];
        for (nth, server) in servers.iter().enumerate() {
            let access = server.issue(user, session, 4, now(), TTL).expect("signed");
            let (cookie, known) = (server.refresh_token(refresh), server.device_token(&device));
            for (other, verifying) in servers.iter().enumerate() {
                let accepts = verifying.verify(&access, now()).is_ok();
                assert_eq!(accepts, verifying.verify_refresh(&cookie).is_ok());
                assert_eq!(accepts, verifying.verify_device(&known).is_ok());
                if nth.abs_diff(other) < 2 {
                    assert!(accepts, "{other} accepts the tokens of {nth}");
                }
            }
        }
        let access = servers[0].issue(user, session, 4, now(), TTL).expect("signed");
        assert_eq!(servers[3].verify(&access, now()), Err(TokenError::Invalid));
        assert_eq!(servers[0].verify_refresh(&servers[3].refresh_token(refresh)).ok(), None);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", keys()), "TokenKeys(…)");
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_token(text in any::<String>()) {
            prop_assert_eq!(keys().verify(&text, now()), Err(TokenError::Invalid));
            prop_assert_eq!(keys().verify_refresh(&text), Err(TokenError::Invalid));
        }

        #[test]
        fn a_changed_character_invalidates_a_token(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            let keys = keys();
            let claims = RefreshClaims { user: UserId::new(), session: SessionId::new(), generation: 3 };
            let refresh = keys.refresh_token(claims);
            let access = keys.issue(UserId::new(), claims.session, 3, now(), TTL).expect("signed");
            for token in [&refresh, &access] {
                let at = at.index(token.len());
                let mut changed = token.clone();
                changed.replace_range(at..=at, &to);
                prop_assume!(changed != *token);
                prop_assert_eq!(keys.verify_refresh(&changed), Err(TokenError::Invalid));
                prop_assert_eq!(keys.verify(&changed, now()), Err(TokenError::Invalid));
            }
        }
    }
}
