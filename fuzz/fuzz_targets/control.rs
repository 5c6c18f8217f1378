//! What the init answers in the control directory: any bytes are a record.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist::fuzzing::control(bytes));
