//! Permissions and ranges: the rights of a user are those of a simple model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| libkv_etcd::fuzz::rights(data));
