//! Passwords, access and refresh tokens.

mod hs256;
mod password;
mod token;

pub use password::HashCost;
pub(crate) use {
    password::{NewPassword, PasswordError, PasswordHash, PasswordHasher, Turn, Verdict},
    token::{RefreshClaims, TokenError, TokenKeys},
};
