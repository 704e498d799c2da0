//! Snapshots: they are refused, or they become a store whose structure is sound.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    libkv_etcd::fuzz::snapshot(data);
});
