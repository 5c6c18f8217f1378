//! What the fuzz targets do with the bytes that they are given.

pub mod audit;
pub mod cells;
pub mod csv;
pub mod formats;

/// Archives; the first byte chooses the kind.
pub fn archives(bytes: &[u8]) {
    if let Some((kind, bytes)) = bytes.split_first() {
        medalist_competitions::fuzzing::archive(*kind, bytes);
    }
}

/// A target with its name.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 14] = [
    ("agents", medalist::fuzzing::agents),
    ("archives", archives),
    ("bundle", medalist::fuzzing::bundle),
    ("audit", audit::run),
    ("cells", cells::run),
    ("control", medalist::fuzzing::control),
    ("csv", csv::run),
    ("formats", formats::run),
    ("leaderboard", medalist::fuzzing::leaderboard),
    ("proxy", medalist::fuzzing::proxy),
    ("raw_tables", medalist_competitions::fuzzing::table),
    ("records", medalist::fuzzing::records),
    ("salvage", medalist::fuzzing::salvage),
    ("validation", medalist::fuzzing::validation),
];
