//! Python's `random` module.

use std::collections::HashSet;

use super::mt19937::Mt19937;

/// Python's generator, as `random.Random(seed)` or `random.seed(seed)` make it.
///
/// # Source
/// CPython 3.11, `Lib/random.py` and `Modules/_randommodule.c`.
#[derive(Clone, Debug)]
pub struct PythonRandom {
    bits: Mt19937,
}

impl PythonRandom {
    /// A fresh generator for a non-negative integer seed.
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        let key = if high == 0 { vec![low] } else { vec![low, high] };
        Self { bits: Mt19937::seed_by_array(&key) }
    }

    /// A double in `[0, 1)`.
    pub fn random(&mut self) -> f64 {
        self.bits.next_double()
    }

    /// `count` random bits, 1 to 32.
    pub fn getrandbits(&mut self, count: u32) -> u32 {
        debug_assert!((1..=32).contains(&count), "one output has 32 bits");
        self.bits.next_u32() >> (32 - count)
    }

    /// A whole number in `0..n`, for `n` from 1 to 2^32 - 1. Draws even when `n` is 1.
    pub fn below(&mut self, n: usize) -> usize {
        debug_assert!(n > 0 && u32::try_from(n).is_ok(), "`below` is made for 1..2^32");
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let value = self.getrandbits(bits) as usize;
            if value < n {
                return value;
            }
        }
    }

    /// A whole number in `low..=high`.
    pub fn randint(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }

    /// One of `items`, which must not be empty.
    pub fn choice<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Shuffles in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }

    /// `count` of `items` without repetition, in the order drawn; all of them when `count` is
    /// larger.
    pub fn sample<T: Clone>(&mut self, items: &[T], count: usize) -> Vec<T> {
        let n = items.len();
        let count = count.min(n);
        let mut picked = Vec::with_capacity(count);
        if n <= pool_limit(count) {
            let mut pool: Vec<usize> = (0..n).collect();
            for i in 0..count {
                let j = self.below(n - i);
                picked.push(items[pool[j]].clone());
                pool[j] = pool[n - i - 1];
            }
        } else {
            let mut taken = HashSet::new();
            while picked.len() < count {
                let j = self.below(n);
                if taken.insert(j) {
                    picked.push(items[j].clone());
                }
            }
        }
        picked
    }
}

/// Up to this population CPython copies the list, above it draws positions into a set; the two
/// consume the stream differently.
fn pool_limit(count: usize) -> usize {
    if count <= 5 {
        return 21;
    }
    let power = ((count * 3) as f64).ln() / 4f64.ln();
    21 + 4usize.pow(power.ceil() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_known_seeds() {
        let mut random = PythonRandom::new(0);
        assert_eq!([0; 3].map(|_| random.getrandbits(32)), [3626764237, 1654615998, 3255389356]);
        let mut random = PythonRandom::new(42);
        assert_eq!([0; 3].map(|_| random.getrandbits(32)), [2746317213, 478163327, 107420369]);
        assert_eq!(PythonRandom::new(42).randint(0, 1009), 654);
    }

    #[test]
    fn shuffles_equal_cpython() {
        let shuffled = |seed, n| {
            let mut items: Vec<u32> = (0..n).collect();
            PythonRandom::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(0, 5), [2, 1, 0, 4, 3]);
        assert_eq!(shuffled(0, 10), [7, 8, 1, 5, 3, 4, 2, 0, 9, 6]);
        assert_eq!(shuffled(0, 16), [10, 14, 5, 1, 9, 2, 3, 11, 13, 7, 8, 4, 0, 6, 15, 12]);
        assert_eq!(shuffled(42, 10), [7, 3, 2, 8, 5, 6, 9, 4, 0, 1]);
    }

    #[test]
    fn choices_follow_a_shuffle_on_the_same_stream() {
        let mut random = PythonRandom::new(0);
        let mut items: Vec<u32> = (0..6).collect();
        random.shuffle(&mut items);
        assert_eq!(items, [4, 2, 1, 0, 5, 3]);
        let drawn: String = (0..8).map(|_| *random.choice(&['A', 'B'])).collect();
        assert_eq!(drawn, "BBBBAABA");
        let mut random = PythonRandom::new(0);
        let drawn: String = (0..10).map(|_| *random.choice(&['A', 'B', 'C'])).collect();
        assert_eq!(drawn, "BBABCBBBBB");
    }

    #[test]
    fn samples_equal_cpython() {
        let cases: [(usize, usize, &[usize]); 6] = [
            (10, 3, &[6, 9, 0]),
            (12, 12, &[6, 11, 0, 4, 7, 3, 2, 10, 5, 8, 9, 1]),
            (22, 5, &[12, 13, 1, 8, 16]),
            (84, 7, &[49, 53, 5, 33, 65, 62, 51]),
            (86, 16, &[49, 53, 5, 33, 65, 62, 51, 38, 61, 45, 74, 27, 64, 17, 36, 12]),
            (2019, 8, &[1729, 788, 1552, 1823, 861, 82, 530, 1977]),
        ];
        for (n, count, expected) in cases {
            let items: Vec<usize> = (0..n).collect();
            assert_eq!(PythonRandom::new(0).sample(&items, count), expected, "{count} of {n}");
        }
        let mut random = PythonRandom::new(0);
        let twenty: Vec<u32> = (1..=20).collect();
        assert_eq!(random.sample(&twenty, 20)[..5], [13, 14, 2, 9, 16]);
        assert_eq!(random.sample(&twenty, 20)[..5], [4, 3, 11, 16, 20]);
    }
}
