//! Agents' settings: any bytes are an `agent.toml` or a `config.yaml`, or are refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medalist::fuzzing::agents(bytes));
