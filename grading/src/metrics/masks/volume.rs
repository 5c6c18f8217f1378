//! Distances between stacks of masks.

use std::ops::Range;

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
                    segments.push(Segment {
                        slice,
                        column: column as usize,
                        rows: top..top + (end - start),
                    });
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
    rows: Range<u64>,
}

/// Hausdorff distance between two stacks of masks, on a scale where the true volume is the unit
/// cube and its diagonal is 1.
///
/// `None` if both are empty; 0 if they are the same; 1 if one of them is empty or if the prediction
/// has more than ten times the voxels of the truth. Otherwise the larger of the two directed
/// distances (how far a voxel of one set can be from the nearest voxel of the other, Euclidean,
/// each axis divided by the true volume's extent), divided by the square root of 3. The two may
/// differ in shape.
///
/// Cost: a distance transform of the common bounding box, linear in its voxels whatever the masks
/// hold; memory is a slab of a few rows, whatever the number of voxels.
///
/// # Source
/// MLE-bench `uw-madison-gi-tract-image-segmentation/grade.py`, `hausdorff_distance`, which uses
/// scipy 1.13.1 `directed_hausdorff`. The transform is Felzenszwalb and Huttenlocher's lower
/// envelope of parabolas (2012), exact up to rounding.
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
    let squared = directed_squared(&true_segments, &predicted_segments, &scale, 0.0);
    let squared = directed_squared(&predicted_segments, &true_segments, &scale, squared);
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

/// The larger of `least` and the square of the largest distance of a voxel of `from` to its nearest
/// voxel of `to`.
///
/// Neither set is empty.
fn directed_squared(from: &[Segment], to: &[Segment], scale: &Scale, least: f64) -> f64 {
    let queries = difference(from, to);
    let extent = |of: fn(&Segment) -> usize| {
        let places = || to.iter().chain(&queries).map(of);
        places().min().zip(places().max()).map_or(0..0, |(first, last)| first..last + 1)
    };
    let mut transform = SlabTransform::new(extent(|s| s.slice), extent(|s| s.column), least);
    let top = queries.iter().map(|q| q.rows.start).min().unwrap_or(0);
    let bottom = queries.iter().map(|q| q.rows.end).max().unwrap_or(0);
    for start in (top..bottom).step_by(SLAB_ROWS as usize) {
        transform.search(&queries, to, &(start..bottom.min(start + SLAB_ROWS)), scale);
    }
    transform.worst
}

