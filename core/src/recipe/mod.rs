//! Recipes: they use only [`Db`](crate::Db), so they work over any engine.

mod auth;
mod claim;
mod claim_driver;
mod claim_wait;
mod claimant;
mod election;
mod lease;
mod lock;
mod members;
mod scan;
mod snapshot;
mod transact;
mod wait_limit;
mod watcher;

pub use claim::{Claim, ClaimRequest, claim_key, claim_prefix, holder_request};
pub use claim_driver::{ClaimCompletion, ClaimDriver};
pub use claim_wait::{ClaimCanceller, ClaimWait, claim_blocking};
pub use claimant::Claimant;
pub use election::{Election, Leaders};
pub use lease::Lease;
pub use lock::Lock;
pub use scan::{DiffScan, EventScan, Scan};
pub use snapshot::Snapshot;
pub use transact::{Retries, TRANSACT_RETRIES, Transaction};
pub use wait_limit::WaitLimit;
pub use watcher::{Canceller, Watcher};
