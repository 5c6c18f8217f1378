//! Gradient-boosted trees over binned columns.

use super::learn::{Lesson, Loss, Rows};
use super::rng::Rng;

/// Bin 0 is for missing values; the others hold about equally many rows.
const BINS: usize = 96;

/// Columns of bins, `[column][row]`.
pub(super) struct Binned {
    pub(super) columns: Vec<Vec<u8>>,
}

/// Bins `train` and `test` columns (NaN is missing) by the quantiles of both.
pub(super) fn bin(train: &[Vec<f32>], test: &[Vec<f32>]) -> (Binned, Binned) {
    let mut out = (Binned { columns: Vec::new() }, Binned { columns: Vec::new() });
    for (a, b) in train.iter().zip(test) {
        let mut values: Vec<f32> = a.iter().filter(|v| !v.is_nan()).copied().collect();
        values.sort_by(f32::total_cmp);
        let mut cuts: Vec<f32> = Vec::new();
        let mut distinct = values.clone();
        distinct.dedup();
        if distinct.len() < BINS {
            cuts.extend(distinct.windows(2).map(|w| w[0] + (w[1] - w[0]) / 2.0));
        } else {
            cuts.extend((1..BINS - 1).map(|i| values[i * values.len() / (BINS - 1)]));
            cuts.dedup();
        }
        let place =
            |v: &f32| if v.is_nan() { 0 } else { 1 + cuts.partition_point(|cut| cut < v) as u8 };
        out.0.columns.push(a.iter().map(place).collect());
        out.1.columns.push(b.iter().map(place).collect());
    }
    out
}

pub(super) struct Settings {
    pub(super) rounds: usize,
    pub(super) rate: f32,
    pub(super) leaves: usize,
    pub(super) min_rows: usize,
    pub(super) column_share: f64,
    pub(super) row_share: f64,
}

struct Node {
    column: usize,
    cut: u8,
    left: usize,
    right: usize,
    value: f32,
}

/// What a training run gives.
pub(super) struct Boosted {
    /// Guesses for all training rows.
    pub(super) train: Rows,
    /// Guesses for the test rows.
    pub(super) test: Rows,
    /// Rounds after which the rows held out no longer gained.
    pub(super) rounds: usize,
}

/// Trains until the rows that are held out no longer gain.
pub(super) fn boost(
    train: &Binned,
    test: &Binned,
    lesson: &Lesson,
    settings: &Settings,
) -> Boosted {
    let (target, loss) = (lesson.target, lesson.loss);
    let (outputs, n) = (lesson.outputs(), target.len());
    let m = test.columns.first().map_or(0, Vec::len);
    let mut rng = Rng::new(lesson.seed);
    let mut used: Vec<u32> = lesson.rows().into_iter().map(|row| row as u32).collect();
    let judged = used.len() < n;
    let start: Vec<f32> =
        (0..outputs).map(|k| loss.start(used.iter().map(|&row| target[row as usize][k]))).collect();
    let mut scores: Rows = vec![start.clone(); n];
    let mut test_scores: Rows = vec![start; m];
    let mut best = (f64::INFINITY, 0, scores.clone(), test_scores.clone());
    let mut gradients = vec![(0f32, 0f32); n];
    for round in 0..settings.rounds {
        let chances: Vec<Vec<f32>> = scores.iter().map(|s| loss.activate(s)).collect();
        for k in 0..outputs {
            for row in 0..n {
                let (p, y) = (chances[row][k], target[row][k]);
                gradients[row] = match loss {
                    Loss::Squared => (p - y, 1.0),
                    Loss::Logistic | Loss::Softmax => (p - y, (p * (1.0 - p)).max(1e-6)),
                };
            }
            rng.shuffle(&mut used);
            let rows = &used[..((used.len() as f64 * settings.row_share) as usize).max(1)];
            let mut columns: Vec<usize> = (0..train.columns.len()).collect();
            rng.shuffle(&mut columns);
            columns
                .truncate(((columns.len() as f64 * settings.column_share).ceil() as usize).max(1));
            let tree = grow(train, &gradients, rows, &columns, settings);
            for (row, score) in scores.iter_mut().enumerate() {
                score[k] += settings.rate * walk(&tree, train, row);
            }
            for (row, score) in test_scores.iter_mut().enumerate() {
                score[k] += settings.rate * walk(&tree, test, row);
            }
        }
        let late = lesson.is_over();
        if round % 5 == 4 || late || round + 1 == settings.rounds {
            let guesses: Rows = scores.iter().map(|s| loss.activate(s)).collect();
            let error = lesson.held_out_loss(&guesses);
            if error < best.0 || !judged {
                best = (error, round + 1, scores.clone(), test_scores.clone());
            }
            if late || round + 1 > best.1 + 40 {
                break;
            }
        }
    }
    let finish = |scores: Rows| scores.iter().map(|s| loss.activate(s)).collect();
    Boosted { train: finish(best.2), test: finish(best.3), rounds: best.1 }
}

