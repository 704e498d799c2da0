//! What can be written on top of [`Db`](crate::Db) alone, and so works over any engine.

mod scan;
mod snapshot;
mod transact;

pub use scan::{ChangeScan, EventScan, Scan};
pub use snapshot::Snapshot;
pub(crate) use transact::transact;
pub use transact::{Retries, TRANSACT_RETRIES, Transaction};
