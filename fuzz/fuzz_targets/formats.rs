//! The rarer raw formats: any bytes are JSON, BSON, TFRecord, npy or PNG, or are refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist_fuzz::formats::run(bytes));
