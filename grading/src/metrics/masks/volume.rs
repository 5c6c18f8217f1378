//! Distances between stacks of masks.

use crate::rle::{self, Run};

/// A stack of equally large masks, whose runs number the pixels down the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Rows of each slice, above 0 unless all slices are empty.
    pub height: u64,
    /// Columns of each slice.
    pub width: u64,
    /// The runs of each slice: ascending, disjoint, not touching, below `height * width`.
    pub slices: Vec<Vec<Run>>,
}

impl Volume {
    /// Number of voxels set.
    #[must_use]
    pub fn volume(&self) -> u64 {
        self.slices.iter().map(|runs| rle::area(runs)).sum()
    }

    /// The set voxels as vertical segments, sorted by slice, column and row.
    fn segments(&self) -> Vec<Segment> {
        let mut segments = Vec::new();
        for (slice, runs) in self.slices.iter().enumerate() {
            for run in runs {
                let mut start = run.start;
                while start < run.end {
                    let column = start / self.height;
                    let end = run.end.min((column + 1) * self.height);
                    let top = start - column * self.height;
                    segments.push(Segment { slice, column: column as usize, rows: top..top + (end - start) });
                    start = end;
                }
            }
        }
        segments
    }
}

/// Set voxels of one column of one slice: an unbroken range of rows.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    slice: usize,
    column: usize,
    rows: std::ops::Range<u64>,
}

/// Hausdorff distance between two stacks of masks, on a scale where the true volume is the unit cube and its diagonal is 1.
///
/// `None` if both are empty; 0 if they are the same; 1 if one of them is empty or if the prediction has more than ten times
/// the voxels of the truth. Otherwise the larger of the two directed distances (how far a voxel of one set can be from the
/// nearest voxel of the other, Euclidean, each axis divided by the true volume's extent), divided by the square root of 3.
/// The two may differ in shape.
///
/// Cost: a distance transform of the common bounding box, linear in its voxels whatever the masks hold; memory is a slab of
/// a few rows, whatever the number of voxels.
///
/// # Source
/// MLE-bench `uw-madison-gi-tract-image-segmentation/grade.py`, `hausdorff_distance`, which uses scipy 1.13.1
/// `directed_hausdorff`. The transform is Felzenszwalb and Huttenlocher's lower envelope of parabolas (2012), exact up to
/// rounding.
#[must_use]
pub fn unit_hausdorff(truth: &Volume, predicted: &Volume) -> Option<f64> {
    let (true_volume, predicted_volume) = (truth.volume(), predicted.volume());
    if true_volume == 0 && predicted_volume == 0 {
        return None;
    }
    if truth == predicted {
        return Some(0.0);
    }
    if true_volume == 0 || predicted_volume == 0 || predicted_volume > 10 * true_volume {
        return Some(1.0);
    }
    let scale = Scale {
        slice: 1.0 / truth.slices.len() as f64,
        row: 1.0 / truth.height as f64,
        column: 1.0 / truth.width as f64,
    };
    let (true_segments, predicted_segments) = (truth.segments(), predicted.segments());
    let squared = directed_squared(&true_segments, &predicted_segments, &scale).max(directed_squared(
        &predicted_segments,
        &true_segments,
        &scale,
    ));
    Some(squared.sqrt() / 3.0_f64.sqrt())
}

/// Length of one voxel along each axis.
struct Scale {
    slice: f64,
    row: f64,
    column: f64,
}

/// Rows treated at a time: bounds the memory of the distance transform.
const SLAB_ROWS: u64 = 16;

/// Square of the largest distance of a voxel of `from` to its nearest voxel of `to`. Neither is empty.
fn directed_squared(from: &[Segment], to: &[Segment], scale: &Scale) -> f64 {
    let queries = difference(from, to);
    let (Some(top), Some(bottom)) =
        (queries.iter().map(|q| q.rows.start).min(), queries.iter().map(|q| q.rows.end).max())
    else {
        return 0.0;
    };
    let columns = to.iter().chain(&queries).map(|s| s.column + 1).max().unwrap_or(0);
    let slices = to.iter().chain(&queries).map(|s| s.slice + 1).max().unwrap_or(0);
    let mut transform = SlabTransform::new(slices, columns);
    let mut worst: f64 = 0.0;
    let mut start = top;
    while start < bottom {
        let rows = start..bottom.min(start + SLAB_ROWS);
        worst = worst.max(transform.farthest(&queries, to, &rows, scale));
        start = rows.end;
    }
    worst
}

