//! Imported leaderboards: any bytes are a board of finite scores, or are refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist::fuzzing::leaderboard(bytes));
