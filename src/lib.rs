//! medalist
