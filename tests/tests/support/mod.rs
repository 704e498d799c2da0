//! What several suites need: a real etcd, its shell client, a server of ours, and the drivers of other
//! languages.

pub mod certificates;
pub mod etcd;
pub mod etcdctl;
pub mod fetch;
pub mod http;
pub mod programs;
pub mod served;
