//! Limits of sign-ins and sign-ups.
//!
//! Only failed sign-ins count. A device on which somebody has signed in to the account has its own
//! limit, so strangers cannot use it up. Other devices share the limits of their address, and one of
//! the account, which is higher:
//!
//! - an address may fail a few times for one account, and more often in total;
//! - when many addresses have failed for an account, each further address may fail once, so that the
//!   owner can still sign in from a new device, until a second, much higher limit.

use std::{sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use shiori_sdk::{Timestamp, UserId};
use tokio::runtime::Handle;

use crate::{
    auth::DeviceClaims,
    config::SessionPolicy,
    slots::Address,
    store::{Attempts, SessionStore, StoreError, ThrottlePolicy},
};

/// The second limit of an account is this many times the first.
const FIRST_ATTEMPTS: u32 = 10;

/// A key of counted attempts, which does not reveal what it is made of.
pub(crate) type Key = [u8; 32];

/// An attempt is not permitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Throttled {
    /// Too many attempts; retry after this time.
    #[error("too many attempts")]
    For(Duration),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A permitted attempt to sign in. It counts as a failure from [`SignIn::begin_check`] until
/// [`SignIn::succeeded`]. If it is dropped before, because an engine or the server is not available, or
/// the client has gone, it does not count.
#[must_use = "a success has to be stored"]
pub(crate) struct SignIn {
    store: Arc<dyn SessionStore>,
    /// The counts of this device or address with the account.
    own: Key,
    /// The counts that others share.
    shared: Vec<Key>,
    counts: bool,
}

impl SignIn {
    /// Counts an attempt to sign in. `device` is a device of the account.
    ///
    /// # Errors
    ///
    /// [`Throttled`] if it is not permitted.
    pub(crate) async fn begin(
        store: &Arc<dyn SessionStore>,
        policy: &SessionPolicy,
        now: Timestamp,
        account: &str,
        address: Address,
        device: Option<&DeviceClaims>,
    ) -> Result<Self, Throttled> {
        let address = address.to_bytes();
        let own = match device {
            Some(device) => key("device", &[device.device()]),
            None => key("account and address", &[&address, account.to_lowercase().as_bytes()]),
        };
        let mut attempt = Self { store: store.clone(), own, shared: Vec::new(), counts: false };
        let attempts = attempt.count(own, now, policy.login_throttle, 1).await?;
        if device.is_none() {
            let by_address = key("address", &[&address]);
            attempt.count_shared(by_address, now, policy.login_throttle_per_address, 1).await?;
            let factor = if attempts.count == 1 { FIRST_ATTEMPTS } else { 1 };
            let by_account = account_key(account);
            let limit = policy.login_throttle_per_account;
            attempt.count_shared(by_account, now, limit, factor).await?;
        }
        Ok(attempt)
    }

    /// As [`Self::count`], for a count that others share.
    async fn count_shared(
        &mut self,
        key: Key,
        now: Timestamp,
        limit: ThrottlePolicy,
        factor: u32,
    ) -> Result<(), Throttled> {
        self.shared.push(key);
        self.count(key, now, limit, factor).await.map(drop)
    }

    /// Counts it. A rejected attempt remains counted. `factor` multiplies the limit.
    async fn count(
        &mut self,
        key: Key,
        now: Timestamp,
        limit: ThrottlePolicy,
        factor: u32,
    ) -> Result<Attempts, Throttled> {
        let attempts = count(&*self.store, &key, now, limit).await?;
        let most = limit.attempts.saturating_mul(factor);
        let permitted = within(attempts, ThrottlePolicy { attempts: most, ..limit });
        self.counts = permitted.is_err();
        permitted.map(|()| attempts)
    }

    /// From now on, it counts: the hash of the password is computed, even if the client does not wait.
    pub(crate) fn begin_check(&mut self) {
        self.counts = true;
    }

    /// The hash could not be computed.
    pub(crate) fn was_not_checked(mut self) {
        self.counts = false;
    }

    /// The password was right.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    pub(crate) async fn succeeded(self) -> Result<(), StoreError> {
        self.store.clear_attempts(&self.own).await?;
        // Not cleared: otherwise a stranger could do so by signing in to an account of their own.
        for key in &self.shared {
            self.store.refund_attempt(key).await?;
        }
        Ok(())
    }
}

impl Drop for SignIn {
    fn drop(&mut self) {
        if self.counts {
            return;
        }
        // Without a runtime, the server has ended.
        let Ok(runtime) = Handle::try_current() else { return };
        let (store, own, shared) = (self.store.clone(), self.own, std::mem::take(&mut self.shared));
        runtime.spawn(async move {
            for key in shared.iter().chain([&own]) {
                refund(&*store, key).await;
            }
        });
    }
}

/// Subtracts an attempt whose password was not checked. Does not fail, because its request does.
pub(crate) async fn refund(store: &dyn SessionStore, key: &Key) {
    if let Err(error) = store.refund_attempt(key).await {
        tracing::debug!(%error, "an attempt counts until its window ends, although it was not checked");
    }
}

/// The key under which the attempts of all addresses for an account are counted.
pub(crate) fn account_key(email: &str) -> Key {
    key("account", &[email.to_lowercase().as_bytes()])
}

/// A permitted attempt of a signed-in user to confirm the password, with the key of its count.
/// These attempts are counted apart from logins, which anybody can send.
///
/// # Errors
///
/// [`Throttled`] if it is not permitted.
pub(crate) async fn confirm_password(
    store: &dyn SessionStore,
    policy: ThrottlePolicy,
    now: Timestamp,
    user: UserId,
) -> Result<Key, Throttled> {
    let key = key("password", &[user.as_bytes()]);
    within(count(store, &key, now, policy).await?, policy)?;
    Ok(key)
}

/// Counts an attempt to create an account.
///
/// # Errors
///
/// [`Throttled`] if it is not permitted.
pub(crate) async fn sign_up(
    store: &dyn SessionStore,
    policy: ThrottlePolicy,
    now: Timestamp,
    address: Address,
) -> Result<(), Throttled> {
    let key = key("sign-up", &[&address.to_bytes()]);
    within(count(store, &key, now, policy).await?, policy)
}

async fn count(
    store: &dyn SessionStore,
    key: &Key,
    now: Timestamp,
    policy: ThrottlePolicy,
) -> Result<Attempts, StoreError> {
    store.record_attempt(key, now, policy.window).await
}

fn within(attempts: Attempts, policy: ThrottlePolicy) -> Result<(), Throttled> {
    if attempts.count <= policy.attempts { Ok(()) } else { Err(Throttled::For(attempts.remaining)) }
}

/// Only the last part may have a variable length.
fn key(kind: &str, parts: &[&[u8]]) -> Key {
    let mut digest = Sha256::new_with_prefix(kind);
    for part in parts {
        digest.update([0]);
        digest.update(part);
    }
    digest.finalize().into()
}
