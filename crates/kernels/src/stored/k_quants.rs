//! The K-quants: 256 weights in sub-blocks of 16 or 32, whose scales are small integers under one f16.

use shoal_quant::{q2_k, q3_k, q4_k, q5_k, q6_k};

use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Vector, columns, columns_16};

/// Bits `at..at + bits` of every 32-bit lane.
#[inline(always)]
fn field<V: Vector>(v: V, word: V::Ints, at: usize, bits: u32) -> V::Ints {
    v.and(v.srl_32(word, at), v.splat_32((1 << bits) - 1))
}

/// `bits` at `at` of `low`, with two bits at `high_at` of `high` above four of them.
#[inline(always)]
fn six_bits<V: Vector>(v: V, low: V::Ints, at: usize, high: V::Ints, high_at: usize) -> V::Ints {
    v.or(field(v, low, at, 4), v.sll_32(field(v, high, high_at, 2), 4))
}

/// Scales and mins of Q4_K and Q5_K: d, dmin and twelve bytes of 6-bit integers (see `shoal_quant::q4_k`).
#[inline(always)]
fn scales_mins_6bit<V: Vector, const B: usize>(v: V, blocks: &Blocks<'_, V, B>) -> Scales<V> {
    let words = columns_16(v, blocks, 0);
    Scales { d: v.f16(words[0]), dmin: v.f16(v.srl_32(words[0], 16)), words }
}

#[inline(always)]
fn scale_6bit<V: Vector>(
    v: V,
    Scales { d, words: [_, low, _, high], .. }: &Scales<V>,
    j: usize,
) -> V::Floats {
    let int =
        if j < 4 { field(v, *low, 8 * j, 6) } else { six_bits(v, *high, 8 * (j - 4), *low, 8 * (j - 4) + 6) };
    v.mul(*d, v.to_floats(int))
}

#[inline(always)]
fn min_6bit<V: Vector>(
    v: V,
    Scales { dmin, words: [_, _, low, high], .. }: &Scales<V>,
    j: usize,
) -> V::Floats {
    let int = if j < 4 {
        field(v, *low, 8 * j, 6)
    } else {
        six_bits(v, *high, 8 * (j - 4) + 4, *low, 8 * (j - 4) + 6)
    };
    v.mul(*dmin, v.to_floats(int))
}

/// The low and the high nibbles of four bytes: two groups of Q4_K and Q5_K.
#[inline(always)]
fn two_nibbles<V: Vector>(v: V, bytes: V::Ints) -> FourCodes<V> {
    let mask = v.splat_8(15);
    [v.and(bytes, mask), v.and(v.srl_16(bytes, 4), mask), v.zero(), v.zero()]
}

/// Bit `from` of every byte, moved to bit `to`.
#[inline(always)]
fn bit_moved<V: Vector>(v: V, bytes: V::Ints, from: usize, to: usize) -> V::Ints {
    let moved = if from > to { v.srl_16(bytes, from - to) } else { v.sll_16(bytes, to - from) };
    v.and(moved, v.splat_8(1 << to))
}

pub(crate) struct Q4K;

impl Stored<{ q4_k::BYTES }> for Q4K {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::WithMins;

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q4_k::BYTES }>, span: usize) -> Raw<V> {
        let unused = [v.zero(); 8];
        [columns(v, blocks, q4_k::QS + 32 * span), unused, unused]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        two_nibbles(v, raw[0][k])
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q4_k::BYTES }>) -> Scales<V> {
        scales_mins_6bit(v, blocks)
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        scale_6bit(v, scales, j)
    }
    #[inline(always)]
    fn min<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        min_6bit(v, scales, j)
    }
}

pub(crate) struct Q5K;

impl Stored<{ q5_k::BYTES }> for Q5K {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::WithMins;

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q5_k::BYTES }>, span: usize) -> Raw<V> {
        let unused = [v.zero(); 8];
        [columns(v, blocks, q5_k::QS + 32 * span), columns(v, blocks, q5_k::QH), unused]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, span: usize, k: usize) -> FourCodes<V> {
        let mut out = two_nibbles(v, raw[0][k]);
        for g in 0..2 {
            out[g] = v.or(out[g], bit_moved(v, raw[1][k], 2 * span + g, 4));
        }
        out
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q5_k::BYTES }>) -> Scales<V> {
        scales_mins_6bit(v, blocks)
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        scale_6bit(v, scales, j)
    }
    #[inline(always)]
    fn min<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        min_6bit(v, scales, j)
    }
}

pub(crate) struct Q6K;

