use std::{fmt, sync::Arc, thread};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::{self, phc},
};
use shiori_sdk::{Password, WeakPassword};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Hashes and verifies passwords with Argon2id on blocking threads.
///
/// At most one operation per core runs at a time, so that memory and CPU stay bounded under a flood
/// of logins. A bounded number of callers wait.
#[derive(Clone)]
pub(crate) struct PasswordHasher(Arc<Shared>);

struct Shared {
    argon2: Argon2<'static>,
    /// Verified against when there is no account, so that the response takes as long.
    decoy: PasswordHash,
    /// Permits for running and waiting operations.
    admission: Arc<Semaphore>,
    /// Permits for running operations.
    cores: Arc<Semaphore>,
}

/// The maximum of waiting operations: a few seconds of work.
const MAX_WAITING: usize = 512;

impl PasswordHasher {
    /// A hasher with this cost. It computes one hash at once.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Argon2`] when Argon2 does not take the cost.
    pub(crate) fn new(cost: HashCost) -> Result<Self, PasswordError> {
        let HashCost { memory_kib, passes, lanes } = cost;
        let params = Params::new(memory_kib, passes, lanes, None)
            .map_err(|error| PasswordError::Argon2(error.into()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, "")?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self(Arc::new(Shared {
            argon2,
            decoy,
            admission: Arc::new(Semaphore::new(cores + MAX_WAITING)),
            cores: Arc::new(Semaphore::new(cores)),
        })))
    }

    /// Hashes a password with a new salt.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Busy`] when too many callers wait.
    pub(crate) async fn hash(&self, password: NewPassword) -> Result<PasswordHash, PasswordError> {
        self.run(move |shared| hash(&shared.argon2, password.0.reveal())).await
    }

