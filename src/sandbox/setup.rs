//! Why an init did not start its agent, in the words of an executor.

use std::time::Duration;

use medalist_init::protocol;

use super::ExitCause;
use super::control::End;
use crate::attempt::launch::{ExecutorError, LaunchSpec, Program};
use crate::attempt::outcome::Usage;

/// How long an init may take to prepare a container: an image may hold a great many files in /home.
pub(crate) const SETUP_PATIENCE: Duration = Duration::from_secs(300);

/// An image that is not started, and why.
pub(crate) fn refused(spec: &LaunchSpec, why: String) -> ExecutorError {
    let image = match &spec.program {
        Program::Image { reference, .. } => reference.clone(),
        Program::Local { .. } => String::new(),
    };
    // An engine's words may hold the image's.
    let why = protocol::Failure::image(why).message;
    ExecutorError::ImageRefused { image, why }
}

/// The image has kept the init busy for [`SETUP_PATIENCE`].
pub(crate) fn too_slow(spec: &LaunchSpec) -> ExecutorError {
    let seconds = SETUP_PATIENCE.as_secs();
    refused(spec, format!("its /home could not be opened for the agent within {seconds} s"))
}

/// The init ended before the agent began.
pub(crate) fn not_begun(end: End, spec: &LaunchSpec) -> ExecutorError {
    match end.report(Usage::default()).cause {
        ExitCause::ImageRefused(why) => refused(spec, why),
        ExitCause::SetupFailed(message) => {
            let action = "prepare the container".to_string();
            ExecutorError::Engine { action, source: message.into() }
        }
        other => not_started(&format!("{other:?}")),
    }
}

/// The agent was not started, for no fault of its image.
pub(crate) fn not_started(why: &str) -> ExecutorError {
    ExecutorError::Engine { action: "start the agent".to_string(), source: why.to_string().into() }
}
