//! What several suites need: a real etcd, and the drivers of other languages.

pub mod etcd;
pub mod fetch;
pub mod programs;
