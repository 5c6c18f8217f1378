//! A bundle that somebody sends: any bytes are verified or refused, and nothing is left beside it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist::fuzzing::bundle(bytes));
