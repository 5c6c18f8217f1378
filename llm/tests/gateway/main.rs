//! The gateway against scripted providers and hostile clients.

mod budget;
mod faults;
mod hygiene;
mod metering;
mod recording;
mod seal;
mod service;
mod support;
mod tls;
