//! Test inputs from a seed: the same on every machine.

use shoal_base::Prng;

/// `len` numbers from the standard normal distribution.
#[must_use]
pub fn normal_f32(seed: u64, len: usize) -> Vec<f32> {
    let mut prng = Prng::new(seed);
    (0..len).map(|_| prng.next_normal() as f32).collect()
}

/// `len` random bytes.
#[must_use]
pub fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut prng = Prng::new(seed);
    (0..len).map(|_| prng.next_u64() as u8).collect()
}
