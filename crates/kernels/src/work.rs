//! What operations have to do, however fast: bytes to read and numbers to multiply.

use std::iter::Sum;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicU64, Ordering};

/// Weight bytes to read and multiply-adds to make.
///
/// Keys and values are not among the bytes; attention counts its multiply-adds. What takes a pass over activations
/// (norms, rotations, sums) counts nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes of weights in their stored formats: each matrix once for each call that uses it.
    pub weight_bytes: u64,
    /// Multiply-adds with quantised weights.
    pub int8_macs: u64,
    /// Multiply-adds with F32, F16 or BF16 weights, and those of attention.
    pub float_macs: u64,
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            weight_bytes: self.weight_bytes + other.weight_bytes,
            int8_macs: self.int8_macs + other.int8_macs,
            float_macs: self.float_macs + other.float_macs,
        }
    }
}

/// From an earlier count to a later one.
impl Sub for Work {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            weight_bytes: self.weight_bytes - earlier.weight_bytes,
            int8_macs: self.int8_macs - earlier.int8_macs,
            float_macs: self.float_macs - earlier.float_macs,
        }
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::default(), Add::add)
    }
}

/// All work so far.
#[derive(Debug, Default)]
pub(crate) struct WorkCounter {
    weight_bytes: AtomicU64,
    int8_macs: AtomicU64,
    float_macs: AtomicU64,
}

impl WorkCounter {
    pub(crate) fn add(&self, work: Work) {
        self.weight_bytes.fetch_add(work.weight_bytes, Ordering::Relaxed);
        self.int8_macs.fetch_add(work.int8_macs, Ordering::Relaxed);
        self.float_macs.fetch_add(work.float_macs, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> Work {
        Work {
            weight_bytes: self.weight_bytes.load(Ordering::Relaxed),
            int8_macs: self.int8_macs.load(Ordering::Relaxed),
            float_macs: self.float_macs.load(Ordering::Relaxed),
        }
    }
}
