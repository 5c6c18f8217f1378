//! The parsers inside cells: run lengths, boxes, points, sets, orders. The first byte chooses a
//! competition, the rest is the graded cell.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist_fuzz::cells::run(bytes));
