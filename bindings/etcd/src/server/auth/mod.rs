//! Users and rights: who a call comes from, and what that user may do.
//!
//! Users, roles and permissions are in the store, so that every process that opens it sees them;
//! core keeps them. Here is what only a server needs:
//!
//! | file | contents |
//! |---|---|
//! | `rights` | the rights of each user, from the roles in the store |
//! | `rights_model` | the same rights, computed simply, to compare them |
//! | `caller` | the token or the certificate of a call |
//! | `tokens` | tokens that the server has given to users |
//! | `jwt` | tokens that are signed, and need no memory |
//! | `policy` | which calls need no request to be decided: root only, any user, none |
//! | `caller_rights` | one caller at one moment: checks ranges, leases and whole requests |
//! | `guard` | [`Guard`]: joins all of the above for the services |
//! | `service` | the service Auth |

mod caller;
mod caller_rights;
mod guard;
mod jwt;
mod policy;
mod rights;
mod rights_model;
mod service;
mod token_spec;
mod tokens;

pub(crate) use caller::{Caller, PeerName};
pub(crate) use caller_rights::CallerRights;
pub(crate) use guard::Guard;
pub(crate) use policy::policy;
pub(crate) use rights_model::compare_rights;
pub(crate) use service::Auth;
pub(crate) use token_spec::TokenSpec;