impl Stored<{ q6_k::BYTES }> for Q6K {
    const GROUPS: usize = 8;
    const SPAN: usize = 4;
    const SUB: usize = 16;
    const CODES: Codes = Codes::Offset(5);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q6_k::BYTES }>, span: usize) -> Raw<V> {
        let (low, high) = (64 * span, q6_k::QH + 32 * span);
        [columns(v, blocks, low), columns(v, blocks, low + 32), columns(v, blocks, high)]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        // Four groups: the low and then the high nibbles of 64 bytes, under two bits each of 32 bytes of qh.
        let [first, second, high] = [raw[0][k], raw[1][k], raw[2][k]];
        let (low_mask, high_mask) = (v.splat_8(15), v.splat_8(0x30));
        [
            v.or(v.and(first, low_mask), v.and(v.sll_16(high, 4), high_mask)),
            v.or(v.and(second, low_mask), v.and(v.sll_16(high, 2), high_mask)),
            v.or(v.and(v.srl_16(first, 4), low_mask), v.and(high, high_mask)),
            v.or(v.and(v.srl_16(second, 4), low_mask), v.and(v.srl_16(high, 2), high_mask)),
        ]
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q6_k::BYTES }>) -> Scales<V> {
        // d is the last two bytes of the block: a word that ends there.
        let d = v.f16(v.srl_32(v.words(blocks, q6_k::D - 2), 16));
        Scales { words: columns_16(v, blocks, q6_k::SCALES), ..Scales::one(v, d) }
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        let int = v.sra_32(v.sll_32(scales.words[j / 4], 24 - 8 * (j % 4)), 24);
        v.mul(scales.d, v.to_floats(int))
    }
}

/// The four pairs of bits of each of four bytes: four groups of Q2_K and Q3_K.
#[inline(always)]
fn four_pairs_of_bits<V: Vector>(v: V, bytes: V::Ints) -> FourCodes<V> {
    let mask = v.splat_8(3);
    [
        v.and(bytes, mask),
        v.and(v.srl_16(bytes, 2), mask),
        v.and(v.srl_16(bytes, 4), mask),
        v.and(v.srl_16(bytes, 6), mask),
    ]
}

pub(crate) struct Q2K;

impl Stored<{ q2_k::BYTES }> for Q2K {
    const GROUPS: usize = 8;
    const SPAN: usize = 4;
    const SUB: usize = 16;
    const CODES: Codes = Codes::WithMins;

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q2_k::BYTES }>, span: usize) -> Raw<V> {
        let unused = [v.zero(); 8];
        [columns(v, blocks, q2_k::QS + 32 * span), unused, unused]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        four_pairs_of_bits(v, raw[0][k])
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q2_k::BYTES }>) -> Scales<V> {
        let d_dmin = v.words(blocks, q2_k::D);
        let words = columns_16(v, blocks, 0);
        Scales { d: v.f16(d_dmin), dmin: v.f16(v.srl_32(d_dmin, 16)), words }
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        v.mul(scales.d, v.to_floats(field(v, scales.words[j / 4], 8 * (j % 4), 4)))
    }
    #[inline(always)]
    fn min<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        v.mul(scales.dmin, v.to_floats(field(v, scales.words[j / 4], 8 * (j % 4) + 4, 4)))
    }
}

pub(crate) struct Q3K;

impl Stored<{ q3_k::BYTES }> for Q3K {
    const GROUPS: usize = 8;
    const SPAN: usize = 4;
    const SUB: usize = 16;
    const CODES: Codes = Codes::Offset(2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q3_k::BYTES }>, span: usize) -> Raw<V> {
        let unused = [v.zero(); 8];
        [columns(v, blocks, q3_k::QS + 32 * span), columns(v, blocks, 0), unused]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, span: usize, k: usize) -> FourCodes<V> {
        let mut out = four_pairs_of_bits(v, raw[0][k]);
        for s in 0..4 {
            out[s] = v.or(out[s], bit_moved(v, raw[1][k], 4 * span + s, 2));
        }
        out
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q3_k::BYTES }>) -> Scales<V> {
        // The last 16 bytes of the block: two of codes, twelve of scales, d.
        let words = columns_16(v, blocks, q3_k::SCALES - 2);
        let mut out = Scales::one(v, v.f16(v.srl_32(words[3], 16)));
        for w in 0..3 {
            out.words[w] = v.or(v.srl_32(words[w], 16), v.sll_32(words[w + 1], 16));
        }
        out
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        let (low, high) = (scales.words[j % 8 / 4], scales.words[2]);
        let int = six_bits(v, low, 8 * (j % 4) + 4 * (j / 8), high, 8 * (j % 4) + 2 * (j / 4));
        v.mul(scales.d, v.to_floats(v.sub_32(int, v.splat_32(32))))
    }
}
