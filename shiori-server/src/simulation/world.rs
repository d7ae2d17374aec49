//! One schedule: what takes part in it, its faults, and its end.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use shiori_sdk::{Date, DateRange, Document, SessionId, UserId, Week};
use shiori_worker::Clock;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    diarists::{Diarist, Follower, words},
    ledger::Ledger,
    network::Network,
    queue::SimulatedQueue,
    requesters::Requester,
    schedule::{below, fail_one_in, index, millis, note},
    workers::{Model, RunningWorker},
};
use crate::{
    store::{
        DiaryQuota, DiaryStore, HistoryPolicy, NewVersion,
        memory::{Fault, Immediate, MemoryStore},
    },
    summary::SummaryPolicy,
};

/// The faults of the code that a schedule runs; none by default.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Planted {
    pub(super) store: Option<Fault>,
    pub(super) lease_is_unchecked: bool,
    pub(super) hints_are_not_repeated: bool,
}

/// What a schedule consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Diaries,
    Summaries,
}

/// How long, after the last fault, a client may wait for its answers and a summary for its end. More
/// than a clock's jump, the pause after a failed step of a dispatcher, and a lease.
const LIMIT: Duration = Duration::from_secs(300);

/// How long a follower of hints may be behind. More than the time in which a dropped write may still
/// be applied.
const FOLLOWER_LIMIT: Duration = Duration::from_secs(30);

const POLICY: SummaryPolicy = SummaryPolicy {
    lease: Duration::from_secs(2),
    max_attempts: 3,
    required_days: 1,
    max_unfinished: 4,
    max_per_day: None,
    hint_timeout: Duration::from_secs(2),
    first_backoff: Duration::from_millis(300),
    max_backoff: Duration::from_secs(2),
    llm_patience: shiori_worker::Patience::DEFAULT,
};

struct World {
    network: Network,
    store: MemoryStore,
    user: UserId,
    workers: Vec<RunningWorker>,
    model: Model,
    planted: Planted,
}

/// Runs a schedule. Returns the first violation of a rule.
pub(super) async fn run(subject: Subject, planted: Planted) -> Result<(), String> {
    let ledger = Ledger::new(POLICY.max_attempts);
    let store = MemoryStore::new(Arc::new(Immediate), planted.store);
    let queue = SimulatedQueue::new(!planted.hints_are_not_repeated);
    let network = {
        let dispatches = subject == Subject::Summaries;
        Network::new(store.clone(), queue, ledger.clone(), POLICY, dispatches)
    };
    for _ in 0..=below(2) {
        network.add_server();
    }
    let (user, model) = (UserId::new(), Model::default());
    let mut world = World { network, store, user, workers: Vec::new(), model, planted };
    let violation = match subject {
        Subject::Diaries => world.diaries().await,
        Subject::Summaries => world.summaries().await,
    };
    violation.and_then(|()| ledger.violation().map_or(Ok(()), Err))
}

fn day(day: u8) -> Date {
    Date::new(2026, 2, day).expect("a real day")
}

impl World {
    /// Two to four clients write one to three dates.
    async fn diaries(&mut self) -> Result<(), String> {
        let dates: Vec<_> = (0..=index(3)).map(|nth| [day(16), day(17), day(18)][nth]).collect();
        let follower = Follower {
            network: self.network.clone(),
            user: self.user,
            range: DateRange::new(day(16), day(18)).expect("ordered"),
            known: Arc::default(),
        };
        // The hints of other servers are relayed by Redis, which is not simulated.
        let follows = self.network.count() == 1;
        if follows {
            tokio::spawn(follower.clone().follow());
        }
        let deletes = below(3) == 0;
        let clients = (0..2 + index(3)).map(|nth| {
            let (network, user, dates) = (self.network.clone(), self.user, dates.clone());
            let client = Diarist { network, user, nth, dates, deletes };
            tokio::spawn(client.write(1 + index(3)))
        });
        self.disturb(clients.collect()).await?;
        if follows {
            let catches_up = async {
                while !follower.is_current() {
                    sleep(Duration::from_millis(500)).await;
                }
            };
            let caught_up = timeout(FOLLOWER_LIMIT, catches_up).await;
            caught_up.map_err(|_| "a follower of the hints has missed a change".to_owned())?;
        }
        self.check_texts(&dates).await;
        Ok(())
    }

