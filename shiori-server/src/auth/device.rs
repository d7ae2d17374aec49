use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The claims of a device token: on this device, somebody has signed in to an account with its
/// current password.
///
/// The token is a cookie that signs nobody in. It only separates the failed logins of the device
/// from those of strangers. It contains hashes instead of the account and the password hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceClaims {
    device: [u8; ID_LEN],
    account: [u8; ID_LEN],
    password: [u8; ID_LEN],
}

/// Bytes of the id of a device, and of each hash.
const ID_LEN: usize = 16;

impl DeviceClaims {
    pub(super) const LEN: usize = 3 * ID_LEN;

    /// A new device of this account. `password_hash` contains a random salt, so its hash reveals
    /// nothing about the password.
    pub(crate) fn new(email: &str, password_hash: &str) -> Self {
        let device = Uuid::new_v4().into_bytes();
        Self { device, account: digest(email), password: digest(password_hash) }
    }

    /// The id of the device.
    pub(crate) fn device(&self) -> &[u8] {
        &self.device
    }

    /// The same device after a login with this password hash.
    pub(crate) fn with_password(self, password_hash: &str) -> Self {
        Self { password: digest(password_hash), ..self }
    }

    /// Whether the token was issued for this account, with its current or an earlier password.
    pub(crate) fn is_of_account(&self, email: &str) -> bool {
        self.account == digest(email)
    }

    /// Whether the password has not been changed since.
    pub(crate) fn has_password(&self, password_hash: &str) -> bool {
        self.password == digest(password_hash)
    }

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..ID_LEN].copy_from_slice(&self.device);
        bytes[ID_LEN..2 * ID_LEN].copy_from_slice(&self.account);
        bytes[2 * ID_LEN..].copy_from_slice(&self.password);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let part = |nth: usize| {
            let mut part = [0; ID_LEN];
            part.copy_from_slice(&bytes[nth * ID_LEN..(nth + 1) * ID_LEN]);
            part
        };
        Self { device: part(0), account: part(1), password: part(2) }
    }
}

fn digest(text: &str) -> [u8; ID_LEN] {
    let mut half = [0; ID_LEN];
    half.copy_from_slice(&Sha256::digest(text)[..ID_LEN]);
    half
}

#[cfg(test)]
mod tests {
    use shiori_worker::Secret;

    use super::{super::TokenKeys, *};

    #[test]
    fn a_device_belongs_to_an_account_and_its_password() {
        let keys = TokenKeys::new(&Secret::from("a secret that is only for tests"), None);
        let issued = DeviceClaims::new("haru@example.com", "$argon2id$one");
        let token = keys.device_token(&issued);
        let claims = keys.verify_device(&token).expect("ours");
        assert_eq!(claims, issued);
        assert!(claims.is_of_account("haru@example.com") && !claims.is_of_account("mina@x.com"));
        assert!(claims.has_password("$argon2id$one") && !claims.has_password("$argon2id$two"));
        let renewed = claims.with_password("$argon2id$two");
        assert!(renewed.has_password("$argon2id$two") && !renewed.has_password("$argon2id$one"));
        assert_eq!(renewed.device(), claims.device());
        assert_ne!(
            DeviceClaims::new("haru@example.com", "$argon2id$one").device(),
            claims.device()
        );
    }

    #[test]
    fn a_changed_token_is_rejected() {
        let keys = TokenKeys::new(&Secret::from("a secret that is only for tests"), None);
        let token = keys.device_token(&DeviceClaims::new("haru@example.com", "$argon2id$one"));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(keys.verify_device(&changed).is_err(), "{at}");
        }
        assert!(keys.verify_device(&token[1..]).is_err() && keys.verify_refresh(&token).is_err());
    }
}
