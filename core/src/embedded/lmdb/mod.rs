//! The only code that calls LMDB: the environment, its transactions, cursors, and the pages of the
//! data file (read with pread, for files that LMDB must not open).
//!
//! This module handles trees by name and bytes, not the meaning of keys. All `unsafe` code of the
//! storage is here: what leaves this module is borrowed from a transaction, checked by the
//! compiler.
//!
//! | file | contents |
//! |---|---|
//! | `tree` | the names of the trees |
//! | `error` | from the return codes of LMDB to errors of this crate |
//! | `page_layout` | the format of LMDB's pages, as far as libkv reads it |
//! | `data_file` | what kind of file a data file is, and the `meta` of a store |
//! | `env` | the environment, with a pool of parked read transactions |
//! | `reader_table` | LMDB's table of readers: which processes read which commit |
//! | `txn` | reading through a transaction; read transactions |
//! | `write_txn` | write transactions |
//! | `cursor` | walking through a tree, and counting by whole pages |

mod cursor;
pub(crate) mod data_file;
mod env;
mod error;
pub(crate) mod page_layout;
mod reader_table;
mod tree;
mod txn;
mod write_txn;

pub(crate) use cursor::Cursor;
pub(crate) use env::{Env, EnvOptions, MAP_BYTES, create_data_file, version};
pub(crate) use reader_table::free_own_readers;
pub(crate) use tree::Tree;
pub(crate) use txn::Txn;
pub(crate) use write_txn::WriteTxn;
