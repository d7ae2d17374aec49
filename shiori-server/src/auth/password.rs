use std::{
    fmt, mem,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{self, phc, try_generate_salt},
};
use shiori_sdk::{Password, WeakPassword};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use unicode_normalization::UnicodeNormalization;

/// Hashes and verifies passwords with Argon2id, on threads with a low priority.
///
/// If there are several cores, one is kept free for everything else, and a limited number of
/// callers may wait. So many logins only delay other logins.
#[derive(Clone)]
pub(crate) struct PasswordHasher(Arc<Shared>);

struct Shared {
    argon2: Argon2<'static>,
    memory: MemoryPool,
    /// Verified if the account does not exist, so that the response takes the same time.
    decoy: PasswordHash,
    /// Permits for running and waiting operations.
    admission: Arc<Semaphore>,
    /// Permits for running operations.
    running: Arc<Semaphore>,
}

/// The maximum number of waiting operations: a few seconds of work, and more than the requests that
/// one address may have in progress, so that one address cannot block the others.
const MAX_WAITING: usize = 256;

/// The nice value of hashes: under load a hash gets about a tenth of the CPU time of a request.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// The admission of one operation. It is obtained before a store is called, so that a rejected
/// operation costs nothing.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl PasswordHasher {
    /// A hasher with this cost. Computes one hash before it returns.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Argon2`] if Argon2 rejects the cost.
    pub(crate) fn new(cost: HashCost) -> Result<Self, PasswordError> {
        let HashCost { memory_kib, passes, lanes } = cost;
        let params = Params::new(memory_kib, passes, lanes, None)
            .map_err(|error| PasswordError::Argon2(error.into()))?;
        let memory = MemoryPool::default();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, "", &mut memory.take()).map_err(PasswordError::Argon2)?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.saturating_sub(1).max(1);
        Ok(Self(Arc::new(Shared {
            argon2,
            memory,
            decoy,
            admission: Arc::new(Semaphore::new(threads + MAX_WAITING)),
            running: Arc::new(Semaphore::new(threads)),
        })))
    }

    /// Admits one operation.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Busy`] if too many callers wait.
    pub(crate) fn admit(&self) -> Result<Turn, PasswordError> {
        let admitted = Arc::clone(&self.0.admission).try_acquire_owned();
        admitted.map(|permit| Turn { _permit: permit }).map_err(|_| PasswordError::Busy)
    }

    /// Hashes a password with a new salt.
    ///
    /// # Errors
    ///
    /// [`PasswordError`] if it cannot be hashed.
    pub(crate) async fn hash(
        &self,
        turn: Turn,
        password: NewPassword,
    ) -> Result<PasswordHash, PasswordError> {
        self.run(turn, move |shared| {
            hash(&shared.argon2, password.0.reveal(), &mut shared.memory.take())
                .map_err(PasswordError::Argon2)
        })
        .await
    }

    /// Whether the password matches the hash, in its prepared form or in a form that an earlier
    /// version may have hashed. Without a hash, the result is `Wrong` after the same work: the
    /// number of hashes depends only on the password, unless it is right.
    ///
    /// # Errors
    ///
    /// [`PasswordError`] if it cannot be checked.
    pub(crate) async fn verify(
        &self,
        turn: Turn,
        password: Password,
        expected: Option<PasswordHash>,
    ) -> Result<Verdict, PasswordError> {
        self.run(turn, move |shared| {
            let memory = &mut shared.memory.take();
            let spellings = spellings(&password);
            for (nth, spelling) in spellings.iter().enumerate() {
                let expected_hash = expected.as_ref().unwrap_or(&shared.decoy);
                let matches =
                    verify(spelling, expected_hash, memory).map_err(PasswordError::Argon2)?;
                // A match with the decoy is still rejected.
                if !matches || expected.is_none() {
                    continue;
                }
                if nth == 0 {
                    return Ok(Verdict::Right);
                }
                let rehashed = hash(&shared.argon2, &spellings[0], memory);
                return rehashed.map(Verdict::RightRehashed).map_err(PasswordError::Argon2);
            }
            Ok(Verdict::Wrong)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce(&Shared) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let running = Arc::clone(&self.0.running).acquire_owned();
        let running = running.await.map_err(|_| PasswordError::Aborted)?;
        let shared = Arc::clone(&self.0);
        let (done, outcome) = oneshot::channel();
        // In a new thread, because its priority cannot be raised again. Starting a thread takes a
        // thousandth of the time of a hash.
        let thread = thread::Builder::new().name("shiori-password".to_owned());
        let started = thread.spawn(move || {
            // The thread owns the permits, because it continues if the caller is dropped.
            let permits = (turn, running);
            lower_priority();
            let outcome = work(&shared);
            // Before the caller continues, so that its next operation finds them free.
            drop(permits);
            // The caller may have been dropped.
            let _ = done.send(outcome);
        });
        started.map_err(PasswordError::Thread)?;
        outcome.await.map_err(|_| PasswordError::Aborted)?
    }
}

/// Lowers the priority of this thread below that of requests.
fn lower_priority() {
    // On Linux, the priority belongs to the thread, not to the process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "could not lower the priority of password hashes");
    }
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PasswordHasher").field(&self.0.argon2).finish()
    }
}

