//! What the benches share: a server, people and their weeks, models in different moods, and tables
//! of figures.

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
