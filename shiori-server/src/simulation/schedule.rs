//! The source of all choices of a schedule, and its trace. Everything of a schedule runs in one
//! thread, so its state is that of the thread.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    static FAULTS: Cell<u64> = const { Cell::new(0) };
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Trace {
    started: Instant,
    lines: Vec<String>,
}

/// Starts the schedule of this seed. Within a runtime.
pub(super) fn begin(seed: u64, is_traced: bool) {
    RANDOM.set(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    FAULTS.set(0);
    let trace = || Trace { started: Instant::now(), lines: Vec::new() };
    TRACE.set(is_traced.then(trace));
}

/// Ends the schedule. Returns its trace.
pub(super) fn end() -> Vec<String> {
    TRACE.take().map_or_else(Vec::new, |trace| trace.lines)
}

/// From now on, one in this number of steps and messages fails; with 0, none.
pub(super) fn fail_one_in(number: u64) {
    FAULTS.set(number);
}

/// Whether nothing fails.
pub(super) fn is_quiet() -> bool {
    FAULTS.get() == 0
}

/// Whether the next step or message fails.
pub(super) fn fails() -> bool {
    !is_quiet() && one_in(FAULTS.get())
}

/// A number below this one, by `SplitMix64`.
pub(super) fn below(number: u64) -> u64 {
    let state = RANDOM.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    RANDOM.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) % number
}

/// `true` with the probability of one in this number.
pub(super) fn one_in(number: u64) -> bool {
    below(number) == 0
}

/// An index of a list of this length.
pub(super) fn index(length: usize) -> usize {
    usize::try_from(below(length as u64)).unwrap_or_default()
}

/// A duration of less than this many milliseconds.
pub(super) fn millis(below_ms: u64) -> Duration {
    Duration::from_millis(below(below_ms))
}

/// A number from 0 to 1, for the pauses of the code under test.
pub(super) fn jitter() -> f64 {
    f64::from(u32::try_from(below(1001)).unwrap_or_default()) / 1000.0
}

/// An await at which other tasks may run: none of them, those that are ready, or also those that
/// are ready within some milliseconds.
pub(super) async fn point() {
    match below(8) {
        0..=2 => {}
        3 | 4 => yield_now().await,
        _ if !is_quiet() && one_in(64) => sleep(millis(4_000)).await,
        5 | 6 => sleep(Duration::from_millis(1 + below(4))).await,
        _ => sleep(Duration::from_millis(1 + below(60))).await,
    }
}

/// Adds a line to the trace, if there is one. It contains no text of a diary.
pub(super) fn note(line: impl FnOnce() -> String) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(trace) = trace {
            let at = trace.started.elapsed().as_millis();
            trace.lines.push(format!("{at:>6} ms  {}", line()));
        }
    });
}
