//! Raw CSV tables: any bytes are a table or refused, and a table can be printed.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist_competitions::fuzzing::table(bytes));