/// Hashes a password with a new salt.
fn hash(
    argon2: &Argon2<'_>,
    password: &str,
    memory: &mut Memory<'_>,
) -> password_hash::Result<PasswordHash> {
    let salt = try_generate_salt().map_err(|_| password_hash::Error::Crypto)?;
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    let blocks = memory.blocks(argon2.params().block_count());
    argon2.hash_password_into_with_memory(password.as_bytes(), &salt, &mut output, blocks)?;
    let hash = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: argon2.params().try_into()?,
        salt: Some(phc::Salt::new(&salt)?),
        hash: Some(phc::Output::new(&output)?),
    };
    Ok(PasswordHash(hash.to_string()))
}

/// Whether the password matches the hash, with the cost in the hash.
fn verify(
    password: &str,
    expected: &PasswordHash,
    memory: &mut Memory<'_>,
) -> password_hash::Result<bool> {
    let expected = phc::PasswordHash::new(&expected.0)?;
    let (Some(salt), Some(expected_output)) = (expected.salt, expected.hash) else {
        return Ok(false);
    };
    let algorithm = Algorithm::try_from(expected.algorithm.as_str())?;
    let version = expected.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let params = Params::try_from(&expected)?;
    let blocks = memory.blocks(params.block_count());
    let argon2 = Argon2::new(algorithm, version, params);
    let mut output = [0; phc::Output::MAX_LENGTH];
    let output = &mut output[..expected_output.len()];
    argon2.hash_password_into_with_memory(password.as_bytes(), &salt, output, blocks)?;
    // The comparison of outputs takes constant time.
    Ok(phc::Output::new(output)? == expected_output)
}

/// The result of [`PasswordHasher::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The password is wrong.
    Wrong,
    /// The password is right.
    Right,
    /// The password is right, but the hash is of an unprepared form. Replace it with this hash of
    /// the prepared form.
    RightRehashed(PasswordHash),
}

/// The prepared form of a password, followed by the forms that earlier versions may have hashed:
/// the text as received, and in the other normal form, each with its own spaces or with U+0020.
/// Usually this is one text for ASCII and two for others.
fn spellings(password: &Password) -> Vec<String> {
    let (prepared, raw) = (password.prepared().reveal().to_owned(), password.reveal().to_owned());
    let others = [prepared.nfd().collect(), raw.nfc().collect(), raw.nfd().collect(), raw];
    let mut spellings = vec![prepared];
    for other in others {
        if !spellings.contains(&other) {
            spellings.push(other);
        }
    }
    spellings
}

