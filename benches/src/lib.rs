//! Code that the benches share: a server, users and their weeks, models of different speeds, and
//! tables of figures.

mod checkpoint;
mod engines;
mod figures;
mod model;
mod place;
mod provider;
mod weeks;

pub use checkpoint::{sentences, write_checkpoint};
pub use engines::{Engines, Worker};
pub use figures::{Percentiles, record, resident_mib};
pub use model::{Model, Pace};
pub use place::{PASSWORD, Place, runtime};
pub use provider::Provider;
pub use weeks::FreshWeeks;
