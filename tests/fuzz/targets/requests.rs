//! Messages of gRPC: they are decoded and converted to requests, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| libkv_etcd::fuzz::requests(data));
