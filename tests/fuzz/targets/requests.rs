//! Messages of gRPC: they are decoded and become requests, or are refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| libkv_etcd::fuzz::requests(data));
