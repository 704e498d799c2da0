//! Group commit. The first writer becomes the leader: it takes the write lock, applies all waiting
//! requests in one transaction, commits once and returns the responses.
//!
//! After a commit the leader unlocks, wakes the members of its group, hands leadership to the
//! oldest request that waits with a thread (if there is none, to the worker), gives the commit
//! signal, and runs completions. The worker is one thread, started on first use. It leads for
//! requests without a thread, sweeps behind compactions and revokes leases that have expired.
//!
//! | file | contents |
//! |---|---|
//! | `terms` | durability and time limit of a request |
//! | `queue` | the waiting requests, and who leads |
//! | `durability` | what a power cut may take; gaps of revisions after it |
//! | `group_delay` | how many requests a group takes, and how long it waits for more |
//! | `times` | how long commits took |
//! | `group` | one group: apply, commit, outcomes |
//! | `committer` | [`Committer`]: the interface of this module |
//! | `leader` | a thread that waits for its request, or leads |
//! | `orders` | what the worker is ordered to do |
//! | `worker` | the worker thread |

mod committer;
mod durability;
mod group;
mod group_delay;
mod leader;
mod orders;
mod queue;
mod terms;
mod times;
mod worker;

pub(crate) use committer::{Batch, Committer};
pub(crate) use durability::remove_lazy_boot;
pub(crate) use group::now_ns;
#[cfg(test)]
pub(crate) use queue::Outcome;
pub(crate) use queue::Work;
pub(crate) use terms::Terms;
