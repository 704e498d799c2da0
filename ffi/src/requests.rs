//! Requests, from the keys and options that C passes in.

use libkv::{Delete, Put, Range, Result, Watch};

use crate::options::{KvDeleteOptions, KvPutOptions, KvRangeOptions, KvWatchOptions};
use crate::pointers::Caller;
use crate::types::{KvBytes, KvKeyRange};

pub(crate) fn put_request(
    c: &Caller,
    key: KvBytes,
    value: KvBytes,
    options: *const KvPutOptions,
) -> Result<Put> {
    let mut put = Put::new(c.bytes(key, "the key")?, c.bytes(value, "the value")?);
    c.options(options)?.set(&mut put)?;
    Ok(put)
}

pub(crate) fn delete_request(
    c: &Caller,
    range: KvKeyRange,
    options: *const KvDeleteOptions,
) -> Result<Delete> {
    let mut delete = Delete::new(c.range(range)?);
    c.options(options)?.set(&mut delete)?;
    Ok(delete)
}

pub(crate) fn range_request(
    c: &Caller,
    range: KvKeyRange,
    options: *const KvRangeOptions,
) -> Result<Range> {
    let mut range = Range::new(c.range(range)?);
    c.options(options)?.set(&mut range)?;
    Ok(range)
}

pub(crate) fn watch_request(
    c: &Caller,
    range: KvKeyRange,
    options: *const KvWatchOptions,
) -> Result<Watch> {
    let mut watch = Watch::new(c.range(range)?);
    c.options(options)?.set(&mut watch)?;
    Ok(watch)
}
