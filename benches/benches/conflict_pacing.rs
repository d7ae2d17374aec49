//! Simulates the SDK's conflict policy and other common policies: saves per writer, share of
//! writers that give up, and time until all have succeeded. It needs no server and is
//! deterministic.
//!
//! The model: each writer reads the diary and saves over the version that it has read. A save
//! succeeds if no other save succeeded since that read. The server processes two requests at a
//! time, in the order of arrival. Times are those of the embedded server on the machine of the
//! other benches.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt::Write,
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use shiori_benches::{Contender, Pacing, contenders, record};

const WRITERS: [usize; 4] = [2, 8, 32, 128];

/// Simulations per figure.
const RUNS: u64 = 40;

/// Requests that the server processes concurrently.
const CORES: usize = 2;

/// The server's time for a read, a successful save and a rejected save.
const READ: Duration = Duration::from_micros(500);
const ACCEPTED: Duration = Duration::from_micros(1000);
const REJECTED: Duration = Duration::from_micros(500);

/// The outcome of one simulation.
struct Outcome {
    saves: usize,
    landed: usize,
    took: Duration,
}

struct Writer {
    pacing: Pacing,
    step: Step,
    /// The version that the writer has read, or that the last response contained.
    version: u64,
    saves: u32,
    sent: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Read,
    Save,
}

/// An event of a writer. Events are ordered by time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Duration,
    /// Orders simultaneous events.
    number: u64,
    writer: usize,
    kind: Kind,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Send,
    Arrive,
    Serve,
    Response { won: bool, version: u64 },
}

struct Race {
    contender: Contender,
    one_way: Duration,
    random: StdRng,
    writers: Vec<Writer>,
    events: BinaryHeap<Reverse<Event>>,
    number: u64,
    /// The current version.
    version: u64,
    waiting: VecDeque<usize>,
    busy: usize,
    outcome: Outcome,
}

impl Race {
    fn run(contender: Contender, writers: usize, one_way: Duration, seed: u64) -> Outcome {
        let writer = || Writer {
            pacing: (contender.start)(),
            step: Step::Read,
            version: 0,
            saves: 0,
            sent: Duration::ZERO,
        };
        let mut race = Self {
            contender,
            one_way,
            random: StdRng::seed_from_u64(seed),
            writers: (0..writers).map(|_| writer()).collect(),
            events: BinaryHeap::new(),
            number: 0,
            version: 0,
            waiting: VecDeque::new(),
            busy: 0,
            outcome: Outcome { saves: 0, landed: 0, took: Duration::ZERO },
        };
        for writer in 0..writers {
            race.happens(Duration::ZERO, writer, Kind::Send);
        }
        while let Some(Reverse(event)) = race.events.pop() {
            race.step(event);
        }
        race.outcome
    }

    fn happens(&mut self, at: Duration, writer: usize, kind: Kind) {
        self.number += 1;
        self.events.push(Reverse(Event { at, number: self.number, writer, kind }));
    }

    fn step(&mut self, Event { at, writer, kind, .. }: Event) {
        match kind {
            Kind::Send => {
                self.writers[writer].sent = at;
                if self.writers[writer].step == Step::Save {
                    self.writers[writer].saves += 1;
                    self.outcome.saves += 1;
                }
                let arrival = at + vary(self.one_way, &mut self.random);
                self.happens(arrival, writer, Kind::Arrive);
            }
            Kind::Arrive => {
                self.waiting.push_back(writer);
                self.serve(at);
            }
            Kind::Serve => {
                self.busy -= 1;
                let is_first = self.writers[writer].version == self.version;
                let won = self.writers[writer].step == Step::Save && is_first;
                self.version += u64::from(won);
                let back = at + vary(self.one_way, &mut self.random);
                self.happens(back, writer, Kind::Response { won, version: self.version });
                self.serve(at);
            }
            Kind::Response { won: true, .. } => {
                self.outcome.landed += 1;
                self.outcome.took = at;
            }
            Kind::Response { won: false, version } => self.handle_response(at, writer, version),
        }
    }

    /// Starts waiting requests while the server has a free core.
    fn serve(&mut self, at: Duration) {
        while self.busy < CORES
            && let Some(next) = self.waiting.pop_front()
        {
            self.busy += 1;
            let Writer { step, version, .. } = self.writers[next];
            let cost = match step {
                Step::Read => READ,
                Step::Save if version == self.version => ACCEPTED,
                Step::Save => REJECTED,
            };
            let done = at + vary(cost, &mut self.random);
            self.happens(done, next, Kind::Serve);
        }
    }

    /// Handles the response to a read or a rejected save.
    fn handle_response(&mut self, at: Duration, writer: usize, version: u64) {
        let this = &mut self.writers[writer];
        let (behind, round_trip) = (version - this.version, at.saturating_sub(this.sent));
        this.version = version;
        if this.step == Step::Read {
            this.step = Step::Save;
            return self.happens(at, writer, Kind::Send);
        }
        let pause = this.pacing.pause(behind, round_trip, &mut self.random);
        if this.saves >= self.contender.attempts || at + pause >= self.contender.deadline {
            return;
        }
        if !pause.is_zero() {
            this.step = Step::Read;
        }
        self.happens(at + pause, writer, Kind::Send);
    }
}

/// Varies a time by up to a third.
fn vary(time: Duration, random: &mut impl Rng) -> Duration {
    time.mul_f64(random.random_range(0.67..1.33))
}

#[allow(clippy::cast_precision_loss)] // a few thousand
fn main() {
    let mut table = String::from(
        "| saves per writer that landed, share that gave up, median time until all had landed or given up |",
    );
    for writers in WRITERS {
        let _ = write!(table, " {writers} writers |");
    }
    table.push_str("\n|---|---:|---:|---:|---:|\n");
    for (distance, one_way) in [
        ("same machine", Duration::from_micros(100)),
        ("40 ms away and back", Duration::from_millis(20)),
    ] {
        for contender in contenders() {
            let _ = write!(table, "| {distance}: {} |", contender.name);
            for writers in WRITERS {
                let races: Vec<_> =
                    (0..RUNS).map(|seed| Race::run(contender, writers, one_way, seed)).collect();
                let total = |of: fn(&Outcome) -> usize| races.iter().map(of).sum::<usize>() as f64;
                let (saves, landed) = (total(|race| race.saves), total(|race| race.landed));
                let gave_up = 100.0 * (1.0 - landed / (writers * races.len()) as f64);
                let mut times: Vec<_> = races.iter().map(|race| race.took).collect();
                times.sort_unstable();
                let took = times[times.len() / 2].as_millis();
                let _ = write!(table, " {:.2}, {gave_up:.0} %, {took} ms |", saves / landed);
            }
            table.push('\n');
        }
    }
    record("conflict_pacing", &table);
}
