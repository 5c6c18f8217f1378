use super::*;
use crate::table::{Limits, Table};

fn ids(cells: &str) -> Table {
    let text = format!(
        "k,id\n{}\n",
        cells
            .split(' ')
            .enumerate()
            .map(|(k, c)| format!("{k},{c}"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    Table::parse(text.into_bytes(), &Limits::default()).unwrap()
}

fn order(cells: &str) -> Vec<usize> {
    sorted_rows(&[ids(cells).column("id").unwrap()]).iter().collect()
}

#[test]
fn sorts_numbers_by_value_and_text_by_code_point() {
    assert_eq!(order("10 9 -1"), [2, 1, 0]);
    assert_eq!(order("10 9000000000 -1"), [2, 0, 1]);
    assert_eq!(order("10.5 NA -inf 9"), [2, 3, 0, 1]);
    assert_eq!(order("a10 a9 a1 NA a9"), [2, 0, 1, 4, 3]);
    assert_eq!(order("prefix_aaaaaaaaaab prefix_aaaaaaaaaaa prefix_a"), [2, 1, 0]);
    assert_eq!(order("x \u{e9} \u{1f600} a"), [3, 0, 1, 2]);
}

/// A number that tells orders apart.
fn digest(order: &[u32]) -> u64 {
    let digest =
        order.iter().fold(0_u128, |digest, &row| (digest * 31 + u128::from(row)) % ((1 << 61) - 1));
    digest as u64
}

/// The orders are those of `numpy.argsort(kind="quicksort")`, numpy 1.26.4 without AVX-512, for
/// integers and for Python texts alike.
#[test]
fn equal_values_come_as_numpy_leaves_them() {
    let sorted = |keys: &[u32]| {
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        quicksort(&mut order, &|a, b| keys[a as usize] < keys[b as usize]);
        order
    };
    let few = [2, 1, 2, 1, 2, 2, 2, 2, 0, 1, 0, 2, 0, 0, 0, 1, 1];
    assert_eq!(sorted(&few[..16]), [8, 10, 12, 13, 14, 1, 3, 9, 15, 0, 2, 4, 5, 6, 7, 11]);
    assert_eq!(sorted(&few), [8, 14, 13, 12, 10, 9, 15, 16, 3, 1, 6, 5, 4, 11, 2, 7, 0]);
    let keys = |count: u32| (0..count).map(|i| (i * i * 7 + 3 * i) % 11).collect::<Vec<_>>();
    assert_eq!(digest(&sorted(&keys(1_000))), 1_259_320_604_413_119_272);
    assert_eq!(digest(&sorted(&keys(20_000))), 1_692_144_053_325_442_034);
    // A list made to send medians of three astray, so that a part is sorted as a heap.
    let half = 10_000;
    let low = (1..=half).map(|i| if i % 2 == 1 { i } else { half + i - 1 });
    let killer: Vec<u32> = low.chain((1..=half).map(|i| 2 * i)).map(|v| v / 2).collect();
    assert_eq!(digest(&sorted(&killer)), 515_806_763_055_810_064);
}

#[test]
fn repeated_ids_are_sorted_as_numpy_sorts_them() {
    let keys =
        ["2", "1", "2", "1", "2", "2", "2", "2", "0", "1", "0", "2", "0", "0", "0", "1", "1"];
    let expected = [8, 14, 13, 12, 10, 9, 15, 16, 3, 1, 6, 5, 4, 11, 2, 7, 0];
    assert_eq!(order(&keys.join(" ")), expected);
    assert_eq!(order(&format!("a{}", keys.join(" a"))), expected);
    assert_eq!(order(&format!("{}.5", keys.join(".5 "))), expected);
    // A missing id goes last and takes no part.
    let mut with_gap = expected.to_vec();
    with_gap.push(17);
    assert_eq!(order(&format!("a{} NA", keys.join(" a"))), with_gap);
    let table = ids(&keys.join(" "));
    let column = table.column("id").unwrap();
    assert!(arbitrary_order(column, &sorted_rows(&[column])).is_some());
    let table = ids("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18");
    let column = table.column("id").unwrap();
    assert_eq!(arbitrary_order(column, &sorted_rows(&[column])), None);
}

#[test]
fn rows_that_are_left_out_have_no_say_in_the_order_of_equal_ids() {
    let table = ids(&"2 1 2 1 2 2 2 2 0 1 0 2 0 0 0 1 1".replace(' ', " 9 "));
    let column = table.column("id").unwrap();
    let all = sorted_rows(&[column]);
    let sorted =
        sorted_alone(column, all.iter().map(|row| row as u32).filter(|row| row % 2 == 0).collect());
    let expected: [u32; 17] = [8, 14, 13, 12, 10, 9, 15, 16, 3, 1, 6, 5, 4, 11, 2, 7, 0];
    assert_eq!(sorted, expected.map(|place| 2 * place));
}

fn difference(answers: &str, submission: &str, rule: IdRule) -> Option<IdDifference> {
    let (a, s) = (ids(answers), ids(submission));
    let (a, s) = ([a.column("id").unwrap()], [s.column("id").unwrap()]);
    id_difference((&a, &sorted_rows(&a)), (&s, &sorted_rows(&s)), rule)
}

#[test]
fn compares_ids_by_value() {
    use IdRule::*;
    assert_eq!(difference("1 2 3", "3.0 1.0 2.0", Equal), None);
    assert_eq!(difference("a b", "b a", Equal), None);
    assert_eq!(difference("1 2", "1 a", Equal), Some(IdDifference::Missing { answer_row: 0 }));
    assert_eq!(difference("1 2 3", "1 3 4", Equal), Some(IdDifference::Missing { answer_row: 1 }));
    assert_eq!(difference("1 3", "1 2", Equal), Some(IdDifference::Unknown { submission_row: 1 }));
    assert_eq!(
        difference("1 2", "1 1 2", Equal),
        Some(IdDifference::Unknown { submission_row: 1 })
    );
    assert_eq!(difference("1 2", "1 1 2", SameSet), None);
    assert_eq!(difference("1 2", "0 1 1 2 5", Superset), None);
    assert_eq!(difference("1 2", "0 1 5", Superset), Some(IdDifference::Missing { answer_row: 1 }));
    assert!(difference("a NA", "a NA", Equal).is_some());
}
