//! Raw archives: any bytes are a zip, 7z or tar that can be read, or are refused; nothing is written
//! outside the target folder, and both ways to read a member agree.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((kind, bytes)) = bytes.split_first() {
        medalist_competitions::fuzzing::archive(*kind, bytes);
    }
});
