use proptest::prelude::*;
use serde_json::Value;

use super::{Rng, *};
use crate::simulate::Simulation;

fn golden(test: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../../tests/golden/statistics.json")).expect("valid JSON");
    all[test].as_array().expect("a list of cases").clone()
}

fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap_or_else(|| panic!("`{key}` in {case}"))
}

fn numbers(case: &Value, key: &str) -> Vec<f64> {
    case[key].as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "found {found}, expected {expected}");
}

#[test]
fn t_intervals_equal_scipy() {
    for case in golden("t_interval") {
        let values = numbers(&case, "values");
        close(standard_error(&values), number(&case, "sem"));
        let interval = t_interval(&values, 0.95).expect("two values or more");
        close(interval.lower, number(&case, "lower"));
        close(interval.upper, number(&case, "upper"));
    }
    for case in golden("t_quantile") {
        close(t_quantile(number(&case, "p"), number(&case, "df")), number(&case, "value"));
    }
    assert_eq!(t_interval(&[0.5], 0.95), None);
}

#[test]
fn wilson_equals_statsmodels() {
    for case in golden("wilson") {
        let interval = wilson(number(&case, "successes") as usize, number(&case, "n") as usize, 0.95).expect("n > 0");
        close(interval.lower, number(&case, "lower"));
        close(interval.upper, number(&case, "upper"));
    }
    assert_eq!(wilson(0, 0, 0.95), None);
}

#[test]
fn sign_flips_equal_scipy_where_both_are_exact() {
    for case in golden("sign_flip") {
        close(sign_flip(&numbers(&case, "differences"), &mut Rng::new(1)), number(&case, "p"));
    }
    assert_eq!(sign_flip(&[0.0, 0.0], &mut Rng::new(1)), 1.0);
}

#[test]
fn mcnemar_and_holm_equal_statsmodels() {
    for case in golden("mcnemar") {
        close(mcnemar(number(&case, "gained") as usize, number(&case, "lost") as usize), number(&case, "p"));
    }
    for case in golden("holm") {
        for (found, expected) in holm(&numbers(&case, "p")).into_iter().zip(numbers(&case, "adjusted")) {
            close(found, expected);
        }
    }
}

#[test]
fn pass_at_k_is_the_share_of_subsets_with_a_success() {
    close(pass_at_k(3, 1, 1).expect("defined"), 1.0 / 3.0);
    close(pass_at_k(3, 1, 2).expect("defined"), 2.0 / 3.0);
    close(pass_at_k(5, 2, 3).expect("defined"), 1.0 - 1.0 / 10.0);
    assert_eq!(pass_at_k(3, 0, 3), Some(0.0));
    assert_eq!(pass_at_k(3, 2, 2), Some(1.0));
    assert_eq!(pass_at_k(3, 1, 4), None);
}

#[test]
fn equal_seeds_give_no_interval_on_these_competitions() {
    let clusters = vec![vec![1.0, 1.0], vec![0.0, 0.0]];
    assert_eq!(bootstrap_seeds(&clusters, 0.95, &mut Rng::new(1)), None);
    assert!(bootstrap_competitions(&clusters, 0.95, &mut Rng::new(1)).is_some());
}

#[test]
fn equal_inputs_give_equal_intervals() {
    let clusters = simulated(75, 3, 0.0, 9).medals();
    let twice = || bootstrap_competitions(&clusters, 0.95, &mut Rng::new(SEED));
    assert_eq!(twice(), twice());
}

fn simulated(competitions: usize, seeds: u32, shift: f64, draw: u64) -> Simulation {
    Simulation { agent: "a".to_owned(), competitions, seeds, shift, infrastructure: 0.0, truth: draw, draw: draw ^ 77 }
}

fn covered(runs: u64, inside: impl Fn(u64) -> bool) -> f64 {
    (0..runs).filter(|draw| inside(*draw)).count() as f64 / runs as f64
}

/// Chances of a binomial share at 95% over 600 runs stay within 0.95 ± 0.027 (three standard errors).
const RUNS: u64 = 600;

fn quick(seed: u64) -> Rng {
    Rng::new(seed).with_resamples(300)
}

#[test]
fn intervals_on_these_competitions_cover_the_truth() {
    let share = covered(RUNS, |draw| {
        let simulation = Simulation { truth: 5, ..simulated(75, 3, 0.0, draw) };
        let truth = mean(&simulation.rates());
        let interval = bootstrap_seeds(&simulation.medals(), 0.95, &mut quick(draw)).expect("seeds differ");
        (interval.lower..=interval.upper).contains(&truth)
    });
    assert!((0.923..=0.977).contains(&share), "covered {share}");
}

