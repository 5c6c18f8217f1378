//! What the gateway tells the harness while it runs.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Something the harness or its operator should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An attempt, or the group (`attempt` is none), has used 80 % of a limit.
    BudgetWarning {
        /// The attempt; none for the group.
        attempt: Option<String>,
        /// `dollars`, `tokens` or `calls`.
        limit: &'static str,
    },
    /// A limit is reached: further calls are answered with 402.
    BudgetReached {
        /// The attempt; none for the group.
        attempt: Option<String>,
        /// `dollars`, `tokens` or `calls`.
        limit: &'static str,
    },
    /// A provider refuses the key or the money behind it; its calls wait until it answers again.
    /// The run should start nothing more on it.
    MoneyRefused {
        /// The upstream's name.
        upstream: String,
        /// The provider's HTTP status.
        status: u16,
        /// The provider's error code, without its text.
        code: String,
    },
    /// The provider takes the key again.
    MoneyAccepted {
        /// The upstream's name.
        upstream: String,
    },
    /// No call of a model has succeeded for a minute.
    OutageBegan {
        /// The upstream's name.
        upstream: String,
        model: String,
        /// When the first call failed.
        from: DateTime<Utc>,
        /// The latest status; 0 if the provider could not be reached.
        status: u16,
    },
    /// A call of the model has succeeded again.
    OutageEnded {
        /// The upstream's name.
        upstream: String,
        model: String,
        /// When the first call had failed.
        from: DateTime<Utc>,
        /// When one succeeded.
        to: DateTime<Utc>,
    },
    /// No gateway service takes calls, which wait.
    ServiceAway {
        /// Why, and what was looked at.
        message: String,
    },
    /// A gateway service takes calls again.
    ServiceBack {
        /// Its host and port.
        address: String,
    },
    /// A provider's answer held its key; the call was cut.
    KeyInAnswer {
        /// The upstream's name.
        upstream: String,
        attempt: String,
    },
    /// A client refused the certificate made for the attempt.
    HandshakeRefused {
        attempt: String,
        /// The host name that the client asked for.
        host: String,
        /// The client's reason, or that it left.
        reason: String,
    },
    /// A replay was asked for an answer that the recording does not have.
    ReplayMiss {
        attempt: String,
        /// Which request, the nearest recorded one, and where they differ.
        message: String,
    },
    /// Something could not be written down.
    RecordFailed {
        attempt: String,
        /// What and why.
        message: String,
    },
}

/// Where events go; called from any thread, and must not block.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// Events go to `listener`.
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Events go nowhere.
    pub fn ignore() -> Self {
        Self::new(|_| {})
    }

    /// Tells an event.
    pub fn send(&self, event: Event) {
        (self.0)(event);
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
    }
}
