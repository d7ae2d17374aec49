//! A run: clients and faults, then quiet, then everything is read once more.

use std::{
    process,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    Result,
    api::Api,
    clients::{Client, Shared},
    faults::{self, Injected},
    options::{Fault, Options},
    record::{Call, Outcome, Record},
    site::{CLOCK_OFFSET_S, Server, Site},
};

/// How long a summary may take after the last fault: its lease, the pauses between all attempts, and
/// lost hints.
const QUIET: Duration = Duration::from_secs(120);

/// How much longer it may take if the only clock went back.
const CLOCK_WENT_BACK: Duration = Duration::from_secs(2 * CLOCK_OFFSET_S.unsigned_abs() as u64);

/// How long after the last final status a late result could still arrive: a stopped worker has
/// continued at the end of the faults, and its model takes at most 2 s.
const LATE_RESULTS: Duration = Duration::from_secs(3);

/// How long the last reads may take, also if a summary has not ended.
const READS: Duration = Duration::from_secs(60);

/// The pause between two looks at one summary.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks at different summaries at the same time.
const LOOKS: usize = 8;

/// What a run has recorded.
pub(crate) struct Recorded {
    /// The calls, ordered by their ends.
    pub(crate) history: Vec<Record>,
    /// The faults.
    pub(crate) faults: Vec<Injected>,
    /// The number of servers. Client n called server n modulo this number.
    pub(crate) servers: usize,
}

/// Runs the clients and the faults.
///
/// # Errors
///
/// If a process does not start, or the servers do not respond when all faults have ended.
pub(crate) async fn run(options: &Options) -> Result<Recorded> {
    options.check()?;
    let mut site = Site::open(options).await?;
    let urls: Vec<String> = site.servers.iter().map(Server::url).collect();
    let email = format!("history-{}@example.com", process::id());
    let mut apis = Vec::new();
    for client in 0..options.clients.max(1) as usize {
        apis.push(Api::new(&urls[client % urls.len()], &email)?);
    }
    apis[0].sign_up().await?;
    let shared = Shared::new(options.dates);
    let clients = (0..).zip(&apis).map(|(nth, api)| Client::new(nth, api, &shared, options).run());
    let ending = async {
        sleep(Duration::from_secs(options.seconds)).await;
        shared.is_over.store(true, Ordering::Relaxed);
    };
    let injecting = async {
        let injected = faults::inject(options, &mut site, &shared).await;
        // The clients end, too, if a fault cannot be injected.
        shared.is_over.fetch_or(injected.is_err(), Ordering::Relaxed);
        injected
    };
    let (_, faults, ()) = tokio::join!(join_all(clients), injecting, ending);
    let faults = faults?;
    let quiet = if options.has(&[Fault::Clock]) { QUIET + CLOCK_WENT_BACK } else { QUIET };
    read_everything(&shared, &apis, Instant::now() + quiet).await?;
    let servers = site.servers.len();
    site.close().await;
    let mut history = shared.take_history();
    faults::mark_stale_reads(&mut history, &faults);
    Ok(Recorded { history, faults, servers })
}

/// Waits until all summaries are final, and reads every date and summary.
async fn read_everything(shared: &Shared, apis: &[Api], deadline: Instant) -> Result<()> {
    for summaries in [shared.summaries(), shared.summaries()] {
        let looks = stream::iter(summaries.into_iter().zip((0..apis.len()).cycle()));
        looks
            .for_each_concurrent(LOOKS, |(summary, nth)| async move {
                look_until_final(shared, (nth, &apis[nth]), summary, deadline).await;
            })
            .await;
        sleep(LATE_RESULTS).await;
    }
    let deadline = Instant::now() + READS;
    let (first, last) = (shared.dates()[0], shared.dates()[shared.dates().len() - 1]);
    let reads = shared.dates().iter().map(|date| Call::Read { date: *date });
    let versions = Call::Versions { start: first, end: last };
    for call in reads.chain([versions]) {
        for (nth, api) in apis.iter().enumerate() {
            definite(shared, (nth, api), &call, deadline)
                .await
                .ok_or("a server does not respond, although all faults have ended")?;
        }
    }
    Ok(())
}

async fn look_until_final(shared: &Shared, api: (usize, &Api), summary: Uuid, deadline: Instant) {
    loop {
        match definite(shared, api, &Call::Look { summary }, deadline).await {
            Some(Outcome::Summary(seen)) if !seen.status.is_final() => sleep(LOOK_EVERY).await,
            _ => return,
        }
        if Instant::now() > deadline {
            return;
        }
    }
}

/// Repeats a read until it has a definite outcome; `None` after the deadline.
async fn definite(
    shared: &Shared,
    (nth, api): (usize, &Api),
    call: &Call,
    deadline: Instant,
) -> Option<Outcome> {
    while Instant::now() < deadline {
        if api.is_signed_in() || api.sign_in().await.is_ok() {
            let client = u32::try_from(nth).unwrap_or(u32::MAX);
            match shared.call(client, api, call.clone()).await {
                Outcome::Indeterminate | Outcome::Rejected(_) => {}
                outcome => return Some(outcome),
            }
        }
        sleep(LOOK_EVERY).await;
    }
    None
}
