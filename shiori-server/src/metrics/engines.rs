//! Metrics that are read from the engines when they are exported.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use shiori_worker::{Clock, MeasuredClock};

use crate::store::Engine;

/// The engines of this server, and the clocks that it measures.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    pub(crate) observed: Vec<Arc<dyn Engine>>,
    /// Each with the name of its engine.
    pub(crate) clocks: Vec<(&'static str, Arc<MeasuredClock>)>,
}

impl Collector for Engines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.failures(&mut encoder)?;
        self.data_losses(&mut encoder)?;
        self.connections(&mut encoder)?;
        self.clocks(&mut encoder)
    }
}

impl Engines {
    fn failures(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Steps that failed: the engine was unavailable, or too many steps were waiting.";
        let kind = MetricType::Counter;
        let mut errors = encoder.encode_descriptor("store_errors", help, None, kind)?;
        for engine in &self.observed {
            let failures = engine.failures();
            for (kind, count) in
                [("unavailable", failures.unavailable), ("overloaded", failures.overloaded)]
            {
                let labels = [("engine", engine.name()), ("kind", kind)];
                ConstCounter::new(count).encode(errors.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn data_losses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How often the engine was found to have lost its data.";
        let kind = MetricType::Counter;
        let mut losses = encoder.encode_descriptor("store_data_losses", help, None, kind)?;
        for engine in &self.observed {
            if let Some(count) = engine.data_losses() {
                let labels = [("engine", engine.name())];
                ConstCounter::new(count).encode(losses.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let pools = || {
            let observed = self.observed.iter();
            observed.filter_map(|engine| Some((engine.name(), engine.connections()?)))
        };
        let help = "Connections to the engine by state.";
        let mut connections =
            encoder.encode_descriptor("store_connections", help, None, MetricType::Gauge)?;
        for (engine, pool) in pools() {
            for (state, count) in [("in_use", pool.in_use), ("idle", pool.idle)] {
                let labels = [("engine", engine), ("state", state)];
                gauge(count).encode(connections.encode_family(&labels)?)?;
            }
        }
        let help = "Maximum connections to the engine.";
        let mut max =
            encoder.encode_descriptor("store_connections_max", help, None, MetricType::Gauge)?;
        for (engine, pool) in pools() {
            gauge(pool.max).encode(max.encode_family(&[("engine", engine)])?)?;
        }
        let help = "Steps that wait for a connection to the engine.";
        let mut waiting =
            encoder.encode_descriptor("store_steps_waiting", help, None, MetricType::Gauge)?;
        for (engine, pool) in pools() {
            gauge(pool.waiting).encode(waiting.encode_family(&[("engine", engine)])?)?;
        }
        Ok(())
    }

    fn clocks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (seconds, kind) = (Some(&Unit::Seconds), MetricType::Gauge);
        let help = "How far the clock of the engine is ahead of the clock of this machine.";
        let mut offsets = encoder.encode_descriptor("clock_offset", help, seconds, kind)?;
        for (engine, clock) in &self.clocks {
            if let Some(offset) = clock.offset_seconds() {
                ConstGauge::new(offset).encode(offsets.encode_family(&[("engine", *engine)])?)?;
            }
        }
        let help = "Maximum error of the measured clock of the engine.";
        let mut errors = encoder.encode_descriptor("clock_error", help, seconds, kind)?;
        for (engine, clock) in &self.clocks {
            let error = ConstGauge::new(clock.error().as_secs_f64());
            error.encode(errors.encode_family(&[("engine", *engine)])?)?;
        }
        Ok(())
    }
}

fn gauge(count: usize) -> ConstGauge {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}
