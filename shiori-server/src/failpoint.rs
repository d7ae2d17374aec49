//! Ends the process between two steps, for tests that must do so exactly there.

/// Ends the process as SIGKILL would, if the variable `SHIORI_FAILPOINT` is `name=n` and this is the
/// n-th time that a step of this name is reached. Builds without debug assertions do nothing.
pub(crate) fn reached(name: &str) {
    #[cfg(debug_assertions)]
    armed::reached(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        env, process,
        sync::{
            LazyLock,
            atomic::{AtomicU32, Ordering},
        },
    };

    /// The name, and the number of times that it is reached before the process ends.
    static SETTING: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let setting = env::var("SHIORI_FAILPOINT").ok()?;
        let (name, count) = setting.split_once('=')?;
        Some((name.to_owned(), AtomicU32::new(count.parse().ok()?)))
    });

    pub(super) fn reached(name: &str) {
        if let Some((failing, left)) = &*SETTING
            && failing == name
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            process::abort();
        }
    }
}
