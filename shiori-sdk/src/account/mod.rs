//! The account of the user: read, change, delete, export, import.

mod change;

use crate::client::Client;

impl Client {
    /// The account of the signed-in user.
    pub fn account(&self) -> Account {
        Account { client: self.clone() }
    }
}

/// The account of the signed-in user. Created by [`Client::account`].
#[derive(Debug, Clone)]
pub struct Account {
    client: Client,
}