struct Split {
    gain: f64,
    column: usize,
    cut: u8,
}

struct Leaf {
    node: usize,
    rows: Vec<u32>,
    split: Option<Split>,
}

/// Grows a tree leaf by leaf, always splitting where the gain is largest.
fn grow(
    data: &Binned,
    gradients: &[(f32, f32)],
    rows: &[u32],
    columns: &[usize],
    settings: &Settings,
) -> Vec<Node> {
    let leaf_value = |rows: &[u32]| {
        let (g, h) = totals(gradients, rows);
        (-g / (h + 1.0)) as f32
    };
    let mut nodes = vec![Node { column: 0, cut: 0, left: 0, right: 0, value: leaf_value(rows) }];
    let mut leaves = vec![Leaf {
        node: 0,
        rows: rows.to_vec(),
        split: best_split(data, gradients, rows, columns, settings),
    }];
    for _ in 1..settings.leaves {
        let gain = |leaf: &Leaf| leaf.split.as_ref().map_or(0.0, |split| split.gain);
        let Some(at) =
            (0..leaves.len()).max_by(|&a, &b| gain(&leaves[a]).total_cmp(&gain(&leaves[b])))
        else {
            break;
        };
        let Some(split) = leaves[at].split.take() else { break };
        let leaf = leaves.swap_remove(at);
        let (left, right): (Vec<u32>, Vec<u32>) = leaf
            .rows
            .iter()
            .partition(|&&row| data.columns[split.column][row as usize] <= split.cut);
        let first = nodes.len();
        let parent = &mut nodes[leaf.node];
        (parent.column, parent.cut, parent.left, parent.right) =
            (split.column, split.cut, first, first + 1);
        for (offset, rows) in [left, right].into_iter().enumerate() {
            nodes.push(Node { column: 0, cut: 0, left: 0, right: 0, value: leaf_value(&rows) });
            let split = best_split(data, gradients, &rows, columns, settings);
            leaves.push(Leaf { node: first + offset, rows, split });
        }
    }
    nodes
}

fn totals(gradients: &[(f32, f32)], rows: &[u32]) -> (f64, f64) {
    rows.iter().fold((0.0, 0.0), |(g, h), &row| {
        let (dg, dh) = gradients[row as usize];
        (g + f64::from(dg), h + f64::from(dh))
    })
}

fn best_split(
    data: &Binned,
    gradients: &[(f32, f32)],
    rows: &[u32],
    columns: &[usize],
    settings: &Settings,
) -> Option<Split> {
    if rows.len() < 2 * settings.min_rows {
        return None;
    }
    let (g, h) = totals(gradients, rows);
    let worth = |g: f64, h: f64| g * g / (h + 1.0);
    let mut best: Option<Split> = None;
    for &column in columns {
        let bins = &data.columns[column];
        let mut histogram = [(0f64, 0f64, 0usize); 256];
        for &row in rows {
            let (dg, dh) = gradients[row as usize];
            let cell = &mut histogram[bins[row as usize] as usize];
            cell.0 += f64::from(dg);
            cell.1 += f64::from(dh);
            cell.2 += 1;
        }
        let (mut left_g, mut left_h, mut count) = (0.0, 0.0, 0);
        for (cut, cell) in histogram[..BINS + 1].iter().enumerate() {
            left_g += cell.0;
            left_h += cell.1;
            count += cell.2;
            if cell.2 == 0 || count < settings.min_rows || rows.len() - count < settings.min_rows {
                continue;
            }
            let gain = worth(left_g, left_h) + worth(g - left_g, h - left_h) - worth(g, h);
            if gain > best.as_ref().map_or(1e-6, |split| split.gain) {
                best = Some(Split { gain, column, cut: cut as u8 });
            }
        }
    }
    best
}

fn walk(tree: &[Node], data: &Binned, row: usize) -> f32 {
    let mut node = &tree[0];
    while node.left != 0 {
        node =
            &tree[if data.columns[node.column][row] <= node.cut { node.left } else { node.right }];
    }
    node.value
}