    /// Whether the password matches the hash. Without a hash it does not, after the same work.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Busy`] when too many callers wait.
    pub(crate) async fn verify(
        &self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool, PasswordError> {
        self.run(move |shared| {
            let expected = hash.as_ref().unwrap_or(&shared.decoy);
            match shared.argon2.verify_password(password.reveal().as_bytes(), expected.as_str()) {
                // A match with the decoy is still rejected.
                Ok(()) => Ok(hash.is_some()),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(PasswordError::Argon2(error)),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let admitted =
            Arc::clone(&self.0.admission).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let core =
            Arc::clone(&self.0.cores).acquire_owned().await.map_err(|_| PasswordError::Aborted)?;
        let shared = Arc::clone(&self.0);
        // The permits move into the task: it occupies its core even after its caller is dropped.
        let task = spawn_blocking(move || {
            let _permits = (admitted, core);
            work(&shared)
        });
        task.await.map_err(|_| PasswordError::Aborted)?
    }
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PasswordHasher").field(&self.0.argon2).finish()
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<PasswordHash, PasswordError> {
    let hash = argon2.hash_password(password.as_bytes()).map_err(PasswordError::Argon2)?;
    Ok(PasswordHash(hash.to_string()))
}

/// The cost of one hash. The default is the minimum of OWASP's Password Storage Cheat Sheet for
/// Argon2id: 19 MiB, two passes, one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory, in KiB; at least 8 for each lane.
    pub memory_kib: u32,
    /// Passes over the memory; at least 1.
    pub passes: u32,
    /// Lanes of the memory; at least 1.
    pub lanes: u32,
}

impl HashCost {
    /// The minimum that Argon2 accepts. It protects nothing: only for tests.
    pub const MINIMAL: Self = Self { memory_kib: Params::MIN_M_COST, passes: 1, lanes: 1 };
}

impl Default for HashCost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// A hashed password as a PHC string, which names its algorithm, cost and salt. `Debug` does not
/// show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash of a PHC string, as a store keeps it.
    ///
    /// # Errors
    ///
    /// [`PasswordError::NotAHash`] when it is none.
    pub fn parse(text: String) -> Result<Self, PasswordError> {
        match phc::PasswordHash::new(&text) {
            Ok(phc) if phc.salt.is_some() && phc.hash.is_some() => Ok(Self(text)),
            _ => Err(PasswordError::NotAHash),
        }
    }

    /// The PHC string. Keep it out of logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A password that keeps the rule for new ones.
#[derive(Debug, Clone)]
pub(crate) struct NewPassword(Password);

impl TryFrom<Password> for NewPassword {
    type Error = WeakPassword;

    fn try_from(password: Password) -> Result<Self, WeakPassword> {
        password.check()?;
        Ok(Self(password))
    }
}

/// A password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Too many callers wait; retryable.
    #[error("too many password operations are waiting")]
    Busy,
    /// Argon2 rejects the cost, or there is no memory or randomness left.
    #[error("argon2 failed")]
    Argon2(#[source] password_hash::Error),
    /// The text is no PHC string with a salt and a hash.
    #[error("not a password hash")]
    NotAHash,
    /// The runtime stopped before the operation was complete.
    #[error("the password operation was aborted")]
    Aborted,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "sesame-77";

    fn hasher() -> PasswordHasher {
        PasswordHasher::new(HashCost::MINIMAL).expect("a cost")
    }

    fn new_password(text: &str) -> Result<NewPassword, WeakPassword> {
        Password::from(text).try_into()
    }

    async fn hash_of(hasher: &PasswordHasher, text: &str) -> PasswordHash {
        hasher.hash(new_password(text).expect("strong")).await.expect("hashed")
    }

    #[tokio::test]
    async fn only_the_password_itself_is_verified() {
        let hasher = hasher();
        let hash = hash_of(&hasher, PASSWORD).await;
        for (password, expected) in
            [(PASSWORD, true), ("sesame-78", false), ("Sesame-77", false), ("", false)]
        {
            let verdict = hasher.verify(password.into(), Some(hash.clone())).await;
            assert_eq!(verdict.expect("checked"), expected, "{password:?}");
        }
    }

    #[tokio::test]
    async fn without_an_account_no_password_is_right() {
        let hasher = hasher();
        // The empty one is the decoy's.
        for password in ["", PASSWORD] {
            assert!(!hasher.verify(password.into(), None).await.expect("checked"));
        }
    }

    #[tokio::test]
    async fn a_hash_outlives_a_change_of_cost() {
        let hash = hash_of(&hasher(), PASSWORD).await;
        let dearer = PasswordHasher::new(HashCost { passes: 2, ..HashCost::MINIMAL });
        let verdict = dearer.expect("a cost").verify(PASSWORD.into(), Some(hash)).await;
        assert!(verdict.expect("checked"));
    }

    #[tokio::test]
    async fn equal_passwords_have_different_hashes() {
        let hasher = hasher();
        let (first, second) = (hash_of(&hasher, PASSWORD).await, hash_of(&hasher, PASSWORD).await);
        assert_ne!(first, second);
        assert!(first.as_str().starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", first.as_str());
        assert_eq!(PasswordHash::parse(first.as_str().to_owned()).expect("a hash"), first);
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let hasher = hasher();
        let permits = hasher.0.admission.available_permits();
        let taken = hasher.0.admission.try_acquire_many(u32::try_from(permits).expect("few"));
        let refused = hasher.verify(PASSWORD.into(), None).await;
        assert!(matches!(refused, Err(PasswordError::Busy)));
        drop(taken);
        assert!(hasher.verify(PASSWORD.into(), None).await.is_ok());
        assert_eq!(hasher.0.admission.available_permits(), permits);
    }

    #[test]
    fn the_default_costs_what_owasp_asks() {
        let hasher = PasswordHasher::new(HashCost::default()).expect("a cost");
        let decoy = hasher.0.decoy.as_str();
        assert!(decoy.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{decoy}");
    }

    #[test]
    fn an_invalid_cost_is_rejected() {
        let refused = PasswordHasher::new(HashCost { memory_kib: 1, passes: 1, lanes: 1 });
        assert!(matches!(refused, Err(PasswordError::Argon2(_))));
    }

    #[test]
    fn malformed_hashes_are_rejected() {
        let saltless = "$argon2id$v=19$m=8,t=1,p=1";
        let hashless = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ";
        for text in ["", "sesame", saltless, hashless] {
            let refused = PasswordHash::parse(text.to_owned());
            assert!(matches!(refused, Err(PasswordError::NotAHash)), "{text}");
        }
    }

    #[test]
    fn a_weak_password_is_not_a_new_one() {
        assert_eq!(new_password("sesame-x").err(), Some(WeakPassword::NoDigit));
    }

    #[tokio::test]
    async fn debug_shows_no_secret() {
        let hasher = hasher();
        let hash = hash_of(&hasher, PASSWORD).await;
        let shown = format!("{hasher:?}{hash:?}{:?}", new_password(PASSWORD));
        assert!(!shown.contains(PASSWORD) && !shown.contains('$'), "{shown}");
    }
}
