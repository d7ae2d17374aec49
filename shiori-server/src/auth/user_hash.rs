use shiori_sdk::UserId;
use shiori_worker::Secret;

use super::hs256::HmacSha256;

/// Hashes user ids for the log, under a key that is derived from the secret of the tokens. Without
/// that secret, a hash cannot be computed from an id, so ids cannot be found by trying all of them.
#[derive(Clone)]
pub(crate) struct UserHash(HmacSha256);

impl UserHash {
    pub(crate) fn new(secret: &Secret) -> Self {
        let root = HmacSha256::new(secret.reveal().as_bytes());
        Self(HmacSha256::new(&root.sign(b"shiori user in the log 1")))
    }

    /// 16 hexadecimal digits, the same for every request of the user on all servers with the secret.
    pub(crate) fn of(&self, user: UserId) -> String {
        let tag = self.0.sign(&user.as_bytes()[..]);
        let number = tag[..8].iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        format!("{number:016x}")
    }
}

impl std::fmt::Debug for UserHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_the_user_and_the_secret() {
        let [one, other] = ["one secret", "another secret"].map(|text| UserHash::new(&text.into()));
        let [user, someone] = [UserId::new(), UserId::new()];
        assert_eq!(one.of(user), one.of(user));
        assert_eq!(one.of(user).len(), 16);
        assert_ne!(one.of(user), one.of(someone));
        assert_ne!(one.of(user), other.of(user));
    }
}
