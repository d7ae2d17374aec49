//! Who is who: e-mail addresses, passwords, access and refresh tokens.

mod email;
mod password;
mod token;

pub use email::{Email, InvalidEmail};
pub use password::{HashCost, PasswordError, PasswordHash, PasswordHasher};
pub use token::{Claims, TokenError, TokenKeys};
