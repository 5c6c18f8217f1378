//! The random streams that preparations draw from, bit for bit: numpy's legacy `RandomState`,
//! numpy's `default_rng` and Python's `random`.

mod mt19937;
mod pcg64;
mod python;

pub use mt19937::RandomState;
pub use pcg64::Generator;
pub use python::PythonRandom;
