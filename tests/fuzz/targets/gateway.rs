//! JSON for the gateway: it is decoded or refused, and a decoded message survives a round trip.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| libkv_etcd::fuzz::gateway(data));