    /// One to three clients request summaries of one or two weeks, and one writes their diaries.
    async fn summaries(&mut self) -> Result<(), String> {
        let dates = [day(16), day(23)];
        let dates = &dates[..=index(2)];
        for date in dates {
            self.write_first(*date).await;
        }
        for nth in 0..=index(2) {
            self.workers.push(self.start_worker(nth));
        }
        let weeks: Vec<_> =
            dates.iter().map(|date| Week::starting(*date).expect("a week")).collect();
        let mut clients = Vec::new();
        for nth in 0..=index(3) {
            let (network, user, weeks) = (self.network.clone(), self.user, weeks.clone());
            let client = Requester { network, user, nth, weeks };
            clients.push(tokio::spawn(client.request(1 + index(2))));
        }
        let (network, user, nth) = (self.network.clone(), self.user, clients.len());
        let client = Diarist { network, user, nth, dates: dates.to_vec(), deletes: below(4) == 0 };
        clients.push(tokio::spawn(client.write(index(3))));
        self.disturb(clients).await?;
        let ledger = self.network.ledger.clone();
        let all_end = async {
            while ledger.unfinished() > 0 {
                ledger.changed.notified().await;
            }
        };
        let ended = timeout(LIMIT, all_end).await;
        ended.map_err(|_| format!("{} summaries have not ended", ledger.unfinished()))?;
        self.check_texts(dates).await;
        Ok(())
    }

    fn start_worker(&self, nth: usize) -> RunningWorker {
        let checks_lease = !self.planted.lease_is_unchecked;
        RunningWorker::start(nth, &self.network, checks_lease, &self.model)
    }

    /// Saves the first text of a date, without faults.
    async fn write_first(&self, date: Date) {
        let server = self.network.server(0);
        let save = NewVersion {
            user: self.user,
            date,
            title: "글".to_owned(),
            content: Document::from_text("first"),
            expected: None,
            save_id: None,
            quota: DiaryQuota::default(),
            session: SessionId::new(),
            history: HistoryPolicy::default(),
            keep_replaced: false,
            now: server.clock.now(),
        };
        server.store.save(&save).await.expect("nothing fails yet");
    }

    /// Disturbs the clients until nothing fails any more, and waits for them.
    async fn disturb(&mut self, clients: Vec<JoinHandle<()>>) -> Result<(), String> {
        fail_one_in([0, 6, 12, 30][index(4)]);
        for _ in 0..below(5) {
            sleep(millis(1_500)).await;
            self.fault();
        }
        sleep(millis(1_000)).await;
        note(|| "from now on, nothing fails".to_owned());
        fail_one_in(0);
        self.model.suspend(false);
        for nth in 0..self.network.count() {
            self.network.restart(nth);
        }
        for nth in 0..self.workers.len() {
            if !self.workers[nth].is_running() {
                self.workers[nth] = self.start_worker(nth);
            }
        }
        let ended = timeout(LIMIT, join_all(clients)).await;
        let ended = ended.map_err(|_| "a client still waits".to_owned())?;
        let panicked = ended.into_iter().any(|client| client.is_err());
        if panicked { Err("a client panicked".to_owned()) } else { Ok(()) }
    }

    /// One fault of a process, a clock, the queue or the model.
    fn fault(&mut self) {
        let server = index(self.network.count());
        if below(2) == 0 {
            self.network.restart(server);
        }
        match below(8) {
            0..=2 => self.network.crash(server),
            3 => {
                let ahead = i64::try_from(below(80_000)).unwrap_or_default() - 40_000;
                note(|| format!("server {server}: the clock is {ahead} ms ahead"));
                self.network.server(server).clock.set_ahead(ahead);
            }
            4 => {
                let ahead = i64::try_from(below(20_000)).unwrap_or_default() - 10_000;
                note(|| format!("queue: loses its hints; the clock is {ahead} ms ahead"));
                self.network.queue.clock.set_ahead(ahead);
                self.network.queue.flush();
            }
            5 if !self.workers.is_empty() => {
                let nth = index(self.workers.len());
                self.workers[nth].stop();
                self.model.suspend(below(2) == 0);
            }
            _ if !self.workers.is_empty() => {
                let nth = index(self.workers.len());
                self.workers[nth].crash();
                if below(2) == 0 {
                    self.workers[nth] = self.start_worker(nth);
                }
            }
            _ => {}
        }
    }

    async fn check_texts(&self, dates: &[Date]) {
        for date in dates {
            let diary = self.store.get(self.user, *date).await.expect("nothing fails");
            self.network.ledger.check_text(*date, &words(diary.as_ref()));
        }
    }
}