/// The voxels of `a` that are not in `b`. Both are sorted by slice, column and row; so is the
/// result.
fn difference(a: &[Segment], b: &[Segment]) -> Vec<Segment> {
    let mut out = Vec::new();
    let mut first = 0;
    for segment in a {
        let place = (segment.slice, segment.column);
        while first < b.len()
            && ((b[first].slice, b[first].column) < place
                || ((b[first].slice, b[first].column) == place
                    && b[first].rows.end <= segment.rows.start))
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
///
/// A voxel is only followed from one axis to the next while its distance so far, which can only
/// shrink, exceeds the largest distance found. Where two volumes resemble each other that leaves
/// few.
struct SlabTransform {
    /// Slices that hold a voxel of the set or of the queries, and some between.
    slices: Range<usize>,
    /// The same for columns.
    columns: Range<usize>,
    /// Squared distance along the rows to the set, `[row][slice][column]`; infinite where the
    /// column is empty.
    within_column: Vec<f64>,
    /// The same within the slice for one row, `[column][slice]`; infinite where the slice is empty.
    within_slice: Vec<f64>,
    /// Slices of the set that hold a voxel.
    occupied: Vec<bool>,
    /// Slices whose part of `within_slice` is filled.
    filled: Vec<bool>,
    /// Slice and column of the voxels that are still followed, by row.
    asked: Vec<Vec<(usize, usize)>>,
    envelope: Envelope,
    line: Vec<f64>,
    /// Largest squared distance found.
    worst: f64,
}

impl SlabTransform {
    fn new(slices: Range<usize>, columns: Range<usize>, least: f64) -> Self {
        let (depth, width) = (slices.len(), columns.len());
        Self {
            slices,
            columns,
            within_column: Vec::new(),
            within_slice: vec![f64::INFINITY; width * depth],
            occupied: vec![false; depth],
            filled: vec![false; depth],
            asked: vec![Vec::new(); SLAB_ROWS as usize],
            envelope: Envelope::default(),
            line: vec![0.0; width.max(depth)],
            worst: least,
        }
    }

    /// Raises `worst` to the largest squared distance of the queries in `rows` to the nearest voxel
    /// of `to`.
    fn search(&mut self, queries: &[Segment], to: &[Segment], rows: &Range<u64>, scale: &Scale) {
        for query in queries {
            for row in query.rows.start.max(rows.start)..query.rows.end.min(rows.end) {
                let place = (query.slice - self.slices.start, query.column - self.columns.start);
                self.asked[(row - rows.start) as usize].push(place);
            }
        }
        if self.asked.iter().all(Vec::is_empty) {
            return;
        }
        self.fill_within_column(to, rows, scale);
        for row in 0..self.asked.len() {
            let mut asked = std::mem::take(&mut self.asked[row]);
            self.search_row(row, &mut asked, scale);
            asked.clear();
            self.asked[row] = asked;
        }
    }

    /// Follows the voxels of one row of the slab.
    fn search_row(&mut self, row: usize, asked: &mut Vec<(usize, usize)>, scale: &Scale) {
        let (depth, width) = (self.slices.len(), self.columns.len());
        asked.retain(|&(slice, column)| {
            self.within_column[(row * depth + slice) * width + column] > self.worst
        });
        if asked.is_empty() {
            return;
        }
        self.within_slice.fill(f64::INFINITY);
        self.filled.fill(false);
        for &(slice, _) in asked.iter() {
            self.fill_within_slice(row, slice, scale);
        }
        asked.retain(|&(slice, column)| self.within_slice[column * depth + slice] > self.worst);
        if asked.is_empty() {
            return;
        }
        for slice in 0..depth {
            self.fill_within_slice(row, slice, scale);
        }
        asked.sort_unstable_by_key(|&(_, column)| column);
        for asked in asked.chunk_by(|a, b| a.1 == b.1) {
            let source = &self.within_slice[asked[0].1 * depth..][..depth];
            self.envelope.transform(source, scale.slice, &mut self.line[..depth]);
            self.worst =
                asked.iter().map(|&(slice, _)| self.line[slice]).fold(self.worst, f64::max);
        }
    }

    /// Fills the part of `within_slice` that belongs to a slice, unless it is or the slice is
    /// empty.
    fn fill_within_slice(&mut self, row: usize, slice: usize, scale: &Scale) {
        if self.filled[slice] || !self.occupied[slice] {
            return;
        }
        self.filled[slice] = true;
        let (depth, width) = (self.slices.len(), self.columns.len());
        let source = &self.within_column[(row * depth + slice) * width..][..width];
        self.envelope.transform(source, scale.column, &mut self.line[..width]);
        for (column, &distance) in self.line[..width].iter().enumerate() {
            self.within_slice[column * depth + slice] = distance;
        }
    }

    /// Fills `within_column` and `occupied` for the given rows.
    fn fill_within_column(&mut self, to: &[Segment], rows: &Range<u64>, scale: &Scale) {
        let (depth, width) = (self.slices.len(), self.columns.len());
        self.within_column.clear();
        self.within_column.resize((rows.end - rows.start) as usize * depth * width, f64::INFINITY);
        for segments in to.chunk_by(|a, b| (a.slice, a.column) == (b.slice, b.column)) {
            let (slice, column) =
                (segments[0].slice - self.slices.start, segments[0].column - self.columns.start);
            self.occupied[slice] = true;
            let mut next = 0;
            for row in rows.clone() {
                while next < segments.len() && segments[next].rows.end <= row {
                    next += 1;
                }
                let below = segments.get(next).map(|s| s.rows.start.saturating_sub(row));
                let above = next.checked_sub(1).map(|before| row + 1 - segments[before].rows.end);
                let steps = below
                    .into_iter()
                    .chain(above)
                    .min()
                    .expect("a column in the list has a segment");
                let distance = steps as f64 * scale.row;
                self.within_column
                    [((row - rows.start) as usize * depth + slice) * width + column] =
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
                out.push([
                    slice as f64,
                    (pixel % volume.height) as f64,
                    (pixel / volume.height) as f64,
                ]);
            }
        }
        out
    }

    /// The definition, voxel by voxel.
    fn slow_hausdorff(truth: &Volume, predicted: &Volume) -> f64 {
        let shape = [truth.slices.len() as f64, truth.height as f64, truth.width as f64];
        let directed = |a: &[[f64; 3]], b: &[[f64; 3]]| {
            let nearest = |p: &[f64; 3]| {
                let squared = |q: &[f64; 3]| {
                    (0..3).map(|k| (p[k] / shape[k] - q[k] / shape[k]).powi(2)).sum::<f64>()
                };
                b.iter().map(squared).fold(f64::INFINITY, f64::min)
            };
            a.iter().map(nearest).fold(0.0, f64::max).sqrt()
        };
        let (a, b) = (voxels(truth), voxels(predicted));
        directed(&a, &b).max(directed(&b, &a)) / 3.0_f64.sqrt()
    }

    fn volume() -> impl Strategy<Value = Volume> {
        (1_u64..24, 1_u64..7, 1_usize..6, any::<bool>()).prop_flat_map(
            |(height, width, depth, sparse)| {
                let pixels = height * width;
                let starts = if sparse { 0..2_usize } else { 0..6 };
                let slice =
                    proptest::collection::btree_set(0..pixels, starts).prop_map(move |starts| {
                        let mut runs: Vec<Run> = Vec::new();
                        for start in starts {
                            let run = Run { start, end: (start + 1 + start % 5).min(pixels) };
                            runs = rle::union(&runs, &[run]);
                        }
                        runs
                    });
                proptest::collection::vec(slice, depth).prop_map(move |slices| Volume {
                    height,
                    width,
                    slices,
                })
            },
        )
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
