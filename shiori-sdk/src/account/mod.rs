//! The account of the user: read, change, delete, export, import.

mod change;
mod export;
mod import;

use crate::client::Client;
pub use export::{Export, ExportReader};
pub use import::{ImportConflict, ImportReport, RejectedDiary};

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
