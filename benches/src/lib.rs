//! What the benches share: a server, people, models in different moods, and tables of figures.

mod figures;
mod model;
mod place;

pub use figures::{Percentiles, record};
pub use model::{Model, Pace};
pub use place::{Place, runtime};
