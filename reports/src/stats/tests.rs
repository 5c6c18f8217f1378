use proptest::prelude::*;
use serde_json::Value;

use super::{Rng, *};
use crate::simulate::Simulation;

fn golden(test: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../../tests/golden/statistics.json"))
        .expect("valid JSON");
    all[test].as_array().expect("a list of cases").clone()
}

fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap_or_else(|| panic!("`{key}` in {case}"))
}

fn numbers(case: &Value, key: &str) -> Vec<f64> {
    case[key].as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
        "found {found}, expected {expected}"
    );
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
        let interval =
            wilson(number(&case, "successes") as usize, number(&case, "n") as usize, 0.95)
                .expect("n > 0");
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
        close(
            mcnemar(number(&case, "gained") as usize, number(&case, "lost") as usize),
            number(&case, "p"),
        );
    }
    for case in golden("holm") {
        for (found, expected) in
            holm(&numbers(&case, "p")).into_iter().zip(numbers(&case, "adjusted"))
        {
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
    Simulation {
        agent: "a".to_owned(),
        competitions,
        seeds,
        shift,
        infrastructure: 0.0,
        truth: draw,
        draw: draw ^ 77,
    }
}

fn share(runs: u64, holds: impl Fn(u64) -> bool) -> f64 {
    (0..runs).filter(|draw| holds(*draw)).count() as f64 / runs as f64
}

fn holds(interval: Option<Interval>, truth: f64) -> bool {
    let interval = interval.expect("values differ");
    (interval.lower..=interval.upper).contains(&truth)
}

/// Simulated groups a test. A coverage of 95% is measured with a standard error of 0.34 points.
const RUNS: u64 = 4_000;
/// What 95% intervals must cover.
const COVERS: std::ops::RangeInclusive<f64> = 0.93..=0.97;
/// Competitions of the suites: all, medium, low.
const SIZES: [usize; 3] = [75, 38, 22];

fn rng() -> Rng {
    Rng::new(SEED)
}

#[test]
fn intervals_on_these_competitions_cover_the_truth() {
    for (competitions, seeds) in SIZES.into_iter().flat_map(|n| [(n, 3), (n, 5)]) {
        let truth =
            mean(&Simulation { truth: 5, ..simulated(competitions, seeds, 0.0, 1) }.rates());
        let covered = share(RUNS, |draw| {
            let medals =
                Simulation { truth: 5, ..simulated(competitions, seeds, 0.0, draw) }.medals();
            holds(bootstrap_seeds(&medals, 0.95, &mut rng()), truth)
        });
        assert!(
            COVERS.contains(&covered),
            "covered {covered} on {competitions} competitions with {seeds} seeds"
        );
    }
}

#[test]
fn intervals_on_competitions_like_these_cover_the_truth() {
    // The simulation squashes a uniform draw symmetrically, so the true mean over all competitions
    // is one half.
    for (competitions, seeds) in SIZES.into_iter().flat_map(|n| [(n, 3), (n, 5)]) {
        let covered = share(RUNS, |draw| {
            holds(
                bootstrap_competitions(
                    &simulated(competitions, seeds, 0.0, draw).medals(),
                    0.95,
                    &mut rng(),
                ),
                0.5,
            )
        });
        assert!(
            COVERS.contains(&covered),
            "covered {covered} on {competitions} competitions with {seeds} seeds"
        );
    }
}

/// Rates like those of an agent that rarely wins: 0.3 u^2, mean 0.1.
fn rare(rng: &mut Rng, competitions: usize) -> Vec<Cluster> {
    let mut medals = || {
        let p = 0.3 * rng.unit().powi(2);
        (0..3).map(|_| if rng.unit() < p { 1.0 } else { 0.0 }).collect()
    };
    (0..competitions).map(|_| medals()).collect()
}

#[test]
fn intervals_of_rare_medals_cover_the_truth_although_they_are_skewed() {
    for competitions in SIZES {
        let mut drawn = Rng::new(7);
        let (mut inside, mut all) = (0, 0);
        for _ in 0..RUNS {
            let medals = rare(&mut drawn, competitions);
            // Without a single medal there is no spread, and Wilson's interval takes over.
            if let Some(interval) = bootstrap_competitions(&medals, 0.95, &mut rng()) {
                all += 1;
                inside += i32::from((interval.lower..=interval.upper).contains(&0.1));
            }
        }
        let covered = f64::from(inside) / f64::from(all);
        assert!(COVERS.contains(&covered), "covered {covered} on {competitions} competitions");
    }
}

/// Percentile-like values: a competition's level, noise of a fifth, and one attempt in ten without
/// a submission.
fn percentiles(levels: &mut Rng, draws: &mut Rng, competitions: usize) -> (f64, Vec<Cluster>) {
    let levels: Vec<f64> = (0..competitions).map(|_| levels.unit()).collect();
    let mut value =
        |level: f64| if draws.unit() < 0.1 { 0.0 } else { 0.8 * level + 0.2 * draws.unit() };
    let values = levels.iter().map(|level| (0..3).map(|_| value(*level)).collect()).collect();
    (
        levels.iter().map(|level| 0.9 * (0.8 * level + 0.1)).sum::<f64>() / competitions as f64,
        values,
    )
}

#[test]
fn drawn_intervals_cover_the_truth_as_exact_ones_do() {
    let runs = 2_000;
    for competitions in SIZES {
        let these = share(runs, |draw| {
            let (truth, values) = percentiles(&mut Rng::new(5), &mut Rng::new(draw), competitions);
            holds(bootstrap_seeds(&values, 0.95, &mut Rng::new(draw).with_resamples(1_000)), truth)
        });
        let like_these = share(runs, |draw| {
            let (_, values) =
                percentiles(&mut Rng::new(draw ^ 99), &mut Rng::new(draw), competitions);
            holds(
                bootstrap_competitions(&values, 0.95, &mut Rng::new(draw).with_resamples(1_000)),
                0.45,
            )
        });
        assert!(COVERS.contains(&these), "covered {these} on these {competitions} competitions");
        assert!(
            COVERS.contains(&like_these),
            "covered {like_these} on ones like these {competitions} competitions"
        );
    }
}

#[test]
fn exact_and_drawn_distributions_agree() {
    // A little off the grid, so that the same data are drawn.
    let off = |value: f64| value * (1.0 + 1e-6);
    let near = |a: Interval, b: Interval, slack: f64| {
        (a.lower - b.lower).abs() < slack && (a.upper - b.upper).abs() < slack
    };
    let medals = simulated(75, 3, 0.0, 3).medals();
    let shaken: Vec<Cluster> = medals.iter().map(|c| c.iter().map(|x| off(*x)).collect()).collect();
    let twice = |f: fn(&[Cluster], f64, &mut Rng) -> Option<Interval>| {
        (
            f(&medals, 0.95, &mut rng()).expect("varies"),
            f(&shaken, 0.95, &mut rng()).expect("varies"),
        )
    };
    // One step of the grid is 1/225; drawn ends fall on it, exact ones between.
    let (exact, drawn) = twice(bootstrap_seeds);
    assert!(near(exact, drawn, 0.006), "{exact:?} {drawn:?}");
    let (exact, drawn) = twice(bootstrap_competitions);
    assert!(near(exact, drawn, 0.006), "{exact:?} {drawn:?}");

    let pairs = pair(-0.03, 4);
    let shaken: Vec<(Cluster, Cluster)> = pairs
        .iter()
        .map(|(b, c)| (b.iter().map(|x| off(*x)).collect(), c.iter().map(|x| off(*x)).collect()))
        .collect();
    let (exact, drawn) = (Exchanged::new(&pairs, &mut rng()), Exchanged::new(&shaken, &mut rng()));
    assert!(
        (exact.p_worse() - drawn.p_worse()).abs() < 0.02,
        "{} {}",
        exact.p_worse(),
        drawn.p_worse()
    );
    assert!(
        (exact.p_differs() - drawn.p_differs()).abs() < 0.02,
        "{} {}",
        exact.p_differs(),
        drawn.p_differs()
    );
    let (a, b) = (exact.critical_drop(0.05), drawn.critical_drop(0.05));
    assert!((a - b).abs() < 0.007, "{a} {b}");
    let differences: Vec<f64> = pairs.iter().map(|(b, c)| mean(c) - mean(b)).collect();
    let shaken: Vec<f64> = differences.iter().map(|d| off(*d)).collect();
    let (exact, drawn) = (sign_flip(&differences, &mut rng()), sign_flip(&shaken, &mut rng()));
    assert!((exact - drawn).abs() < 0.02, "{exact} {drawn}");
}

#[test]
fn exchanging_six_attempts_counts_twenty_ways() {
    let test = |b: [f64; 3], c: [f64; 3]| Exchanged::new(&[(b.to_vec(), c.to_vec())], &mut rng());
    let worse = test([0.91, 0.82, 0.73], [0.14, 0.25, 0.36]);
    close(worse.p_worse(), 1.0 / 20.0);
    close(worse.p_differs(), 2.0 / 20.0);
    let medals = test([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]);
    close(medals.p_worse(), 1.0 / 20.0);
    assert!(medals.critical_drop(0.01).is_infinite(), "nothing is that sure with six attempts");
    close(test([1.0; 3], [1.0; 3]).p_differs(), 1.0);
}

#[test]
fn t_intervals_over_seeds_cover_the_truth() {
    let truth = mean(&Simulation { truth: 5, ..simulated(75, 3, 0.0, 1) }.rates());
    let covered = share(RUNS, |draw| {
        let medals = Simulation { truth: 5, ..simulated(75, 3, 0.0, draw) }.medals();
        let seeds: Vec<f64> =
            (0..3).map(|k| medals.iter().map(|c| c[k]).sum::<f64>() / 75.0).collect();
        // Equal seeds have no interval; they do not count as covered.
        t_interval(&seeds, 0.95)
            .is_some_and(|interval| (interval.lower..=interval.upper).contains(&truth))
    });
    assert!(COVERS.contains(&covered), "covered {covered}");
}

fn pair(shift: f64, draw: u64) -> Vec<(Cluster, Cluster)> {
    let baseline = Simulation { truth: 5, ..simulated(75, 3, 0.0, draw * 2 + 1) };
    let candidate = Simulation { truth: 5, ..simulated(75, 3, shift, draw * 2 + 2) };
    baseline.medals().into_iter().zip(candidate.medals()).collect()
}

#[test]
fn false_alarms_come_at_their_stated_rate() {
    for alpha in [0.05, 0.1] {
        let alarms = share(RUNS, |draw| permutation_worse(&pair(0.0, draw), &mut rng()) <= alpha);
        // At most alpha, which the grid of the medal rate lets it nearly reach; 0.34 and 0.47
        // points are a standard error.
        assert!((alpha * 0.7..=alpha * 1.1).contains(&alarms), "alarms {alarms} at {alpha}");
    }
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