/// A pool of the memory for hashes. Allocating it for each hash would fragment the heap, and the
/// process would grow with every burst of sign-ups.
#[derive(Default)]
struct MemoryPool {
    /// One for each concurrent hash, so at most one per core.
    unused: Mutex<Vec<Vec<Block>>>,
    /// The number of computed hashes.
    #[cfg(test)]
    hashes: std::sync::atomic::AtomicUsize,
}

impl MemoryPool {
    /// The memory for one hash. It returns to the pool when it is dropped.
    fn take(&self) -> Memory<'_> {
        let unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Memory { pool: self, blocks: unused.unwrap_or_default() }
    }
}

struct Memory<'a> {
    pool: &'a MemoryPool,
    blocks: Vec<Block>,
}

impl Memory<'_> {
    /// This many blocks with unspecified contents; Argon2 overwrites them all.
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        #[cfg(test)]
        self.pool.hashes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.blocks.len() < count {
            self.blocks.resize(count, Block::new());
        }
        &mut self.blocks[..count]
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        let mut unused = self.pool.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.push(mem::take(&mut self.blocks));
    }
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
    /// The minimum that Argon2 accepts. Insecure; only for tests.
    pub const MINIMAL: Self = Self { memory_kib: Params::MIN_M_COST, passes: 1, lanes: 1 };
}

impl Default for HashCost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// A hashed password as a PHC string, which contains its algorithm, cost and salt. `Debug` does not
/// show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Parses a stored PHC string.
    ///
    /// # Errors
    ///
    /// [`PasswordError::NotAHash`] if it is not a PHC string with a salt and a hash.
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

/// A password in its prepared form that satisfies the rule for new passwords.
#[derive(Debug, Clone)]
pub(crate) struct NewPassword(Password);

impl TryFrom<Password> for NewPassword {
    type Error = WeakPassword;

    fn try_from(password: Password) -> Result<Self, WeakPassword> {
        password.check()?;
        Ok(Self(password.prepared()))
    }
}

