//! A replica without async.

use super::Client;
use crate::{
    ConflictNote, Date, DateRange, Draft, ReplicaDiary, ReplicaEntry, ReplicaStore, Result,
    UnsentChanges,
};

/// The diaries on this device; see [`crate::Replica`]. Created by [`Client::replica`].
#[derive(Debug, Clone)]
pub struct Replica {
    client: Client,
    replica: crate::Replica,
}

/// Methods of a replica that block on the async method of the same name.
macro_rules! blocking_replica {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $output:ty;)*) => {
        impl Replica {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// As the async method.
                pub fn $name(&self, $($argument: $kind),*) -> Result<$output> {
                    self.client.block_on(self.replica.$name($($argument),*))
                }
            )*
        }
    };
}

blocking_replica! {
    /// The diary of a date; see [`crate::Replica::get`].
    get(date: Date) -> Option<ReplicaDiary>;
    /// Lists the diaries of a range; see [`crate::Replica::list`].
    list(range: DateRange) -> Vec<ReplicaEntry>;
    /// Saves a draft on this device; see [`crate::Replica::save`].
    save(date: Date, draft: Draft) -> ();
    /// Saves an edited text on this device; see [`crate::Replica::save_edited`].
    save_edited(date: Date, base: Option<ReplicaDiary>, draft: Draft) -> ();
    /// Deletes a diary on this device; see [`crate::Replica::delete`].
    delete(date: Date) -> ();
    /// Archives a diary on this device or restores it; see [`crate::Replica::archive`].
    archive(date: Date, archived: bool) -> ();
    /// The conflicts of a date; see [`crate::Replica::conflicts`].
    conflicts(date: Date) -> Vec<ConflictNote>;
    /// Removes conflicts that a user has seen; see [`crate::Replica::acknowledge`].
    acknowledge(date: Date, number: u64) -> ();
    /// Sends and reads changes; see [`crate::Replica::sync`].
    sync() -> ();
    /// Empties the store and ends the session; see [`crate::Replica::sign_out`].
    sign_out(unsent: UnsentChanges) -> ();
}

impl Replica {
    /// The dates with unsent changes; see [`crate::Replica::unsent`].
    pub fn unsent(&self) -> Vec<Date> {
        self.replica.unsent()
    }

    /// The async replica behind this one. They share the store.
    pub fn as_async(&self) -> &crate::Replica {
        &self.replica
    }
}

impl Client {
    /// Opens a replica with the default options; see [`crate::Replica::open`].
    ///
    /// # Errors
    ///
    /// As the async method.
    pub fn replica(&self, store: impl ReplicaStore + 'static) -> Result<Replica> {
        let replica = self.block_on(crate::Replica::open(self.client.clone(), store))?;
        Ok(Replica { client: self.clone(), replica })
    }
}
