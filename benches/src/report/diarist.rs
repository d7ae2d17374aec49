//! Users with diaries to read and to save.

use std::{
    collections::VecDeque,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use shiori_benches::{PASSWORD, page};
use shiori_sdk::{Client, Date, Diaries, Precondition, UserId, Version};

use crate::Result;

/// The HTTP client of the SDK and of the floors, with the settings that the SDK uses by default.
///
/// # Errors
///
/// If it cannot be created.
pub(crate) fn http_client() -> Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tcp_nodelay(true);
    Ok(client.build()?)
}

/// A signed-in client of a new user, and the user's id.
///
/// # Errors
///
/// If the server does not respond.
pub(crate) async fn sign_up(url: &str, http: &reqwest::Client) -> Result<(Client, UserId)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let email = format!("report-{}-{count}@example.com", process::id());
    let client = Client::builder(url).reqwest_client(http.clone()).build()?;
    let user = client.auth().signup(&email, PASSWORD, "report").await?;
    client.auth().login(&email, PASSWORD).await?;
    Ok((client, user))
}

/// Diaries of 3 KiB, of several users. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Diarist(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    days: Vec<(Diaries, Date)>,
    next: AtomicUsize,
    /// Those that no save is in progress for: their number and version. The longest unused is
    /// first.
    unused: Mutex<VecDeque<(usize, Version)>>,
}

/// Users of a [`Diarist`].
const USERS: usize = 8;

/// The first date.
const FIRST: (i16, u8, u8) = (2020, 1, 6);

impl Diarist {
    /// Creates the users and this number of diaries.
    ///
    /// # Errors
    ///
    /// If the server does not respond.
    pub(crate) async fn create(url: &str, http: &reqwest::Client, days: usize) -> Result<Self> {
        let mut users = Vec::with_capacity(USERS);
        for _ in 0..USERS {
            users.push(sign_up(url, http).await?.0.diaries());
        }
        let (year, month, day) = FIRST;
        let first = Date::new(year, month, day)?;
        let mut created = Vec::with_capacity(days);
        let mut unused = VecDeque::with_capacity(days);
        for nth in 0..days {
            let diaries = users[nth % USERS].clone();
            let date = i64::try_from(nth / USERS).ok().and_then(|after| first.plus_days(after));
            let date = date.ok_or("too many days")?;
            let saved = diaries.save(date, page(), Precondition::IfAbsent).await?;
            created.push((diaries, date));
            unused.push_back((nth, saved.version));
        }
        let inner = Inner { days: created, next: AtomicUsize::new(0), unused: Mutex::new(unused) };
        Ok(Self(Arc::new(inner)))
    }

    /// Reads the next diary. Returns whether it was found.
    pub(crate) async fn read(&self) -> bool {
        let next = self.0.next.fetch_add(1, Ordering::Relaxed) % self.0.days.len();
        let (diaries, date) = &self.0.days[next];
        matches!(diaries.get(*date).await, Ok(Some(_)))
    }

    /// Saves a new version of a diary that no other save is in progress for. Returns whether it was
    /// saved; false if all are in use.
    pub(crate) async fn save(&self) -> bool {
        let Some((nth, version)) = self.unused().pop_front() else { return false };
        let (diaries, date) = &self.0.days[nth];
        match diaries.save(*date, page(), Precondition::IfVersion(version)).await {
            Ok(saved) => {
                self.unused().push_back((nth, saved.version));
                true
            }
            Err(_) => false,
        }
    }

    fn unused(&self) -> MutexGuard<'_, VecDeque<(usize, Version)>> {
        self.0.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
