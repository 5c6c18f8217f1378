//! Facts that files keep as words: how a try ended, and its phases.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Makes an enum that files keep as a word. A word that this version does not know is kept as it
/// is, so that files of newer versions can still be read.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A word of another version of the harness.
            Other(String),
        }

        impl $name {
            /// All that this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),*];

            /// The word that files and tables show.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(String::new())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(deserializer)?.as_str()))
            }
        }
    };
}

words! {
    /// The ways in which a try can end.
    pub enum OutcomeKind {
        /// The agent's main process ended by itself.
        Finished = "finished",
        /// The time limit passed.
        TimedOut = "timed_out",
        /// The agent ran into its memory limit and failed.
        OutOfMemory = "out_of_memory",
        /// The agent wrote more than its disk limit.
        DiskFull = "disk_full",
        /// The agent ran into its limit of processes and failed.
        TooManyProcesses = "too_many_processes",
        /// A person or another failure asked for the end.
        Cancelled = "cancelled",
        /// The image cannot be run under the seal, or its agent cannot be started.
        ImageRefused = "image_refused",
        /// The engine, or the process that stands for it, went away under the attempt.
        EngineLost = "engine_lost",
        /// The machine's own disk ran full.
        HostFull = "host_full",
        /// A GPU failed under the attempt.
        GpuLost = "gpu_lost",
        /// The language models could not be reached for so long that nobody waits any longer.
        LlmOutage = "llm_outage",
        /// The machine that made the try was lost: its node failed, or the scheduler took it away.
        NodeLost = "node_lost",
        /// The image is not here and could not be had.
        ImageMissing = "image_missing",
        /// The attempt could not be started.
        SetupFailed = "setup_failed",
        /// The answers could not be read, so the submission has no grade.
        GradingFailed = "grading_failed",
    }
}

impl OutcomeKind {
    /// Whether the machine failed and not the agent: such a try is repeated, and counted apart.
    /// [`infrastructure`](super::OutcomeRecord::infrastructure) keeps what the writer of a file
    /// knew, also of kinds that this version does not.
    pub fn is_infrastructure(&self) -> bool {
        match self {
            Self::EngineLost
            | Self::HostFull
            | Self::GpuLost
            | Self::LlmOutage
            | Self::NodeLost
            | Self::ImageMissing
            | Self::SetupFailed
            | Self::GradingFailed => true,
            Self::Finished
            | Self::TimedOut
            | Self::OutOfMemory
            | Self::DiskFull
            | Self::TooManyProcesses
            | Self::Cancelled
            | Self::ImageRefused
            | Self::Other(_) => false,
        }
    }
}

words! {
    /// The phases of a try, in their order.
    pub enum Phase {
        /// Its GPUs are waited for; the clock stands still.
        Gpu = "gpu",
        /// Its image is looked up or pulled; the clock stands still.
        Image = "image",
        /// Its container is created.
        Create = "create",
        /// The agent works.
        Agent = "agent",
        /// The agent got SIGTERM and may save its work.
        Grace = "grace",
        /// Its submission, logs and code are taken over.
        Collect = "collect",
        /// Its container is removed.
        Remove = "remove",
        /// Its submission is graded.
        Grade = "grade",
    }
}
