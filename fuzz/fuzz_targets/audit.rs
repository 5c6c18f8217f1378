//! The rules that look for violations: any bytes are read as code, as a log and as a conversation, and what is
//! quoted of them can be shown.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist_fuzz::audit::run(bytes));
