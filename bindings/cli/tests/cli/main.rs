//! Tests that run the program `kv`, as from a shell or a script.

mod auth;
mod cluster;
mod commands;
mod config_file;
mod coordination;
mod copy;
mod members;
mod mirror;
mod serve;
mod setups;
mod shell;
mod statuses;
mod support;
mod terminal;
mod transfer;
