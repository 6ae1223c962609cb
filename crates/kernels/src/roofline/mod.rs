//! The bounds of this machine: how fast it reads memory and how fast it multiplies, for each number of threads.
//!
//! Work that needs `b` bytes and `m` multiply-adds takes at least the longer of `b / read bandwidth` and
//! `m / multiply-adds per second`. Which of the two is longer says what binds it, and its share of the time taken says
//! how much is left to gain.
//!
//! Source   Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model"

pub mod curve;
mod int8;
mod product;
mod read;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use shoal_quant::Dtype;

use crate::isa::Isa;
use crate::pool::Pool;
use crate::work::Work;

pub use read::buffer_bytes;

/// What a number of threads can do together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// How many threads.
    pub threads: usize,
    /// Bytes per second read from memory, beyond the caches.
    pub read_bytes_per_s: f64,
    /// Multiply-adds of bytes per second: with SIMD the peak of the instructions that products of quantised weights
    /// use, with the scalar reference what its own product reaches.
    pub int8_macs_per_s: f64,
    /// Multiply-adds per second of products with BF16 weights and many tokens, from the cache: what float weights and
    /// attention are held against.
    pub bf16_macs_per_s: f64,
}

/// What binds some work: whatever it would wait for on a perfect program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Reading weights.
    Memory,
    /// Multiplying bytes.
    Int8,
    /// Multiplying floats.
    Float,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Int8 => "int8 arithmetic",
            Self::Float => "float arithmetic",
        })
    }
}

/// The least time that some work takes, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Seconds.
    pub seconds: f64,
    /// What binds.
    pub limit: Limit,
}

impl Bound {
    /// The part of `time` that the work would take at the least: 1 is perfect. Weights that stay in a cache are read
    /// faster than memory, so it can be above 1.
    #[must_use]
    pub fn share_of(&self, time: Duration) -> f64 {
        self.seconds / time.as_secs_f64().max(1e-9)
    }
}

impl Bounds {
    /// The bound of `work`; `None` if there is nothing to do.
    #[must_use]
    pub fn of(&self, work: &Work) -> Option<Bound> {
        let memory = work.weight_bytes as f64 / self.read_bytes_per_s;
        let int8 = work.int8_macs as f64 / self.int8_macs_per_s;
        let float = work.float_macs as f64 / self.bf16_macs_per_s;
        // The two kinds of arithmetic take the same cores, one after the other; memory is read meanwhile.
        let arithmetic = int8 + float;
        let (seconds, limit) = if memory >= arithmetic {
            (memory, Limit::Memory)
        } else {
            (arithmetic, if int8 >= float { Limit::Int8 } else { Limit::Float })
        };
        (seconds > 0.0).then_some(Bound { seconds, limit })
    }
}

/// The bounds for numbers of threads, ascending from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Roofline(Vec<Bounds>);

impl Roofline {
    /// Takes bounds that were measured; `None` unless they ascend from one thread with finite, positive numbers.
    #[must_use]
    pub fn new(bounds: Vec<Bounds>) -> Option<Self> {
        let positive = |number: f64| number.is_finite() && number > 0.0;
        let begins_at_one = bounds.first().is_some_and(|first| first.threads == 1);
        let ascends = bounds.is_sorted_by(|a, b| a.threads < b.threads);
        let positive = bounds.iter().all(|bounds| {
            [bounds.read_bytes_per_s, bounds.int8_macs_per_s, bounds.bf16_macs_per_s]
                .into_iter()
                .all(positive)
        });
        (begins_at_one && ascends && positive).then_some(Self(bounds))
    }

    /// What was measured.
    #[must_use]
    pub fn bounds(&self) -> &[Bounds] {
        &self.0
    }

    /// The most threads that were measured.
    #[must_use]
    pub fn threads_max(&self) -> usize {
        self.0[self.0.len() - 1].threads
    }

    /// The bounds for `threads` threads: as measured, on a line between two measured numbers, or, for more than the
    /// most, those of the most.
    #[must_use]
    pub fn at(&self, threads: usize) -> Bounds {
        let next = self.0.partition_point(|bounds| bounds.threads < threads);
        let Some(above) = self.0.get(next) else { return self.0[next - 1] };
        if above.threads == threads || next == 0 {
            return *above;
        }
        let below = &self.0[next - 1];
        let part = (threads - below.threads) as f64 / (above.threads - below.threads) as f64;
        let between = |of: fn(&Bounds) -> f64| of(below) + part * (of(above) - of(below));
        Bounds {
            threads,
            read_bytes_per_s: between(|bounds| bounds.read_bytes_per_s),
            int8_macs_per_s: between(|bounds| bounds.int8_macs_per_s),
            bf16_macs_per_s: between(|bounds| bounds.bf16_macs_per_s),
        }
    }
}

