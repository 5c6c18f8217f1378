//! Distances on the globe and their quantiles.

use std::collections::HashMap;

use super::Metric;
use crate::form::Form;
use crate::ids::{Rows, same};
use crate::invalid::{InvalidKind, InvalidSubmission, Refusal, bad_answer, not_a_number};
use crate::labels::not_numeric;
use crate::spec::Pairing;
use crate::table::{Column, Values};
use crate::task::Task;

/// Quantiles of distances, trip by trip.
pub static TRIP_DISTANCE: Metric = Metric {
    name: "trip_distance_quantiles",
    aliases: &["haversine_quantiles"],
    summary: "Mean over trips of the mean of the median and the 95th percentile of the distance in metres.",
    inputs: "two columns, latitude and longitude in degrees; the first id column names the trip",
    source: "MLE-bench `smartphone-decimeter-2022/grade.py` and `notebook.py`; numpy 1.26.4 `quantile`",
    options: &[],
    validate: |form| {
        coordinates(form, 0)?;
        coordinates(form, 1)?;
        trips(form).map(drop)
    },
    score: trip_distance,
};

/// The numbers of a coordinate column; text is refused even where it reads as a number.
fn coordinates<'t>(form: &Form<'t>, target: usize) -> Result<Column<'t>, Refusal> {
    let column = form.prediction(target)?;
    if column.is_numeric() || column.is_empty() {
        Ok(column)
    } else {
        Err(not_numeric(&column).into())
    }
}

/// The rows of one trip that belong together: expected and submitted.
type Trip = Vec<(u32, u32)>;

