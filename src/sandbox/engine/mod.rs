//! The container engine (Docker or Podman) through its API. The only module that knows bollard.

mod client;
mod config;
mod images;
mod spec;
mod transfer;

pub use client::{
    ContainerFacts, ContainerState, Engine, EngineError, EngineInfo, ListedContainer,
};
pub use config::{ContainerConfig, ContainerConfigError};
pub(crate) use images::plain;
pub use images::{BuildRequest, ImageFacts, tar_directory};
pub(crate) use spec::{
    Capabilities, INIT_ITSELF, Inner, Mounts, all_gpus_void, container_body, driver_mounts,
    given_mounts,
};
pub(crate) use transfer::Entry;
