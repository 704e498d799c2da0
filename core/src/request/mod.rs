//! Requests and responses: plain values, run alone or inside a [`Txn`]. A file for each kind of
//! request; `any.rs` has all of them.

mod alarm;
mod any;
mod compact;
mod delete;
mod durability;
mod lease;
mod limits;
mod put;
mod range;
mod side;
mod status;
mod txn;
mod watch;

pub use alarm::*;
pub use any::*;
pub use compact::*;
pub use delete::*;
pub use durability::*;
pub use lease::*;
pub use limits::*;
pub use put::*;
pub use range::*;
pub use side::*;
pub use status::*;
pub use txn::*;
pub use watch::*;
