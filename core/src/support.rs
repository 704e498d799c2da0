//! Helpers for the bindings and the server. They are not part of the API and may change in any
//! version.

pub use crate::completion::after_group;
use crate::embedded::os;
pub use crate::member::ids_of_store;
pub use crate::password::{BCRYPT_COST, BCRYPT_COSTS, hash_password, verify_password};
pub use crate::recipe::{
    Claim, ClaimCanceller, ClaimCompletion, ClaimDriver, ClaimRequest, ClaimWait, Claimant,
    claim_blocking, claim_key, claim_prefix, holder_request,
};

/// The number of forks between this process and the one that first called this or opened a store.
/// For engines whose handles must return `forked` in a child. Only the first call costs a system
/// call.
pub fn fork_generation() -> u64 {
    os::count_forks();
    os::fork_generation()
}

/// Blocks SIGPIPE for the calling thread, permanently. For threads that write to connections: in a
/// C program the signal would end the process.
pub fn block_sigpipe() {
    os::block_sigpipe();
}

/// Makes the allocator return freed blocks of 1 MiB and more to the system, for the whole process.
/// Each such block then costs page faults. For programs that are only a server.
pub fn return_large_memory() {
    os::return_large_memory();
}