/// The voxels of `a` that are not in `b`. Both are sorted by slice, column and row; so is the result.
fn difference(a: &[Segment], b: &[Segment]) -> Vec<Segment> {
    let mut out = Vec::new();
    let mut first = 0;
    for segment in a {
        let place = (segment.slice, segment.column);
        while first < b.len()
            && ((b[first].slice, b[first].column) < place
                || ((b[first].slice, b[first].column) == place && b[first].rows.end <= segment.rows.start))
        {
            first += 1;
        }
        let mut start = segment.rows.start;
        for other in &b[first..] {
            if (other.slice, other.column) != place || other.rows.start >= segment.rows.end {
                break;
            }
            if other.rows.start > start {
                out.push(Segment { rows: start..other.rows.start, ..*segment });
            }
            start = start.max(other.rows.end);
        }
        if start < segment.rows.end {
            out.push(Segment { rows: start..segment.rows.end, ..*segment });
        }
    }
    out
}

/// The distance transform of one slab of rows; its buffers serve all slabs.
struct SlabTransform {
    slices: usize,
    columns: usize,
    /// Squared distance along the rows to the set, `[row][slice][column]`; infinite where the column is empty.
    within_column: Vec<f64>,
    /// The same within the slice, `[row][column][slice]`.
    within_slice: Vec<f64>,
    /// Which voxels are asked for, `[row][column][slice]`.
    asked: Vec<bool>,
    /// Slices of the set that hold a voxel.
    occupied: Vec<bool>,
    envelope: Envelope,
    line: Vec<f64>,
}

impl SlabTransform {
    fn new(slices: usize, columns: usize) -> Self {
        Self {
            slices,
            columns,
            within_column: Vec::new(),
            within_slice: Vec::new(),
            asked: Vec::new(),
            occupied: vec![false; slices],
            envelope: Envelope::default(),
            line: Vec::new(),
        }
    }

    /// Largest squared distance of the queries in `rows` to the nearest voxel of `to`.
    fn farthest(&mut self, queries: &[Segment], to: &[Segment], rows: &std::ops::Range<u64>, scale: &Scale) -> f64 {
        let (slices, columns) = (self.slices, self.columns);
        let count = (rows.end - rows.start) as usize;
        self.asked.clear();
        self.asked.resize(count * columns * slices, false);
        let mut any = false;
        for query in queries {
            for row in query.rows.start.max(rows.start)..query.rows.end.min(rows.end) {
                self.asked[((row - rows.start) as usize * columns + query.column) * slices + query.slice] = true;
                any = true;
            }
        }
        if !any {
            return 0.0;
        }
        self.fill_within_column(to, rows, scale);
        self.within_slice.clear();
        self.within_slice.resize(count * columns * slices, f64::INFINITY);
        self.line.resize(columns.max(slices), 0.0);
        for row in 0..count {
            if !self.asked[row * columns * slices..(row + 1) * columns * slices].contains(&true) {
                continue;
            }
            for slice in (0..slices).filter(|&slice| self.occupied[slice]) {
                let source = &self.within_column[(row * slices + slice) * columns..][..columns];
                self.envelope.transform(source, scale.column, &mut self.line[..columns]);
                for column in 0..columns {
                    self.within_slice[(row * columns + column) * slices + slice] = self.line[column];
                }
            }
        }
        let mut worst: f64 = 0.0;
        for line in 0..count * columns {
            let asked = &self.asked[line * slices..][..slices];
            if asked.contains(&true) {
                self.envelope.transform(
                    &self.within_slice[line * slices..][..slices],
                    scale.slice,
                    &mut self.line[..slices],
                );
                let distances =
                    asked.iter().zip(&self.line).filter(|&(&asked, _)| asked).map(|(_, &distance)| distance);
                worst = distances.fold(worst, f64::max);
            }
        }
        worst
    }

    /// Fills `within_column` and `occupied` for the given rows.
    fn fill_within_column(&mut self, to: &[Segment], rows: &std::ops::Range<u64>, scale: &Scale) {
        let (slices, columns) = (self.slices, self.columns);
        let count = (rows.end - rows.start) as usize;
        self.within_column.clear();
        self.within_column.resize(count * slices * columns, f64::INFINITY);
        self.occupied.fill(false);
        let mut rest = to;
        while let Some(head) = rest.first() {
            let length = rest.partition_point(|s| (s.slice, s.column) == (head.slice, head.column));
            let (segments, tail) = rest.split_at(length);
            rest = tail;
            self.occupied[head.slice] = true;
            let mut next = 0;
            for row in rows.clone() {
                while next < segments.len() && segments[next].rows.end <= row {
                    next += 1;
                }
                let below = segments.get(next).map(|s| s.rows.start.saturating_sub(row));
                let above = next.checked_sub(1).map(|before| row + 1 - segments[before].rows.end);
                let steps = below.into_iter().chain(above).min().expect("a column in the list has a segment");
                let distance = steps as f64 * scale.row;
                self.within_column[((row - rows.start) as usize * slices + head.slice) * columns + head.column] =
                    distance * distance;
            }
        }
    }
}

