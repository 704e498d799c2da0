//! The program `kv`, driven as a person or a script does.

mod cluster;
mod commands;
mod coordination;
mod members;
mod serve;
mod setups;
mod shell;
mod statuses;
mod support;
mod terminal;
mod transfer;
