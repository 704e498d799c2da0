//! The program `kv`, driven as a person or a script does.

mod auth;
mod cluster;
mod commands;
mod coordination;
mod serve;
mod setups;
mod shell;
mod statuses;
mod support;
mod terminal;
mod transfer;
