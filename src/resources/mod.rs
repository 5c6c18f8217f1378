//! What this machine has: processors, memory, disk, kernel, GPUs.

pub mod gpu;
pub mod host;
