//! The files of a run group: any bytes are a record or are refused, and an event is one plain line.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist::fuzzing::records(bytes));
