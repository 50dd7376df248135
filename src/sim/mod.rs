//! Both vendors' APIs, embedded: the default upstream of `weir demo`, a tool of its own, and the judge of the tests.
//!
//! So far the data that they answer.

mod world;

pub use world::{CHANNELS, Dimension, Granularity, Row, Selection, World};
