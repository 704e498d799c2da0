//! JSON that comes to the gateway: it is read or refused, and what was read goes there and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| libkv_etcd::fuzz::gateway(data));
