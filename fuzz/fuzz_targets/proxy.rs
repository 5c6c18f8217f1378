//! The allowlist's proxy: any bytes are the head of a request for a host and port, or are refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist::fuzzing::proxy(bytes));
