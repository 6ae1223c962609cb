//! Formats of 32 weights under one scale.

use shoal_quant::{iq4_nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0};

use super::{Codes, Scales, Span, Stored};
use crate::lanes::{Blocks, Columns, Vector, columns, columns_16};

/// The 32 nibbles of the 16 bytes at `at`, the low ones first.
#[inline(always)]
pub(super) fn nibbles<V: Vector, const B: usize>(v: V, blocks: &Blocks<'_, B>, at: usize) -> Columns<V> {
    let bytes = columns_16(v, blocks, at);
    let mut out = [v.zero(); 8];
    for k in 0..4 {
        out[k] = v.and(bytes[k], v.splat_8(15));
        out[k + 4] = v.and(v.srl_16(bytes[k], 4), v.splat_8(15));
    }
    out
}

/// The entry of `table` for each code.
#[inline(always)]
pub(super) fn lookup<V: Vector>(v: V, table: &[i8; 16], mut codes: Columns<V>) -> Columns<V> {
    for k in 0..8 {
        codes[k] = v.lookup(table, codes[k]);
    }
    codes
}

/// Signed codes as `dot_biased` takes them.
#[inline(always)]
pub(super) fn bias_signed<V: Vector>(v: V, mut codes: Columns<V>) -> Columns<V> {
    for k in 0..8 {
        codes[k] = v.bias_signed(codes[k]);
    }
    codes
}

/// Nibbles with bit l of the word at `at` as the fifth bit of code l.
#[inline(always)]
fn with_fifth_bits<V: Vector, const B: usize>(
    v: V,
    mut codes: Columns<V>,
    blocks: &Blocks<'_, B>,
    at: usize,
) -> Columns<V> {
    let bits = v.words(blocks, at);
    for k in 0..8 {
        // Codes 4k..4k + 4 have four bits of byte k / 2.
        let own_bits = v.splat_32(if k % 2 == 0 { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
        codes[k] = v.or(codes[k], v.where_bits(v.spread_byte(bits, k / 2), own_bits, 16));
    }
    codes
}

/// One group, the rest of the span unused.
#[inline(always)]
fn one<V: Vector>(v: V, codes: Columns<V>) -> Span<V> {
    let unused = [v.zero(); 8];
    [codes, unused, unused, unused]
}

/// The f16 that every block begins with.
#[inline(always)]
fn first_f16<V: Vector, const B: usize>(v: V, blocks: &Blocks<'_, B>) -> Scales<V> {
    Scales::one(v, v.f16(v.words(blocks, 0)))
}

/// Scale and offset, both f16, at the beginning of every block.
#[inline(always)]
fn scale_and_offset<V: Vector, const B: usize>(v: V, blocks: &Blocks<'_, B>) -> Scales<V> {
    let both = v.words(blocks, 0);
    let mut out = Scales::one(v, v.f16(both));
    // The minimum is what is taken off: the offset with its sign flipped.
    out.mins[0] = v.f16(v.xor(v.srl_32(both, 16), v.splat_32(0x8000)));
    out
}

pub(crate) struct Q4_0;

impl Stored<{ q4_0::BYTES }> for Q4_0 {
    const GROUPS: usize = 1;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(3);

    #[inline(always)]
    fn codes<V: Vector>(v: V, blocks: &Blocks<'_, { q4_0::BYTES }>, _span: usize) -> Span<V> {
        one(v, nibbles(v, blocks, q4_0::QS))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, { q4_0::BYTES }>) -> Scales<V> {
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
    fn codes<V: Vector>(v: V, blocks: &Blocks<'_, { q4_1::BYTES }>, _span: usize) -> Span<V> {
        one(v, nibbles(v, blocks, q4_1::QS))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, { q4_1::BYTES }>) -> Scales<V> {
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
    fn codes<V: Vector>(v: V, blocks: &Blocks<'_, { q5_0::BYTES }>, _span: usize) -> Span<V> {
        one(v, with_fifth_bits(v, nibbles(v, blocks, q5_0::QS), blocks, q5_0::QH))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, { q5_0::BYTES }>) -> Scales<V> {
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
    fn codes<V: Vector>(v: V, blocks: &Blocks<'_, { q5_1::BYTES }>, _span: usize) -> Span<V> {
        one(v, with_fifth_bits(v, nibbles(v, blocks, q5_1::QS), blocks, q5_1::QH))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, { q5_1::BYTES }>) -> Scales<V> {
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
    fn codes<V: Vector>(v: V, blocks: &Blocks<'_, { q8_0::BYTES }>, _span: usize) -> Span<V> {
        one(v, bias_signed(v, columns(v, blocks, q8_0::QS)))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, { q8_0::BYTES }>) -> Scales<V> {
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
    fn codes<V: Vector>(v: V, blocks: &Blocks<'_, { iq4_nl::BYTES }>, _span: usize) -> Span<V> {
        one(v, bias_signed(v, lookup(v, &iq4_nl::VALUES, nibbles(v, blocks, iq4_nl::QS))))
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, { iq4_nl::BYTES }>) -> Scales<V> {
        first_f16(v, blocks)
    }
}

pub(crate) struct Mxfp4;

/// What each nibble stands for, doubled, with 16 added.
const MXFP4_CODES: [i8; 16] = {
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
    fn codes<V: Vector>(v: V, blocks: &Blocks<'_, { mxfp4::BYTES }>, _span: usize) -> Span<V> {
        one(v, lookup(v, &MXFP4_CODES, nibbles(v, blocks, mxfp4::QS)))
    }
    /// `2^(e - 128)` as the product of two powers that are normal numbers; the product is exact, subnormal or not.
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, { mxfp4::BYTES }>) -> Scales<V> {
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
