//! Passwords; access, refresh and device tokens.

mod device;
mod hs256;
mod password;
mod token;
mod user_hash;

pub use password::HashCost;
pub(crate) use {
    device::DeviceClaims,
    password::{NewPassword, PasswordError, PasswordHash, PasswordHasher, Turn, Verdict},
    token::{RefreshClaims, TokenError, TokenKeys},
    user_hash::UserHash,
};
