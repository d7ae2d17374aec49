//! Limits of sign-ins and sign-ups.
//!
//! Only failed sign-ins count. A device on which somebody has signed in to the account has its own
//! limit, so strangers cannot use it up. Other devices share the limits of their address, and one of
//! the account, which is higher:
//!
//! - an address may fail a few times for one account, and more often in total;
//! - when many addresses have failed for an account, each further address may fail once, so that the
//!   owner can still sign in from a new device, until a second, much higher limit.

use std::time::Duration;

use sha2::{Digest, Sha256};
use shiori_sdk::{Timestamp, UserId};

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

/// A permitted attempt to sign in, which counts as a failure until [`SignIn::succeeded`].
#[derive(Debug)]
#[must_use = "a success has to be stored"]
pub(crate) struct SignIn {
    /// The counts of this device or address with the account.
    own: Key,
    /// The counts that others share.
    shared: Vec<Key>,
}

impl SignIn {
    /// Counts an attempt to sign in. `device` is a device of the account.
    ///
    /// # Errors
    ///
    /// [`Throttled`] if it is not permitted.
    pub(crate) async fn begin(
        store: &dyn SessionStore,
        policy: &SessionPolicy,
        now: Timestamp,
        account: &str,
        address: Address,
        device: Option<&DeviceClaims>,
    ) -> Result<Self, Throttled> {
        if let Some(device) = device {
            let own = key("device", &[device.device()]);
            within(count(store, &own, now, policy.login_throttle).await?, policy.login_throttle)?;
            return Ok(Self { own, shared: Vec::new() });
        }
        let address = address.to_bytes();
        let own = key("account and address", &[&address, account.to_lowercase().as_bytes()]);
        let attempts = count(store, &own, now, policy.login_throttle).await?;
        within(attempts, policy.login_throttle)?;

        let by_address = key("address", &[&address]);
        let limit = policy.login_throttle_per_address;
        within(count(store, &by_address, now, limit).await?, limit)?;

        let by_account = account_key(account);
        let limit = policy.login_throttle_per_account;
        let factor = if attempts.count == 1 { FIRST_ATTEMPTS } else { 1 };
        let attempts = limit.attempts.saturating_mul(factor);
        within(count(store, &by_account, now, limit).await?, ThrottlePolicy { attempts, ..limit })?;
        Ok(Self { own, shared: vec![by_address, by_account] })
    }

    /// The password was right.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    pub(crate) async fn succeeded(self, store: &dyn SessionStore) -> Result<(), StoreError> {
        store.clear_attempts(&self.own).await?;
        // Not cleared: otherwise a stranger could do so by signing in to an account of their own.
        for key in &self.shared {
            store.refund_attempt(key).await?;
        }
        Ok(())
    }

    /// The password was not checked, because an engine or the server is not available. Does not fail,
    /// because the request does.
    pub(crate) async fn not_checked(self, store: &dyn SessionStore) {
        for key in self.shared.iter().chain([&self.own]) {
            refund(store, key).await;
        }
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
