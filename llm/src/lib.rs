//! A gateway between agents in sealed containers and language models.
//!
//! Agents call models as they always do; the gateway holds the provider's key, checks what leaves
//! the container, counts tokens and dollars, keeps budgets, waits out overload, and writes down
//! what was said so that a run can be replayed without any provider.
//!
//! ```text
//!  connection ─► gateway ─► request ─► route ─► policy ─► replay ─► recorded answer
//!  (+ tls)                  (hostile)                        │
//!                                                            ▼
//!                record ◄── call: meter, scrub ◄── upstream ◄── ledger
//!                           (bytes as they come)   (gates)      (reserve)
//! ```
//!
//! Where machines have no internet, `upstream` is a [`service::Server`] elsewhere, which has the keys.
//!
//! A [`Gateway`] serves a run group. [`Gateway::open`] opens an attempt; [`Gateway::serve`] and
//! [`Gateway::serve_tls`] serve one connection each, whatever carries it. `examples/gateway.rs`
//! runs one on loopback.

mod answer;
pub mod ask;
mod attempt;
mod call;
pub mod check;
mod clean;
pub mod config;
mod dialect;
mod encoding;
pub mod events;
mod gateway;
mod json;
pub mod ledger;
mod meter;
mod money;
mod numbered;
mod outage;
mod policy;
pub mod prices;
pub mod record;
mod request;
mod route;
mod scrub;
pub mod service;
pub mod tls;
mod upstream;
pub mod usage;

pub use attempt::{AttemptContext, AttemptSpec};
pub use config::Config;
pub use dialect::{Dialect, Refusal};
pub use gateway::{Gateway, GatewayError};
pub use money::{Picodollars, Rate};
pub use scrub::Needles;
