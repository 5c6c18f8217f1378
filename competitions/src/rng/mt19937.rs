//! The Mersenne Twister and numpy's legacy draws on top of it.

const WORDS: usize = 624;
const OFFSET: usize = 397;

/// The bare generator: 32-bit outputs, seeded as numpy (`seed`) or as CPython (`seed_by_array`)
/// does.
#[derive(Clone, Debug)]
pub(super) struct Mt19937 {
    state: [u32; WORDS],
    index: usize,
}

impl Mt19937 {
    pub(super) fn seed(seed: u32) -> Self {
        let mut state = [0; WORDS];
        state[0] = seed;
        for k in 1..WORDS {
            let before = state[k - 1];
            state[k] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(k as u32);
        }
        Self { state, index: WORDS }
    }

    pub(super) fn seed_by_array(key: &[u32]) -> Self {
        let mut generator = Self::seed(19_650_218);
        let state = &mut generator.state;
        let (mut i, mut j) = (1, 0);
        for _ in 0..WORDS.max(key.len()) {
            let mixed = (state[i - 1] ^ (state[i - 1] >> 30)).wrapping_mul(1_664_525);
            state[i] = (state[i] ^ mixed).wrapping_add(key[j]).wrapping_add(j as u32);
            i += 1;
            j += 1;
            if i == WORDS {
                state[0] = state[WORDS - 1];
                i = 1;
            }
            if j == key.len() {
                j = 0;
            }
        }
        for _ in 1..WORDS {
            let mixed = (state[i - 1] ^ (state[i - 1] >> 30)).wrapping_mul(1_566_083_941);
            state[i] = (state[i] ^ mixed).wrapping_sub(i as u32);
            i += 1;
            if i == WORDS {
                state[0] = state[WORDS - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        generator.index = WORDS;
        generator
    }

    pub(super) fn next_u32(&mut self) -> u32 {
        if self.index == WORDS {
            self.refill();
        }
        let mut y = self.state[self.index];
        self.index += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn refill(&mut self) {
        let state = &mut self.state;
        for k in 0..WORDS {
            let y = (state[k] & 0x8000_0000) | (state[(k + 1) % WORDS] & 0x7fff_ffff);
            let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            state[k] = state[(k + OFFSET) % WORDS] ^ (y >> 1) ^ twist;
        }
        self.index = 0;
    }

    /// A double in `[0, 1)` with 53 random bits, from two outputs.
    pub(super) fn next_double(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }
}

/// numpy's legacy generator, as `numpy.random.RandomState(seed)` and `random_state=seed` make it.
///
/// # Source
/// numpy 1.26.4, `numpy/random/mtrand.pyx` with `legacy-distributions.c`.
#[derive(Clone, Debug)]
pub struct RandomState {
    bits: Mt19937,
}

impl RandomState {
    /// A fresh generator for an integer seed.
    pub fn new(seed: u32) -> Self {
        Self { bits: Mt19937::seed(seed) }
    }

    /// A double in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        self.bits.next_double()
    }

    /// A whole number in `0..=max`; draws nothing when `max` is 0.
    pub fn interval(&mut self, max: u32) -> u32 {
        if max == 0 {
            return 0;
        }
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.bits.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// A whole number in `low..high`, which must not be empty and must span less than 2^32.
    pub fn randint(&mut self, low: i64, high: i64) -> i64 {
        debug_assert!(low < high, "randint needs a span of at least one value");
        low + i64::from(self.interval((high - 1 - low) as u32))
    }

    /// Shuffles in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        // Drawn ahead, so that the processor can fetch the items of many swaps at once: they lie
        // anywhere.
        let mut drawn = [0; 256];
        let mut end = items.len();
        while end > 1 {
            let begin = end.saturating_sub(drawn.len()).max(1);
            let places = || (begin..end).rev();
            places().zip(&mut drawn).for_each(|(i, j)| *j = self.interval(i as u32));
            places().zip(&drawn).for_each(|(i, &j)| items.swap(i, j as usize));
            end = begin;
        }
    }

    /// The numbers `0..n` in random order.
    pub fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_known_seeds() {
        let cases: [(u32, [u32; 5]); 3] = [
            (0, [2357136044, 2546248239, 3071714933, 3626093760, 2588848963]),
            (42, [1608637542, 3421126067, 4083286876, 787846414, 3143890026]),
            (5489, [3499211612, 581869302, 3890346734, 3586334585, 545404204]),
        ];
        for (seed, expected) in cases {
            let mut bits = Mt19937::seed(seed);
            assert_eq!(expected.map(|_| bits.next_u32()), expected, "seed {seed}");
        }
    }

    #[test]
    fn permutations_equal_numpy() {
        let cases: [(usize, u32, &[u32]); 6] = [
            (0, 0, &[]),
            (5, 0, &[2, 0, 1, 3, 4]),
            (10, 0, &[2, 8, 4, 9, 1, 6, 7, 3, 0, 5]),
            (10, 42, &[8, 1, 5, 0, 7, 2, 9, 4, 3, 6]),
            (12, 8, &[7, 9, 10, 8, 6, 11, 0, 2, 5, 1, 4, 3]),
            (17, 7, &[13, 11, 16, 8, 5, 2, 1, 0, 14, 10, 7, 12, 3, 6, 9, 4, 15]),
        ];
        for (n, seed, expected) in cases {
            assert_eq!(RandomState::new(seed).permutation(n), expected, "n {n}, seed {seed}");
        }
        let long = RandomState::new(0).permutation(100_000);
        assert_eq!(long[..5], [3582, 60498, 53227, 21333, 3885]);
        assert_eq!(long[99_995..], [21243, 45891, 42613, 43567, 68268]);
    }

    #[test]
    fn mixed_draws_share_one_stream() {
        let mut random = RandomState::new(0);
        assert_eq!(random.uniform(), 0.5488135039273248);
        assert_eq!(random.uniform(), 0.7151893663724195);
        assert_eq!(random.randint(1, 2), 1);
        assert_eq!(random.randint(1, 9), 4);
        assert_eq!(random.uniform(), 0.8579456176227568);
        assert_eq!(random.randint(1, 6), 2);
        assert_eq!(random.randint(1, 30), 20);
        assert_eq!(random.uniform(), 0.6458941130666561);
    }

    #[test]
    fn randint_equals_numpy() {
        let mut random = RandomState::new(42);
        let drawn: Vec<i64> = (0..20).map(|_| random.randint(1, 7)).collect();
        assert_eq!(drawn, [4, 5, 3, 5, 5, 2, 3, 3, 3, 5, 4, 3, 6, 5, 2, 4, 6, 6, 2, 4]);
        let mut random = RandomState::new(0);
        let drawn: Vec<i64> = (0..8).map(|_| random.randint(0, 676)).collect();
        assert_eq!(drawn, [559, 629, 192, 359, 9, 277, 599, 70]);
    }
}
