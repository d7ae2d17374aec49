//! HMAC-SHA256, and a `jsonwebtoken` provider that supports only HS256.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{self, ErrorKind, new_error},
    signature::{self, Signer, Verifier},
};
use sha2::Sha256;

/// Signs and verifies under one key.
#[derive(Clone)]
pub(super) struct HmacSha256(Hmac<Sha256>);

impl HmacSha256 {
    /// A MAC with this key, of any length.
    pub(super) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC accepts keys of any length (RFC 2104)"))
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 32] {
        self.0.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// Whether the tag is that of the message, in constant time.
    pub(super) fn is_signed(&self, message: &[u8], tag: &[u8]) -> bool {
        self.0.clone().chain_update(message).verify_slice(tag).is_ok()
    }
}

/// Installs the provider. A program that embeds the server may have installed another before.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key: &EncodingKey| match algorithm {
        Algorithm::HS256 => Ok(Box::new(HmacSha256::new(key.as_bytes()))),
        _ => Err(unsupported()),
    },
    verifier_factory: |algorithm, key: &DecodingKey| match algorithm {
        Algorithm::HS256 => Ok(Box::new(HmacSha256::new(key.try_get_as_bytes()?))),
        _ => Err(unsupported()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn unsupported() -> errors::Error {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

impl Signer<Vec<u8>> for HmacSha256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.sign(message).to_vec())
    }
}

impl JwtSigner for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for HmacSha256 {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature::Error> {
        if self.is_signed(message, tag) { Ok(()) } else { Err(signature::Error::new()) }
    }
}

impl JwtVerifier for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, section 4.3.
    #[test]
    fn the_tag_equals_that_of_the_test_vector() {
        let tag = HmacSha256::new(b"Jefe").sign(b"what do ya want for nothing?");
        let expected = [
            0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95,
            0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9,
            0x64, 0xec, 0x38, 0x43,
        ];
        assert_eq!(tag, expected);
    }

    #[test]
    fn a_wrong_message_key_or_length_does_not_verify() {
        let mac = HmacSha256::new(b"key");
        let tag = mac.sign(b"message");
        assert!(mac.is_signed(b"message", &tag));
        assert!(!mac.is_signed(b"massage", &tag));
        assert!(!mac.is_signed(b"message", &tag[..31]));
        assert!(!mac.is_signed(b"message", &[]));
        assert!(!HmacSha256::new(b"kay").is_signed(b"message", &tag));
    }
}
