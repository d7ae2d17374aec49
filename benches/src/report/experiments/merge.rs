//! Three-way merges of long diaries. They need no server.

use std::{hint::black_box, time::Instant};

use shiori_benches::{MergeCase, merge_cases};
use shiori_sdk::merge::merge3;

use super::Context;
use crate::{
    figures::{Experiment, Figures, Point},
    load::Sample,
};

/// The profile of figures that need no server.
pub(crate) const SDK: &str = "sdk";

/// Runs the experiment.
pub(crate) fn run(context: &Context, figures: &mut Figures) {
    for _ in 0..context.plan.repeats {
        for MergeCase { name, base, ours, theirs } in merge_cases() {
            let started = Instant::now();
            let mut sample = Sample::default();
            while started.elapsed() < context.plan.loop_time / 4 {
                let merged_at = Instant::now();
                drop(black_box(merge3(&base, &ours, &theirs)));
                sample.record(merged_at.elapsed());
            }
            sample.took = started.elapsed();
            figures.add_sample(&Point::new(SDK, Experiment::Merge, name, None), &sample);
        }
    }
}
