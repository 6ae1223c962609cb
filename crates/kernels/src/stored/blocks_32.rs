//! Formats of 32 weights under one scale.

use shoal_quant::{iq4_nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0};

use super::{Codes, FourCodes, Raw, Scales, Stored, where_own_bit};
use crate::lanes::{Blocks, Vector, columns, columns_16};

/// The 16 bytes at `at`, which hold 32 nibbles.
#[inline(always)]
pub(super) fn raw_nibbles<V: Vector, const B: usize>(v: V, blocks: &Blocks<'_, V, B>, at: usize) -> Raw<V> {
    let [a, b, c, d] = columns_16(v, blocks, at);
    let zero = v.zero();
    [[a, b, c, d, zero, zero, zero, zero], [zero; 8], [zero; 8]]
}

/// Nibbles 4k..4k + 4 of 16 bytes, of which the low ones come first.
#[inline(always)]
pub(super) fn nibbles<V: Vector>(v: V, raw: &Raw<V>, k: usize) -> V::Ints {
    v.and(v.srl_16(raw[0][k % 4], 4 * (k / 4)), v.splat_8(15))
}

/// The same with bit l of the word at `bits_at` as the fifth bit of code l.
#[inline(always)]
fn raw_five_bits<V: Vector, const B: usize>(
    v: V,
    blocks: &Blocks<'_, V, B>,
    at: usize,
    bits_at: usize,
) -> Raw<V> {
    let mut raw = raw_nibbles(v, blocks, at);
    raw[1][0] = v.words(blocks, bits_at);
    raw
}

#[inline(always)]
fn five_bits<V: Vector>(v: V, raw: &Raw<V>, k: usize) -> V::Ints {
    v.or(nibbles(v, raw, k), where_own_bit(v, raw[1][0], k, 16))
}

/// One group, the rest of the span unused.
#[inline(always)]
fn one<V: Vector>(v: V, codes: V::Ints) -> FourCodes<V> {
    [codes, v.zero(), v.zero(), v.zero()]
}

/// The f16 that every block begins with.
#[inline(always)]
fn first_f16<V: Vector, const B: usize>(v: V, blocks: &Blocks<'_, V, B>) -> Scales<V> {
    Scales::one(v, v.f16(v.words(blocks, 0)))
}

/// Scale and offset, both f16, at the beginning of every block.
#[inline(always)]
fn scale_and_offset<V: Vector, const B: usize>(v: V, blocks: &Blocks<'_, V, B>) -> Scales<V> {
    let both = v.words(blocks, 0);
    // The minimum is what is taken off: the offset with its sign flipped.
    let dmin = v.f16(v.xor(v.srl_32(both, 16), v.splat_32(0x8000)));
    Scales { dmin, ..Scales::one(v, v.f16(both)) }
}

pub(crate) struct Q4_0;

impl Stored<{ q4_0::BYTES }> for Q4_0 {
    const GROUPS: usize = 1;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(3);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q4_0::BYTES }>, _span: usize) -> Raw<V> {
        raw_nibbles(v, blocks, q4_0::QS)
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        one(v, nibbles(v, raw, k))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q4_0::BYTES }>) -> Scales<V> {
        first_f16(v, blocks)
    }
}

pub(crate) struct Q4_1;

impl Stored<{ q4_1::BYTES }> for Q4_1 {
    const GROUPS: usize = 1;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::WithMins;

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q4_1::BYTES }>, _span: usize) -> Raw<V> {
        raw_nibbles(v, blocks, q4_1::QS)
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        one(v, nibbles(v, raw, k))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q4_1::BYTES }>) -> Scales<V> {
        scale_and_offset(v, blocks)
    }
}

pub(crate) struct Q5_0;

impl Stored<{ q5_0::BYTES }> for Q5_0 {
    const GROUPS: usize = 1;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(4);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q5_0::BYTES }>, _span: usize) -> Raw<V> {
        raw_five_bits(v, blocks, q5_0::QS, q5_0::QH)
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        one(v, five_bits(v, raw, k))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q5_0::BYTES }>) -> Scales<V> {
        first_f16(v, blocks)
    }
}

pub(crate) struct Q5_1;

impl Stored<{ q5_1::BYTES }> for Q5_1 {
    const GROUPS: usize = 1;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::WithMins;

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q5_1::BYTES }>, _span: usize) -> Raw<V> {
        raw_five_bits(v, blocks, q5_1::QS, q5_1::QH)
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        one(v, five_bits(v, raw, k))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q5_1::BYTES }>) -> Scales<V> {
        scale_and_offset(v, blocks)
    }
}

pub(crate) struct Q8_0;

impl Stored<{ q8_0::BYTES }> for Q8_0 {
    const GROUPS: usize = 1;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Signed;

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { q8_0::BYTES }>, _span: usize) -> Raw<V> {
        let unused = [v.zero(); 8];
        [columns(v, blocks, q8_0::QS), unused, unused]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        one(v, v.bias_signed(raw[0][k]))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { q8_0::BYTES }>) -> Scales<V> {
        first_f16(v, blocks)
    }
}

pub(crate) struct Iq4Nl;

impl Stored<{ iq4_nl::BYTES }> for Iq4Nl {
    const GROUPS: usize = 1;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Signed;

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq4_nl::BYTES }>, _span: usize) -> Raw<V> {
        raw_nibbles(v, blocks, iq4_nl::QS)
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        one(v, v.bias_signed(v.lookup(&iq4_nl::VALUES, nibbles(v, raw, k))))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq4_nl::BYTES }>) -> Scales<V> {
        first_f16(v, blocks)
    }
}

pub(crate) struct Mxfp4;

/// What each nibble of e2m1 stands for, doubled, with 16 added.
pub(super) const E2M1_CODES: [i8; 16] = {
    let mut codes = mxfp4::VALUES_DOUBLED;
    let mut i = 0;
    while i < codes.len() {
        codes[i] += 16;
        i += 1;
    }
    codes
};

impl Stored<{ mxfp4::BYTES }> for Mxfp4 {
    const GROUPS: usize = 1;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(4);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { mxfp4::BYTES }>, _span: usize) -> Raw<V> {
        raw_nibbles(v, blocks, mxfp4::QS)
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        one(v, v.lookup(&E2M1_CODES, nibbles(v, raw, k)))
    }
    /// `2^(e - 128)` as the product of two powers that are normal numbers; the product is exact, subnormal or not.
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { mxfp4::BYTES }>) -> Scales<V> {
        let exponent = v.and(v.words(blocks, 0), v.splat_32(255));
        let low = v.srl_32(exponent, 1);
        Scales::one(v, v.mul(power_of_two(v, low), power_of_two(v, v.sub_32(exponent, low))))
    }
}

/// `2^(n - 64)`.
#[inline(always)]
fn power_of_two<V: Vector>(v: V, n: V::Ints) -> V::Floats {
    v.as_floats(v.sll_32(v.add_32(n, v.splat_32(63)), 23))
}
