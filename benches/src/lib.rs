//! What the benches share: a server, people and their weeks, models in different moods, and tables
//! of figures.

mod engines;
mod figures;
mod model;
mod place;
mod provider;
mod weeks;

pub use engines::{Engines, Worker};
pub use figures::{Percentiles, record};
pub use model::{Model, Pace};
pub use place::{PASSWORD, Place, runtime};
pub use provider::Provider;
pub use weeks::FreshWeeks;
