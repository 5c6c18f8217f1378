//! The rule for medal thresholds on every board of the catalogue.

use std::collections::BTreeMap;
use std::path::Path;

use medalist_grading::{Direction, Leaderboard};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    rows: usize,
    gold: f64,
    silver: f64,
    bronze: f64,
    median: f64,
    lower_is_better: bool,
}

#[test]
fn thresholds_of_all_boards_follow_the_rule() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(repository.join("tests/golden/boards.json")).unwrap();
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&text).unwrap();
    assert_eq!(expected.len(), 75);
    for (id, expected) in expected {
        let path = repository.join("competitions/catalog").join(&id).join("leaderboard.csv");
        let board = Leaderboard::read(&path).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(board.scores().len(), expected.rows, "{id}");
        assert_eq!(board.direction() == Direction::Lower, expected.lower_is_better, "{id}");
        let t = board.thresholds();
        for (ours, theirs) in [
            (t.gold, expected.gold),
            (t.silver, expected.silver),
            (t.bronze, expected.bronze),
            (t.median, expected.median),
        ] {
            assert!(
                (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0),
                "{id}: {t:?}, expected {theirs}"
            );
        }
    }
}
