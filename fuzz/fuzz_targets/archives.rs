//! Raw archives: any bytes are a zip, 7z or tar that can be read, or are refused; nothing is written
//! outside the target folder, and both ways to read a member agree.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist_fuzz::archives(bytes));