/// Measures with 1, 2, 4, ... and `threads` threads, with `memory` bytes at a time, but 16 MiB at the least. Takes a second or two. With less memory than
/// [`buffer_bytes`] the numbers are those of a cache.
///
/// # Panics
/// If `threads` is 0.
#[must_use]
pub fn measure(isa: Isa, threads: usize, memory: u64) -> Roofline {
    assert!(threads > 0, "at least one thread measures");
    let buffer = read::buffer(read::buffer_bytes_within(memory));
    let bounds = thread_counts(threads).map(|threads| {
        let pool = Arc::new(Pool::new(threads));
        let _seat = pool.take_seat();
        Bounds {
            threads,
            read_bytes_per_s: read::bytes_per_s(isa, &pool, buffer.as_slice()),
            int8_macs_per_s: int8::macs_per_s(isa, &pool),
            bf16_macs_per_s: product::macs_per_s(isa, &pool, Dtype::BF16),
        }
    });
    Roofline(bounds.collect())
}

/// The powers of two below `most`, then `most`.
fn thread_counts(most: usize) -> impl Iterator<Item = usize> {
    (0..usize::BITS).map(|log2| 1 << log2).take_while(move |&count| count < most).chain([most])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(threads: usize, read: f64) -> Bounds {
        Bounds { threads, read_bytes_per_s: read, int8_macs_per_s: 10.0 * read, bf16_macs_per_s: 2.0 * read }
    }

    #[test]
    fn the_longer_of_the_times_binds() {
        let bounds = bounds(1, 100.0);
        let bound = |weight_bytes, int8_macs, float_macs| {
            bounds.of(&Work { weight_bytes, int8_macs, float_macs }).map(|bound| (bound.seconds, bound.limit))
        };
        assert_eq!(bound(200, 1000, 0), Some((2.0, Limit::Memory)));
        assert_eq!(bound(200, 3000, 0), Some((3.0, Limit::Int8)));
        assert_eq!(bound(200, 1000, 400), Some((3.0, Limit::Float)), "both kinds of arithmetic add up");
        assert_eq!(bound(0, 0, 0), None);
        let share = bounds.of(&Work { weight_bytes: 200, ..Work::default() }).expect("work");
        assert!((share.share_of(Duration::from_secs(8)) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn thread_counts_between_two_lie_on_a_line() {
        assert_eq!(thread_counts(1).collect::<Vec<_>>(), [1]);
        assert_eq!(thread_counts(4).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(thread_counts(6).collect::<Vec<_>>(), [1, 2, 4, 6]);
        let roofline =
            Roofline::new(vec![bounds(1, 10.0), bounds(2, 18.0), bounds(6, 30.0)]).expect("ascending");
        let read = |threads| roofline.at(threads).read_bytes_per_s;
        assert_eq!([1, 2, 3, 5, 6, 64].map(read), [10.0, 18.0, 21.0, 27.0, 30.0, 30.0]);
        assert_eq!((roofline.at(3).threads, roofline.threads_max()), (3, 6));
        assert_eq!(roofline.at(5).int8_macs_per_s, 270.0);
    }

    #[test]
    fn numbers_that_nobody_measured_are_refused() {
        let refused = [
            vec![],
            vec![bounds(2, 1.0)],
            vec![bounds(1, 1.0), bounds(1, 2.0)],
            vec![bounds(1, -1.0)],
            vec![bounds(1, f64::NAN)],
            vec![bounds(1, f64::INFINITY)],
            vec![bounds(1, 1.0), bounds(2, 0.0)],
            vec![Bounds { bf16_macs_per_s: 0.0, ..bounds(1, 1.0) }],
        ];
        for bounds in refused {
            assert_eq!(Roofline::new(bounds.clone()), None, "{bounds:?}");
        }
    }

    #[test]
    fn a_measurement_is_a_roofline() {
        let roofline = measure(Isa::best(), 2, 64 << 20);
        assert_eq!(Roofline::new(roofline.bounds().to_vec()), Some(roofline));
    }
}
