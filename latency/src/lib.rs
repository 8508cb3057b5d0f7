#![forbid(unsafe_code)]
//! The latency lab's report: what was measured on which system, side by side.
//!
//! ```text
//!   @{"histogram":..} @{"worst_sample":..} ─► collect ─┐
//!   cyclictest's histogram ─► Distribution ────────────┴─► Report ─┬─► latency.json
//!                                                                  ├─► latency/*.hgrm
//!                                                                  ├─► latency.html
//!                                                                  └─► table, explanation
//! ```
//!
//! | module | question |
//! |---|---|
//! | [`report`] | what does a report hold, and how does it read as JSON? |
//! | [`distribution`] | how are a row's samples spread? |
//! | [`collect`] | what did a running nanokernel report? |
//! | [`worst`] | what did one of the longest waits go to? |
//! | [`hgrm`] | how does a distribution look as a percentile file? |
//! | [`explain`] | how does a worst wait look as text? |
//! | [`page`] | how does all of it look in a browser? |
//!
//! Nothing here depends on the host's time or on the order of a hash: the same measurements give the
//! same bytes.

pub mod collect;
pub mod distribution;
pub mod explain;
pub mod hgrm;
pub mod page;
pub mod quantity;
pub mod report;
pub mod worst;

pub use collect::Collected;
pub use distribution::Distribution;
pub use report::{Budget, Extra, Load, Overhead, Program, Report, Row, Source, System};
pub use worst::{Moment, Span, Worst};