/// A password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Too many callers wait; retryable.
    #[error("too many password operations are waiting")]
    Busy,
    /// Argon2 rejected the cost, or memory or randomness was not available.
    #[error("argon2 failed")]
    Argon2(#[source] password_hash::Error),
    /// The text is not a PHC string with a salt and a hash.
    #[error("not a password hash")]
    NotAHash,
    /// A thread could not be started.
    #[error("could not start a thread")]
    Thread(#[source] std::io::Error),
    /// The operation panicked.
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

    impl PasswordHasher {
        async fn check(
            &self,
            password: Password,
            expected: Option<PasswordHash>,
        ) -> Result<Verdict, PasswordError> {
            self.verify(self.admit()?, password, expected).await
        }
    }

    async fn hash_of(hasher: &PasswordHasher, text: &str) -> PasswordHash {
        hasher
            .hash(hasher.admit().expect("a turn"), new_password(text).expect("strong"))
            .await
            .expect("hashed")
    }

    #[tokio::test]
    async fn only_the_right_password_is_accepted() {
        let hasher = hasher();
        let hash = hash_of(&hasher, PASSWORD).await;
        for (password, expected) in
            [(PASSWORD, true), ("sesame-78", false), ("Sesame-77", false), ("", false)]
        {
            let verdict = hasher.check(password.into(), Some(hash.clone())).await;
            let expected = if expected { Verdict::Right } else { Verdict::Wrong };
            assert_eq!(verdict.expect("checked"), expected, "{password:?}");
        }
    }

    const COMPOSED: &str = "한글-é1!ab";
    const DECOMPOSED: &str = "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}-e\u{301}1!ab";

    /// The hash that an earlier version stored, of the unprepared password.
    fn old_hash(hasher: &PasswordHasher, text: &str) -> PasswordHash {
        hash(&hasher.0.argon2, text, &mut hasher.0.memory.take()).expect("hashed")
    }

    #[tokio::test]
    async fn a_password_is_accepted_in_every_normal_form() {
        let hasher = hasher();
        for stored in [COMPOSED, DECOMPOSED] {
            let hash = hash_of(&hasher, stored).await;
            for typed in [COMPOSED, DECOMPOSED] {
                let verdict = hasher.check(typed.into(), Some(hash.clone())).await;
                assert_eq!(verdict.expect("checked"), Verdict::Right, "{stored} {typed}");
            }
        }
        let hash = hash_of(&hasher, "open\u{3000}sesame-7").await;
        for typed in ["open sesame-7", "open\u{a0}sesame-7", "open\u{3000}sesame-7"] {
            let verdict = hasher.check(typed.into(), Some(hash.clone())).await;
            assert_eq!(verdict.expect("checked"), Verdict::Right, "{typed}");
        }
    }

    #[tokio::test]
    async fn a_hash_of_an_unprepared_password_is_accepted_and_replaced() {
        let hasher = hasher();
        let mixed = "\u{1112}\u{1161}\u{11ab}글-é1!ab";
        for (stored, typed) in [
            (DECOMPOSED, DECOMPOSED),
            (DECOMPOSED, COMPOSED),
            (mixed, mixed),
            ("open\u{3000}sesame-7", "open\u{3000}sesame-7"),
            ("é\u{3000}sesame-7", "e\u{301}\u{3000}sesame-7"),
            ("e\u{301}\u{3000}sesame-7", "é\u{3000}sesame-7"),
            ("e\u{301} sesame-7", "é\u{3000}sesame-7"),
        ] {
            let old = old_hash(&hasher, stored);
            let verdict = hasher.check(typed.into(), Some(old)).await.expect("checked");
            let Verdict::RightRehashed(new) = verdict else {
                panic!("{stored} {typed}: {verdict:?}")
            };
            let verdict = hasher.check(typed.into(), Some(new)).await;
            assert_eq!(verdict.expect("checked"), Verdict::Right, "{stored} {typed}");
        }
        // A hash of the composed form is not replaced.
        let old = old_hash(&hasher, COMPOSED);
        let verdict = hasher.check(DECOMPOSED.into(), Some(old)).await;
        assert_eq!(verdict.expect("checked"), Verdict::Right);
        let old = old_hash(&hasher, DECOMPOSED);
        let verdict = hasher.check("한글-e1!ab".into(), Some(old)).await;
        assert_eq!(verdict.expect("checked"), Verdict::Wrong);
    }

    /// The time of a rejection must not show whether the account exists.
    #[tokio::test]
    async fn a_wrong_password_costs_the_same_hashes_with_and_without_an_account() {
        let hasher = hasher();
        let accounts = [
            None,
            Some(hash_of(&hasher, PASSWORD).await),
            Some(hash_of(&hasher, COMPOSED).await),
            Some(old_hash(&hasher, DECOMPOSED)),
        ];
        for (wrong, expected) in [
            ("", 1),
            ("sesame-78", 1),
            ("한글-é1!", 2),
            ("\u{1112}\u{1161}\u{11ab}-1!", 2),
            ("\u{1112}\u{1161}\u{11ab}글-é1!", 3),
            ("é\u{3000}7", 4),
        ] {
            for account in &accounts {
                let count = || hasher.0.memory.hashes.load(std::sync::atomic::Ordering::Relaxed);
                let before = count();
                let verdict = hasher.check(wrong.into(), account.clone()).await;
                assert_eq!(verdict.expect("checked"), Verdict::Wrong);
                assert_eq!(count() - before, expected, "{wrong:?} {}", account.is_some());
            }
        }
    }

    #[tokio::test]
    async fn without_an_account_every_password_is_wrong() {
        let hasher = hasher();
        // The empty password is that of the decoy.
        for password in ["", PASSWORD] {
            let verdict = hasher.check(password.into(), None).await;
            assert_eq!(verdict.expect("checked"), Verdict::Wrong);
        }
    }

    #[tokio::test]
    async fn a_hash_is_verified_after_a_change_of_the_cost() {
        let hash = hash_of(&hasher(), PASSWORD).await;
        let dearer = PasswordHasher::new(HashCost { passes: 2, ..HashCost::MINIMAL });
        let verdict = dearer.expect("a cost").check(PASSWORD.into(), Some(hash)).await;
        assert_eq!(verdict.expect("checked"), Verdict::Right);
    }

    /// Compares the hashes with those of the `argon2` crate's own functions.
    #[tokio::test]
    async fn hashes_are_compatible_with_the_argon2_crate() {
        use argon2::{PasswordHasher as _, PasswordVerifier as _};
        let hash = hash_of(&hasher(), PASSWORD).await;
        let argon2 = Argon2::default();
        argon2.verify_password(PASSWORD.as_bytes(), hash.as_str()).expect("verified");
        let params = Params::new(64, 3, 2, Some(24)).expect("a cost");
        let theirs = Argon2::new(Algorithm::Argon2i, Version::V0x10, params)
            .hash_password(PASSWORD.as_bytes())
            .expect("hashed");
        let theirs = PasswordHash::parse(theirs.to_string()).expect("a hash");
        let verdict = hasher().check(PASSWORD.into(), Some(theirs.clone())).await;
        assert_eq!(verdict.expect("checked"), Verdict::Right);
        let verdict = hasher().check("sesame-78".into(), Some(theirs)).await;
        assert_eq!(verdict.expect("checked"), Verdict::Wrong);
    }

    #[tokio::test]
    async fn hashes_share_memory_that_does_not_grow() {
        let hasher = hasher();
        let unused = || {
            let unused = hasher.0.memory.unused.lock().expect("not poisoned");
            unused.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(unused(), [8], "the memory of the decoy");
        for _ in 0..20 {
            let hash = hash_of(&hasher, PASSWORD).await;
            let verdict = hasher.check(PASSWORD.into(), Some(hash)).await;
            assert_eq!(verdict.expect("checked"), Verdict::Right);
        }
        assert_eq!(unused(), [8]);
        // A stored hash may have a higher cost.
        let costly = PasswordHasher::new(HashCost { memory_kib: 64, ..HashCost::MINIMAL });
        let costly = hash_of(&costly.expect("a cost"), PASSWORD).await;
        for _ in 0..20 {
            let verdict = hasher.check(PASSWORD.into(), Some(costly.clone())).await;
            assert_eq!(verdict.expect("checked"), Verdict::Right);
        }
        assert_eq!(unused(), [64]);
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
        let rejected = hasher.check(PASSWORD.into(), None).await;
        assert!(matches!(rejected, Err(PasswordError::Busy)));
        drop(taken);
        assert!(hasher.check(PASSWORD.into(), None).await.is_ok());
        assert_eq!(hasher.0.admission.available_permits(), permits);
    }

    #[test]
    fn the_default_cost_is_the_minimum_of_owasp() {
        let hasher = PasswordHasher::new(HashCost::default()).expect("a cost");
        let decoy = hasher.0.decoy.as_str();
        assert!(decoy.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{decoy}");
    }

    #[test]
    fn an_invalid_cost_is_rejected() {
        let rejected = PasswordHasher::new(HashCost { memory_kib: 1, passes: 1, lanes: 1 });
        assert!(matches!(rejected, Err(PasswordError::Argon2(_))));
    }

    #[test]
    fn malformed_hashes_are_rejected() {
        let saltless = "$argon2id$v=19$m=8,t=1,p=1";
        let hashless = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ";
        for text in ["", "sesame", saltless, hashless] {
            let rejected = PasswordHash::parse(text.to_owned());
            assert!(matches!(rejected, Err(PasswordError::NotAHash)), "{text}");
        }
    }

    #[test]
    fn a_weak_password_is_rejected() {
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