/// Lower envelope of the parabolas `f(i) + (step * (x - i))^2`.
#[derive(Default)]
struct Envelope {
    /// Index of each parabola on the envelope.
    sites: Vec<usize>,
    /// Where each parabola takes over from the one before it, in index units.
    from: Vec<f64>,
}

impl Envelope {
    /// Writes the envelope of `f` at every index to `out`; infinite values of `f` are no parabolas.
    fn transform(&mut self, f: &[f64], step: f64, out: &mut [f64]) {
        self.sites.clear();
        self.from.clear();
        let square = step * step;
        for (site, &value) in f.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let mut from = f64::NEG_INFINITY;
            while let (Some(&last), Some(&last_from)) = (self.sites.last(), self.from.last()) {
                let apart = (site - last) as f64;
                // Where the two parabolas meet.
                from = 0.5 * ((value - f[last]) / (square * apart) + (site + last) as f64);
                if from > last_from {
                    break;
                }
                self.sites.pop();
                self.from.pop();
                from = f64::NEG_INFINITY;
            }
            self.sites.push(site);
            self.from.push(from);
        }
        if self.sites.is_empty() {
            out.fill(f64::INFINITY);
            return;
        }
        let mut k = 0;
        for (x, out) in out.iter_mut().enumerate() {
            while k + 1 < self.sites.len() && self.from[k + 1] < x as f64 {
                k += 1;
            }
            let site = self.sites[k];
            let distance = step * (x as f64 - site as f64);
            *out = f[site] + distance * distance;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The set voxels as (slice, row, column).
    fn voxels(volume: &Volume) -> Vec<[f64; 3]> {
        let mut out = Vec::new();
        for (slice, runs) in volume.slices.iter().enumerate() {
            for pixel in runs.iter().flat_map(|run| run.start..run.end) {
                out.push([slice as f64, (pixel % volume.height) as f64, (pixel / volume.height) as f64]);
            }
        }
        out
    }

    /// The definition, voxel by voxel.
    fn slow_hausdorff(truth: &Volume, predicted: &Volume) -> f64 {
        let shape = [truth.slices.len() as f64, truth.height as f64, truth.width as f64];
        let directed = |a: &[[f64; 3]], b: &[[f64; 3]]| {
            let nearest = |p: &[f64; 3]| {
                let squared = |q: &[f64; 3]| (0..3).map(|k| (p[k] / shape[k] - q[k] / shape[k]).powi(2)).sum::<f64>();
                b.iter().map(squared).fold(f64::INFINITY, f64::min)
            };
            a.iter().map(nearest).fold(0.0, f64::max).sqrt()
        };
        let (a, b) = (voxels(truth), voxels(predicted));
        directed(&a, &b).max(directed(&b, &a)) / 3.0_f64.sqrt()
    }

    fn volume() -> impl Strategy<Value = Volume> {
        (1_u64..24, 1_u64..7, 1_usize..6, any::<bool>()).prop_flat_map(|(height, width, depth, sparse)| {
            let pixels = height * width;
            let starts = if sparse { 0..2_usize } else { 0..6 };
            let slice = proptest::collection::btree_set(0..pixels, starts).prop_map(move |starts| {
                let mut runs: Vec<Run> = Vec::new();
                for start in starts {
                    let run = Run { start, end: (start + 1 + start % 5).min(pixels) };
                    runs = rle::union(&runs, &[run]);
                }
                runs
            });
            proptest::collection::vec(slice, depth).prop_map(move |slices| Volume { height, width, slices })
        })
    }

    proptest! {
        #[test]
        fn hausdorff_equals_its_definition(truth in volume(), predicted in volume()) {
            let got = unit_hausdorff(&truth, &predicted);
            let (t, p) = (truth.volume(), predicted.volume());
            if t == 0 && p == 0 {
                prop_assert_eq!(got, None);
            } else if t == 0 || p == 0 || p > 10 * t {
                prop_assert_eq!(got, Some(1.0));
            } else {
                let expected = slow_hausdorff(&truth, &predicted);
                prop_assert!((got.expect("voxels on both sides") - expected).abs() < 1e-12, "{:?} {}", got, expected);
            }
            prop_assert_eq!(unit_hausdorff(&truth, &truth).unwrap_or(0.0), 0.0);
        }
    }
}
