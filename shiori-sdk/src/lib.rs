//! Client for the Shiori diary: saves that never lose text, and weekly AI summaries that never
//! make anyone wait.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod merge;
pub mod types;

pub use types::*;
