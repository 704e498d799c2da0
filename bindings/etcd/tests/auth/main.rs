//! Users and rights of `kv serve`, compared with a real etcd 3.7 where one can be had.

#[path = "../wire/mod.rs"]
mod wire;

mod calls;
mod certificate;
mod jwt;
mod login;
mod rights;
mod watch;
