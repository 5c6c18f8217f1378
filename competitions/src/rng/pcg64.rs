//! numpy's `default_rng`: SeedSequence and PCG64.

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// numpy's new generator, as `numpy.random.default_rng(seed)` makes it.
///
/// # Source
/// numpy 1.26.4, `numpy/random/bit_generator.pyx` (SeedSequence) and `_pcg64.pyx` (PCG-XSL-RR
/// 128/64).
#[derive(Clone, Debug)]
pub struct Generator {
    state: u128,
    increment: u128,
}

impl Generator {
    /// A fresh generator for an integer seed.
    pub fn new(seed: u64) -> Self {
        let words = seed_words(seed);
        let quad = |i: usize| u128::from(words[2 * i + 1]) << 32 | u128::from(words[2 * i]);
        let initial_state = quad(0) << 64 | quad(1);
        let initial_sequence = quad(2) << 64 | quad(3);
        let mut generator = Self { state: 0, increment: initial_sequence << 1 | 1 };
        generator.step();
        generator.state = generator.state.wrapping_add(initial_state);
        generator.step();
        generator
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// A double in `[0, 1)`.
    pub fn random(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// A double in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random()
    }
}

/// The eight 32-bit words that a SeedSequence gives for PCG64.
fn seed_words(seed: u64) -> [u32; 8] {
    let entropy = [seed as u32, (seed >> 32) as u32];
    let mut hash = 0x43b0_d7e5u32;
    let mut mixed = |word: u32, multiplier: u32| {
        let mut value = word ^ hash;
        hash = hash.wrapping_mul(multiplier);
        value = value.wrapping_mul(hash);
        value ^ (value >> 16)
    };
    let mut pool = [0u32; 4];
    for (i, slot) in pool.iter_mut().enumerate() {
        *slot = mixed(entropy.get(i).copied().unwrap_or(0), 0x931e_8875);
    }
    for source in 0..4 {
        for target in 0..4 {
            if source != target {
                let other = mixed(pool[source], 0x931e_8875);
                let value = pool[target]
                    .wrapping_mul(0xca01_f9dd)
                    .wrapping_sub(other.wrapping_mul(0x4973_f715));
                pool[target] = value ^ (value >> 16);
            }
        }
    }
    let mut hash = 0x8b51_f9ddu32;
    std::array::from_fn(|i| {
        let mut value = pool[i % 4] ^ hash;
        hash = hash.wrapping_mul(0x58f3_8ded);
        value = value.wrapping_mul(hash);
        value ^ (value >> 16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeding_equals_numpy() {
        let words = seed_words(0);
        assert_eq!(words[..4], [0xb0f4_78be, 0xdb2c_d7e7, 0x2c71_ba49, 0xabf4_641a]);
        assert_eq!(words[4..], [0x9d7b_8d41, 0x20c6_ed6d, 0x223c_39d4, 0x2c40_99de]);
    }

    #[test]
    fn draws_equal_numpy() {
        let mut random = Generator::new(0);
        assert_eq!(random.next_u64(), 0xa30f_ebcf_d9c2_825f);
        assert_eq!(random.next_u64(), 0x4510_bdf8_82d9_d721);
        let mut random = Generator::new(0);
        assert_eq!(random.random(), 0.6369616873214543);
        assert_eq!(random.random(), 0.2697867137638703);
        let mut random = Generator::new(0);
        let rounded: Vec<f64> = (0..6)
            .map(|_| (random.uniform(1.0, 100.0) * 100.0).round_ties_even() / 100.0)
            .collect();
        assert_eq!(rounded, [64.06, 27.71, 5.06, 2.64, 81.51, 91.36]);
    }
}
