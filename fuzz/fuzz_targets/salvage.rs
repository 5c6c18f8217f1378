//! What an agent left, as the engine packs it: any bytes are a tar of which plain files and directories
//! are taken, or are refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist::fuzzing::salvage(bytes));
