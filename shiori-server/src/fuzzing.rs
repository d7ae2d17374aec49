//! Properties that hold for any input: the bodies of the fuzz targets in `fuzz/` that concern this
//! crate. `scripts/fuzz.sh` runs them on generated inputs, and the tests on the committed corpora.
//!
//! Each function panics if a property does not hold.

#![allow(clippy::missing_panics_doc)]

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};
use serde_json::Value;
use sha2::Sha256;
use shiori_sdk::{SessionId, Timestamp, UserId};

use crate::{
    Secret,
    api::{bearer, refresh_cookie},
    auth::{RefreshClaims, TokenError, TokenKeys},
};

const SECRET: &str = "a secret that is only for fuzzing";

static KEYS: LazyLock<TokenKeys> = LazyLock::new(|| TokenKeys::new(&Secret::from(SECRET), None));

/// 2026-02-16T00:00:00.400Z.
const NOW_MS: i64 = 1_771_200_000_400;

/// Verifies a token. The first byte chooses what the rest is: a token; the payload of a signed access
/// token; or changes of valid tokens, a position and a byte each. Only what was signed is accepted,
/// and as what was signed.
pub fn tokens(input: &[u8]) {
    let [kind, rest @ ..] = input else { return };
    match kind % 3 {
        0 => {
            if let Ok(token) = std::str::from_utf8(rest) {
                is_accepted_only_if_signed(token);
            }
        }
        1 => signed_payload(rest),
        _ => changed_tokens(rest),
    }
}

fn is_accepted_only_if_signed(token: &str) {
    if KEYS.verify_ignoring_expiry(token).is_ok() {
        let (signed, tag) = token.rsplit_once('.').expect("a signature");
        assert_eq!(tag, URL_SAFE_NO_PAD.encode(sign(ACCESS, signed.as_bytes())));
    }
    if let Ok(claims) = KEYS.verify_refresh(token) {
        assert_eq!(KEYS.refresh_token(claims), token);
        let bytes = URL_SAFE_NO_PAD.decode(token).expect("base64");
        let (claims, tag) = bytes.split_at(bytes.len() - 32);
        assert_eq!(tag, sign(REFRESH, claims));
    }
}

fn signed_payload(payload: &[u8]) {
    let token = access_token(payload);
    assert_eq!(KEYS.verify_refresh(&token), Err(TokenError::Invalid));
    let now = Timestamp::from_millis(NOW_MS);
    let Ok(claims) = KEYS.verify_ignoring_expiry(&token) else {
        assert_eq!(KEYS.verify(&token, now), Err(TokenError::Invalid));
        return;
    };
    // Fields that are ignored may hold a lone surrogate, which a `Value` cannot.
    let Ok(payload) = serde_json::from_slice::<Value>(payload) else { return };
    let field = |name: &str| payload[name].as_str().expect("an id").to_owned();
    assert_eq!(field("sub").parse(), Ok(claims.user));
    assert_eq!(field("sid").parse(), Ok(claims.session));
    let seconds = payload["exp"].as_i64().expect("seconds");
    assert_eq!(claims.expires_at, Timestamp::from_millis(seconds.saturating_mul(1000)));
    let is_live = seconds.saturating_mul(1000) > NOW_MS;
    assert_eq!(
        KEYS.verify(&token, now),
        if is_live { Ok(claims) } else { Err(TokenError::Expired) }
    );
}

fn changed_tokens(changes: &[u8]) {
    let (user, session) = (UserId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
    let payload = format!(
        r#"{{"sub":"{user}","sid":"{session}","iat":1771200000,"exp":1771200900,"jti":"{user}"}}"#
    );
    let access = access_token(payload.as_bytes());
    assert!(KEYS.verify(&access, Timestamp::from_millis(NOW_MS)).is_ok());
    let refresh = KEYS.refresh_token(RefreshClaims { user, session, generation: 3 });
    assert!(KEYS.verify_refresh(&refresh).is_ok());
    for token in [access, refresh] {
        let mut changed = token.clone().into_bytes();
        for [at, byte] in changes.as_chunks().0 {
            let at = usize::from(*at) % (changed.len() + 1);
            match changed.get_mut(at) {
                Some(place) => *place = *byte,
                None => changed.push(*byte),
            }
        }
        let Ok(changed) = String::from_utf8(changed) else { continue };
        if changed != token {
            assert_eq!(KEYS.verify_ignoring_expiry(&changed), Err(TokenError::Invalid));
            assert_eq!(KEYS.verify_refresh(&changed), Err(TokenError::Invalid));
        }
    }
}

/// A signed access token with this payload.
fn access_token(payload: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let tag = URL_SAFE_NO_PAD.encode(sign(ACCESS, signed.as_bytes()));
    format!("{signed}.{tag}")
}

const ACCESS: &[u8] = b"shiori access token 1";
const REFRESH: &[u8] = b"shiori refresh token 1";

/// The signature under the key of a kind of token, derived a second time.
fn sign(kind: &[u8], message: &[u8]) -> [u8; 32] {
    let mac = |key: &[u8], message: &[u8]| -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
        mac.chain_update(message).finalize().into_bytes().into()
    };
    mac(&mac(SECRET.as_bytes(), kind), message)
}

/// Finds the refresh token in the `Cookie` headers of a request, one a line, and the access token in
/// its `Authorization` header, the first line.
pub fn cookies(input: &[u8]) {
    let lines = input.split(|byte| *byte == b'\n');
    let values: Vec<HeaderValue> =
        lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let mut headers = HeaderMap::new();
    for value in &values {
        headers.append(COOKIE, value.clone());
    }
    let texts = values.iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
    let expected = pairs.find(|(name, _)| name.trim_start() == "refresh_token");
    assert_eq!(refresh_cookie(&headers), expected.map(|(_, value)| value.trim_end()));

    headers.extend(values.first().map(|value| (AUTHORIZATION, value.clone())));
    if let Some(token) = bearer(&headers) {
        let header = values[0].to_str().expect("it was read as text");
        assert!(header[..6].eq_ignore_ascii_case("bearer") && header.contains(token));
        assert_eq!(token.trim(), token);
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::{replay::replay, *};

    #[test]
    fn the_corpora_of_the_fuzz_targets_pass() {
        replay("tokens", tokens);
        replay("cookies", cookies);
    }
}
