//! Dried plants, labelled by species; prepared like the challenge of 2021, but a level deeper and
//! from a file in Latin-1.

use super::herbarium_2021_fgvc8::prepare_below;
use crate::formats::JsonEncoding;
use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    prepare_below(ctx, "nybg2020/", JsonEncoding::Latin1)
}
