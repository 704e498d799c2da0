//! Requests, from the keys and options that C passes in.
#![allow(unsafe_code)]

use libkv::{Delete, Put, Range, Result, Watch};

use crate::options::{KvDeleteOptions, KvPutOptions, KvRangeOptions, KvWatchOptions};
use crate::types::{KvBytes, KvKeyRange, bytes_in, range_in, struct_in};

/// SAFETY: as `struct_in` and `bytes_in`.
pub(crate) unsafe fn put_request(
    key: KvBytes,
    value: KvBytes,
    options: *const KvPutOptions,
) -> Result<Put> {
    // SAFETY: said above.
    let (key, value, options) = unsafe {
        (
            bytes_in(key, "the key")?,
            bytes_in(value, "the value")?,
            struct_in(options)?,
        )
    };
    let mut put = Put::new(key, value);
    options.set(&mut put)?;
    Ok(put)
}

/// SAFETY: as `struct_in` and `range_in`.
pub(crate) unsafe fn delete_request(
    range: KvKeyRange,
    options: *const KvDeleteOptions,
) -> Result<Delete> {
    // SAFETY: said above.
    let (range, options) = unsafe { (range_in(range)?, struct_in(options)?) };
    let mut delete = Delete::new(range);
    options.set(&mut delete)?;
    Ok(delete)
}

/// SAFETY: as `struct_in` and `range_in`.
pub(crate) unsafe fn range_request(
    range: KvKeyRange,
    options: *const KvRangeOptions,
) -> Result<Range> {
    // SAFETY: said above.
    let (range, options) = unsafe { (range_in(range)?, struct_in(options)?) };
    let mut range = Range::new(range);
    options.set(&mut range)?;
    Ok(range)
}

/// SAFETY: as `struct_in` and `range_in`.
pub(crate) unsafe fn watch_request(
    range: KvKeyRange,
    options: *const KvWatchOptions,
) -> Result<Watch> {
    // SAFETY: said above.
    let (range, options) = unsafe { (range_in(range)?, struct_in(options)?) };
    let mut watch = Watch::new(range);
    options.set(&mut watch)?;
    Ok(watch)
}
