//! What the harness stands on: the machine, the files it keeps, Kaggle, secrets.

pub mod files;
pub mod gpu;
pub mod http;
pub mod kaggle;
pub mod machine;
pub mod secret;
pub mod store;
