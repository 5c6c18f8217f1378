//! Who may start: attempts in the order of the plan, as long as the machine has room.

use crate::limits::Limits;

/// What a machine has for attempts, or has left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Processors.
    pub cpus: f64,
    /// Memory.
    pub memory_bytes: u64,
    /// Attempts at once.
    pub attempts: usize,
}

impl Capacity {
    /// Takes what one attempt needs; `None` if there is not enough.
    ///
    /// An idle machine takes any attempt: one that asks for more than there is runs alone rather than never.
    pub fn take(&self, limits: &Limits, idle: bool) -> Option<Self> {
        if idle {
            return Some(self.less(limits));
        }
        let fits = self.attempts > 0 && self.cpus + 1e-9 >= limits.cpus && self.memory_bytes >= limits.memory_bytes;
        fits.then(|| self.less(limits))
    }

    fn less(&self, limits: &Limits) -> Self {
        Self {
            cpus: self.cpus - limits.cpus,
            memory_bytes: self.memory_bytes.saturating_sub(limits.memory_bytes),
            attempts: self.attempts.saturating_sub(1),
        }
    }

    /// How many attempts with these limits run at once: at least one.
    pub fn at_once(&self, limits: &Limits) -> usize {
        let mut left = *self;
        let mut count = 0;
        while let Some(rest) = left.take(limits, count == 0) {
            // Without limits nothing is ever used up.
            if rest == left {
                return usize::MAX;
            }
            left = rest;
            count += 1;
        }
        count
    }

    /// The machine with `running` attempts on it.
    pub fn after(&self, running: usize, limits: &Limits) -> Self {
        (0..running).fold(*self, |left, _| left.less(limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_scarcest_resource_decides() {
        let limits = Limits { cpus: 2.0, memory_bytes: 4 * GIB, ..Limits::default() };
        let machine = Capacity { cpus: 16.0, memory_bytes: 64 * GIB, attempts: 100 };
        assert_eq!(machine.at_once(&limits), 8);
        assert_eq!(Capacity { memory_bytes: 13 * GIB, ..machine }.at_once(&limits), 3);
        assert_eq!(Capacity { attempts: 2, ..machine }.at_once(&limits), 2);
    }

    #[test]
    fn an_attempt_that_never_fits_runs_alone() {
        let limits = Limits { cpus: 64.0, memory_bytes: 512 * GIB, ..Limits::default() };
        assert_eq!(Capacity { cpus: 2.0, memory_bytes: GIB, attempts: 4 }.at_once(&limits), 1);
    }
}
