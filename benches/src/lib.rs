//! Code that the benches share: a server, users and their weeks, models of different speeds, and
//! tables of figures.

mod checkpoint;
mod documents;
mod engines;
mod figures;
mod model;
mod pacing;
mod place;
pub mod process;
mod provider;
mod surroundings;
mod weeks;

pub use checkpoint::{long_sentences, sentences, write_checkpoint};
pub use documents::{BLOCKS, MergeCase, merge_cases, page};
pub use engines::{EngineUrls, Engines, Worker};
pub use figures::{Percentiles, processor, record, record_block, resident_mib};
pub use model::{DistinctModel, Model, Pace};
pub use pacing::{Contender, Pacing, contenders};
pub use place::{PASSWORD, Place, configuration, runtime};
pub use provider::{Provider, Writing};
pub use surroundings::{FakeClock, Surroundings};
pub use weeks::FreshWeeks;
