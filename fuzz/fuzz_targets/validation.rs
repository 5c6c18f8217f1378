//! The validation service: any bytes that a client sends are answered or refused, and nothing stays.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist::fuzzing::validation(bytes));