#[test]
fn intervals_on_competitions_like_these_cover_the_truth() {
    // The simulation squashes a uniform draw symmetrically, so the true mean over all competitions is one half.
    for competitions in [22, 75] {
        let share = covered(RUNS, |draw| {
            let medals = simulated(competitions, 3, 0.0, draw).medals();
            let interval = bootstrap_competitions(&medals, 0.95, &mut quick(draw)).expect("competitions differ");
            (interval.lower..=interval.upper).contains(&0.5)
        });
        assert!((0.923..=0.977).contains(&share), "covered {share} with {competitions} competitions");
    }
}

#[test]
fn t_intervals_over_seeds_cover_the_truth() {
    let share = covered(RUNS, |draw| {
        let simulation = Simulation { truth: 5, ..simulated(75, 3, 0.0, draw) };
        let medals = simulation.medals();
        let seeds: Vec<f64> = (0..3).map(|k| medals.iter().map(|c| c[k]).sum::<f64>() / 75.0).collect();
        let interval = t_interval(&seeds, 0.95).expect("three seeds");
        (interval.lower..=interval.upper).contains(&mean(&simulation.rates()))
    });
    assert!((0.923..=0.977).contains(&share), "covered {share}");
}

fn pair(shift: f64, draw: u64) -> Vec<(Cluster, Cluster)> {
    let baseline = Simulation { truth: 5, ..simulated(75, 3, 0.0, draw * 2 + 1) };
    let candidate = Simulation { truth: 5, ..simulated(75, 3, shift, draw * 2 + 2) };
    baseline.medals().into_iter().zip(candidate.medals()).collect()
}

#[test]
fn false_alarms_come_at_their_stated_rate() {
    let alarms = covered(RUNS, |draw| permutation_worse(&pair(0.0, draw), &mut quick(draw)) <= 0.05);
    assert!((0.02..=0.08).contains(&alarms), "alarms {alarms}");
}

#[test]
fn a_drop_is_caught_as_often_as_the_power_says() {
    let truth: f64 = {
        let simulation = Simulation { truth: 5, ..simulated(75, 3, 0.0, 1) };
        let dropped = Simulation { shift: -0.05, ..simulation.clone() };
        mean(&simulation.rates()) - mean(&dropped.rates())
    };
    let (mut caught, mut promised) = (0.0, 0.0);
    for draw in 0..RUNS {
        let pairs = pair(-0.05, draw);
        let p = permutation_worse(&pairs, &mut quick(draw));
        caught += if p <= 0.05 { 1.0 } else { 0.0 };
        promised += power_one_sided(truth, difference(&pairs).standard_error.expect("three seeds"), 0.05);
    }
    let (caught, promised) = (caught / RUNS as f64, promised / RUNS as f64);
    assert!((caught - promised).abs() < 0.08, "caught {caught}, promised {promised}");
}

proptest! {
    #[test]
    fn wilson_contains_the_share(n in 1_usize..400, k in 0_usize..400) {
        let k = k.min(n);
        let interval = wilson(k, n, 0.95).expect("n > 0");
        let share = k as f64 / n as f64;
        prop_assert!(interval.lower <= share + 1e-12 && share <= interval.upper + 1e-12);
    }

    #[test]
    fn the_order_of_competitions_does_not_change_p(mut d in prop::collection::vec(-1.0_f64..1.0, 1..10)) {
        let p = sign_flip(&d, &mut Rng::new(3));
        d.reverse();
        prop_assert!((p - sign_flip(&d, &mut Rng::new(3))).abs() < 1e-12);
        prop_assert!(p > 0.0 && p <= 1.0);
    }

    #[test]
    fn holm_never_lowers_and_keeps_order(p in prop::collection::vec(0.0_f64..=1.0, 1..12)) {
        let adjusted = holm(&p);
        for (i, a) in adjusted.iter().enumerate() {
            prop_assert!(*a >= p[i] - 1e-12 && *a <= 1.0);
            for (j, b) in adjusted.iter().enumerate() {
                prop_assert!(p[i] >= p[j] || a <= b);
            }
        }
    }

    #[test]
    fn mcnemar_is_symmetric(a in 0_usize..60, b in 0_usize..60) {
        prop_assert!((mcnemar(a, b) - mcnemar(b, a)).abs() < 1e-12);
    }
}
