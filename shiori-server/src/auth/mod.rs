//! E-mail addresses, passwords, access and refresh tokens.

mod email;
mod hs256;
mod password;
mod token;

pub use password::HashCost;
pub(crate) use {
    email::Email,
    password::{NewPassword, PasswordError, PasswordHash, PasswordHasher},
    token::{RefreshClaims, TokenError, TokenKeys},
};
