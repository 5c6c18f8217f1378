//! The CSV reader: any bytes are a table or refused, and every cell of a table can be read in every
//! way.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist_fuzz::csv::run(bytes));
