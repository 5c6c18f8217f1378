use proptest::prelude::*;
use serde_json::Value;

use super::{Rng, *};
use crate::simulate::{Medals, coverage};

fn golden(test: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../tests/golden/statistics.json"))
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
fn attempts_that_never_differ_are_no_sign_of_certainty() {
    let clusters = vec![vec![1.0, 1.0], vec![0.0, 0.0]];
    let these = on_these(&clusters, 0.95).expect("two seeds");
    assert!(these.rough && these.width() > 0.5, "{these:?}");
    assert!(on_like_these(&clusters, 0.95).is_some());
    let sure: Vec<Cluster> = vec![vec![1.0; 3]; 75];
    let these = on_these(&sure, 0.95).expect("three seeds");
    assert!(these.upper == 1.0 && these.lower < 0.99, "{these:?}");
}

#[test]
fn competitions_with_one_attempt_add_variance() {
    let mut clusters: Vec<Cluster> = (0..73).map(|i| vec![f64::from(i % 2)]).collect();
    clusters.extend([vec![1.0, 1.0, 0.0], vec![1.0, 1.0, 0.0]]);
    let these = on_these(&clusters, 0.95).expect("two competitions with three seeds");
    assert!(these.rough, "two competitions stand for 75");
    assert!(these.width() > 0.15, "{these:?}");
    let like = on_like_these(&clusters, 0.95).expect("75 competitions");
    assert!(like.width() >= these.width(), "{like:?} is narrower than {these:?}");
}

#[test]
fn one_competition_has_wilsons_interval_and_none_on_ones_like_it() {
    let clusters = vec![vec![1.0, 1.0, 1.0, 1.0, 0.0]];
    let (these, expected) =
        (on_these(&clusters, 0.95).expect("five seeds"), wilson(4, 5, 0.95).expect("n > 0"));
    close(these.lower, expected.lower);
    close(these.upper, expected.upper);
    assert!(these.rough);
    assert_eq!(on_like_these(&clusters, 0.95), None);
    assert_eq!(on_these(&[vec![1.0]], 0.95), None);
}

#[test]
fn a_change_on_four_competitions_does_not_leave_zero_out() {
    // What the sign-flip test gives p = 0.125.
    let pair = |b: [f64; 3], c: [f64; 3]| (b.to_vec(), c.to_vec());
    let mut pairs = vec![pair([1.0; 3], [1.0; 3]); 46];
    pairs.extend(vec![pair([0.0; 3], [0.0; 3]); 25]);
    pairs.extend(vec![pair([1.0; 3], [1.0, 1.0, 0.0]); 4]);
    let like = difference_on_like_these(&pairs, 0.95).expect("75 competitions");
    assert!(like.lower < 0.0 && like.upper > 0.0, "{like:?}");
    let these = difference_on_these(&pairs, 0.95).expect("three seeds");
    assert!(like.width() >= these.width(), "{like:?} is narrower than {these:?}");
}

fn simulated(shift: f64, draw: u64) -> Medals {
    Medals { competitions: 75, seeds: 3, shift, truth: 5, draw: draw ^ 77 }
}

fn share(runs: u64, holds: impl Fn(u64) -> bool) -> f64 {
    (0..runs).filter(|draw| holds(*draw)).count() as f64 / runs as f64
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

/// The fast form of `examples/coverage.rs`: 1,000 runs a design. Beyond 93 and 97 some standard
/// errors are allowed, 2.6 each, since about a hundred intervals are judged.
#[test]
fn intervals_hold_the_truth_or_call_themselves_rough() {
    let designs = coverage::Design::all();
    assert!(designs.len() >= 20);
    let mut judged = 0;
    let mut wrong = Vec::new();
    for design in designs {
        for (question, count) in coverage::QUESTIONS.into_iter().zip(design.cover(1_000)) {
            if count.sure_share() >= 0.5 {
                judged += 1;
                let covered = count.coverage();
                // Rough ones are left out, which leaves fewer runs to measure with.
                let error = |share: f64| 2.6 * (share * (1.0 - share) / count.sure as f64).sqrt();
                let allowed = (0.93 - error(0.93))..=(0.97 + error(0.97));
                if !allowed.contains(&covered) {
                    wrong.push(format!("{design}, {question}: {covered}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(judged >= 60, "only {judged} intervals are not rough");
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
fn intervals_of_percentiles_cover_the_truth_too() {
    let holds = |interval: Option<Interval>, truth: f64| {
        let interval = interval.expect("values differ");
        (interval.lower..=interval.upper).contains(&truth)
    };
    for competitions in SIZES {
        let these = share(2_000, |draw| {
            let (truth, values) = percentiles(&mut Rng::new(5), &mut Rng::new(draw), competitions);
            holds(on_these(&values, 0.95), truth)
        });
        let like_these = share(2_000, |draw| {
            let (_, values) =
                percentiles(&mut Rng::new(draw ^ 99), &mut Rng::new(draw), competitions);
            holds(on_like_these(&values, 0.95), 0.45)
        });
        assert!(COVERS.contains(&these), "covered {these} on these {competitions} competitions");
        assert!(
            COVERS.contains(&like_these),
            "covered {like_these} on ones like these {competitions} competitions"
        );
    }
}

#[test]
fn seeds_needed_grow_as_the_wanted_drop_shrinks() {
    let pairs = pair(0.0, 4);
    let seeds = |drop| seeds_needed(&pairs, drop, 0.05, 0.8).expect("attempts differ");
    assert!(seeds(0.02).seeds > 4 * seeds(0.05).seeds && seeds(0.05).seeds > seeds(0.2).seeds);
    assert!(!seeds(0.05).at_most);
    let one: Vec<(Cluster, Cluster)> =
        pairs.iter().map(|(b, c)| (vec![b[0]], vec![c[0]])).collect();
    assert!(seeds_needed(&one, 0.05, 0.05, 0.8).expect("attempts differ").at_most);
    assert_eq!(seeds_needed(&[(vec![1.0], vec![1.0])], 0.05, 0.05, 0.8), None);
}

#[test]
fn exact_and_drawn_distributions_agree() {
    // A little off the grid, so that the same data are drawn.
    let off = |value: f64| value * (1.0 + 1e-6);
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
    let truth = mean(&simulated(0.0, 1).rates());
    let covered = share(RUNS, |draw| {
        let medals = simulated(0.0, draw).clusters();
        let seeds: Vec<f64> =
            (0..3).map(|k| medals.iter().map(|c| c[k]).sum::<f64>() / 75.0).collect();
        // Equal seeds have no interval; they do not count as covered.
        t_interval(&seeds, 0.95)
            .is_some_and(|interval| (interval.lower..=interval.upper).contains(&truth))
    });
    assert!(COVERS.contains(&covered), "covered {covered}");
}

fn pair(shift: f64, draw: u64) -> Vec<(Cluster, Cluster)> {
    let (baseline, candidate) = (simulated(0.0, draw * 2 + 1), simulated(shift, draw * 2 + 2));
    baseline.clusters().into_iter().zip(candidate.clusters()).collect()
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

/// Competitions with true rates spread around `centre`, three seeds each.
fn other_competitions(count: usize, centre: f64, rng: &mut Rng) -> Vec<Cluster> {
    let attempt = |rate: f64, rng: &mut Rng| f64::from(u8::from(rng.unit() < rate));
    (0..count)
        .map(|_| {
            let rate = centre + 0.5 * (rng.unit() - 0.5);
            (0..3).map(|_| attempt(rate, rng)).collect()
        })
        .collect()
}

#[test]
fn the_difference_of_other_competitions_is_covered() {
    let mut rng = Rng::new(11);
    let (mut held, runs) = (0, 2000);
    for _ in 0..runs {
        let first = other_competitions(40, 0.3, &mut rng);
        let second = other_competitions(25, 0.55, &mut rng);
        let interval = difference_of_others(&first, &second, 0.95).expect("many competitions");
        held += usize::from(interval.lower <= 0.25 && 0.25 <= interval.upper);
    }
    let coverage = f64::from(held as u32) / f64::from(runs);
    assert!((0.93..=0.975).contains(&coverage), "{coverage}");
}

#[test]
fn one_competition_gives_no_interval_of_a_difference() {
    let many = vec![vec![1.0], vec![0.0], vec![1.0]];
    assert_eq!(difference_of_others(&many, &[vec![1.0]], 0.95), None);
    let few = difference_of_others(&many, &many, 0.95).expect("three on each side");
    assert!(few.rough && few.lower < 0.0 && few.upper > 0.0);
}