/// The trips in the order in which they first appear among the expected rows.
///
/// Within a trip the reference pairs rows by their place; the strict reading by all ids.
fn trips(form: &Form<'_>) -> Result<Vec<Trip>, Refusal> {
    let (names, submitted) = (form.expected_ids()?[0], form.submission_ids()?[0]);
    let in_file_order = (Rows::InOrder(names.len()), Rows::InOrder(submitted.len()));
    let (expected_rows, submission_rows) = match form.spec.pairing {
        Pairing::FileOrder => (&in_file_order.0, &in_file_order.1),
        _ => (form.sorted_expected()?, form.sorted_submission()?),
    };
    let mut by_trip: HashMap<&str, Vec<u32>> = HashMap::new();
    for row in submission_rows.iter().filter(|&row| !submitted.is_missing(row)) {
        by_trip.entry(submitted.raw(row)).or_default().push(row as u32);
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut trips: Vec<(&str, Trip)> = Vec::new();
    for row in expected_rows.iter() {
        let name = names
            .text(row)
            .filter(|_| names.is_text())
            .ok_or_else(|| bad_answer(row, &names, "is no text"))?;
        let place = *places.entry(name).or_insert(trips.len());
        if place == trips.len() {
            trips.push((name, Trip::new()));
        }
        let trip = &mut trips[place].1;
        let partner = by_trip.get(name).and_then(|rows| rows.get(trip.len()).copied());
        let partner = partner
            .filter(|&s| same(names, row, submitted, s as usize))
            .ok_or_else(|| wrong_count(&submitted, name))?;
        trip.push((row as u32, partner));
    }
    match trips.iter().find(|(name, trip)| by_trip[name].len() != trip.len()) {
        Some((name, _)) => Err(wrong_count(&submitted, name).into()),
        None => Ok(trips.into_iter().map(|(_, trip)| trip).collect()),
    }
}

fn trip_distance(task: &Task<'_>) -> Result<f64, Refusal> {
    let truth = [task.truth(0)?, task.truth(1)?];
    let predicted = [coordinates(task.form(), 0)?, coordinates(task.form(), 1)?];
    let place = |columns: &[Column<'_>; 2], row: u32| {
        Some(Place::of(columns[0].number(row as usize)?, columns[1].number(row as usize)?))
    };
    let halves = predicted.map(|column| matches!(column.values(), Values::Bool(_)));
    let trips = trips(task.form())?;
    let mut total = 0.0;
    for trip in &trips {
        let mut distances = Vec::with_capacity(trip.len());
        for &(row, partner) in trip {
            let actual = place(&truth, row)
                .ok_or_else(|| bad_answer(row as usize, &truth[0], "is no coordinate"))?;
            let guess = place(&predicted, partner)
                .ok_or_else(|| not_a_number(partner as usize, &predicted[0]))?;
            distances.push(great_circle(guess.with_halves(halves), actual));
        }
        total += (quantile(&mut distances, 0.5) + quantile(&mut distances, 0.95)) / 2.0;
    }
    Ok(total / trips.len() as f64)
}

fn wrong_count(trips: &Column<'_>, trip: &str) -> InvalidSubmission {
    InvalidSubmission::new(InvalidKind::RowCount, "a trip has the wrong number of rows")
        .in_column(trips.name())
        .with_value(trip)
        .expecting("as many rows of each trip as in the sample submission")
}

/// Mean radius of the Earth, in metres.
const EARTH_RADIUS: f64 = 6_371_000.0;

/// Great-circle distance of two places in metres, by the haversine formula. Angles in degrees; any
/// value is taken as it is.
///
/// NaN if a coordinate is NaN or infinite.
///
/// # Source
/// MLE-bench `smartphone-decimeter-2022/notebook.py`.
#[must_use]
pub fn haversine([lat1, lon1]: [f64; 2], [lat2, lon2]: [f64; 2]) -> f64 {
    great_circle(Place::of(lat1, lon1), Place::of(lat2, lon2))
}

fn great_circle(a: Place, b: Place) -> f64 {
    let chord = ((b.latitude - a.latitude) / 2.0).sin().powi(2)
        + a.cosine * b.cosine * ((b.longitude - a.longitude) / 2.0).sin().powi(2);
    2.0 * EARTH_RADIUS * chord.sqrt().asin()
}

/// A place on the globe, in radians.
#[derive(Clone, Copy)]
struct Place {
    latitude: f64,
    longitude: f64,
    /// Of the latitude.
    cosine: f64,
}

impl Place {
    /// A place given in degrees.
    fn of(latitude: f64, longitude: f64) -> Self {
        let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
        Self { latitude, longitude, cosine: latitude.cos() }
    }

    /// The place as numpy has it where a column holds booleans: it turns true, one degree, into
    /// radians with half precision, and takes the cosine likewise.
    fn with_halves(mut self, [latitude, longitude]: [bool; 2]) -> Self {
        const TRUE: f64 = 0.017_456_054_687_5;
        let half = |value: f64| if value == 0.0 { 0.0 } else { TRUE };
        if latitude {
            (self.latitude, self.cosine) = (half(self.latitude), 1.0);
        }
        if longitude {
            self.longitude = half(self.longitude);
        }
        self
    }
}

/// Quantile `q` (0 to 1) of `values` with linear interpolation; NaN if any value is NaN or there is
/// none. Sorts `values`.
///
/// # Source
/// numpy 1.26.4 `percentile` (method `linear`).
#[must_use]
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() || values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    values.sort_unstable_by(f64::total_cmp);
    let place = q * (values.len() - 1) as f64;
    let below = values[place.floor() as usize];
    let above = values[place.ceil() as usize];
    let share = place - place.floor();
    if share >= 0.5 {
        above - (above - below) * (1.0 - share)
    } else {
        below + (above - below) * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_distances() {
        assert_eq!(haversine([37.0, -122.0], [37.0, -122.0]), 0.0);
        assert!(
            (haversine([0.0, 0.0], [0.0, 180.0]) - std::f64::consts::PI * EARTH_RADIUS).abs()
                < 1e-6
        );
        assert!((haversine([10.0, 20.0], [11.0, 380.0]) - EARTH_RADIUS.to_radians()).abs() < 1e-3);
        assert!(haversine([f64::INFINITY, 0.0], [0.0, 0.0]).is_nan());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&mut [4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert!((quantile(&mut [1.0, 2.0, 3.0], 0.95) - 2.9).abs() < 1e-15);
        assert_eq!(quantile(&mut [7.0], 0.95), 7.0);
        assert!(quantile(&mut [1.0, f64::NAN], 0.5).is_nan());
        assert!(quantile(&mut [], 0.5).is_nan());
    }

    proptest! {
        #[test]
        fn quantiles_lie_between_the_extremes(mut values in proptest::collection::vec(-1e6_f64..1e6, 1..50), q in 0.0_f64..=1.0) {
            let got = quantile(&mut values, q);
            prop_assert!(values[0] <= got && got <= values[values.len() - 1]);
        }

        #[test]
        fn distances_are_symmetric(a in (-90.0_f64..90.0, -180.0_f64..180.0), b in (-90.0_f64..90.0, -180.0_f64..180.0)) {
            let there = haversine([a.0, a.1], [b.0, b.1]);
            let back = haversine([b.0, b.1], [a.0, a.1]);
            prop_assert!(there.is_nan() == back.is_nan() && (there.is_nan() || (there - back).abs() <= 1e-6));
        }
    }
}
