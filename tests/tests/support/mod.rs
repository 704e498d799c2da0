//! What several suites need: a real etcd.

pub mod etcd;
