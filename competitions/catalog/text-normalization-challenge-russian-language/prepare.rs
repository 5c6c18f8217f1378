//! Written words and how they are spoken, split as the English ones are.

use super::text_normalization_challenge_english_language::prepare_language;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    prepare_language(ctx, "ru")
}
