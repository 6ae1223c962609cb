//! IQ2_XXS, IQ2_XS and IQ2_S: eight magnitudes to a pattern, from {8, 25, 43}.

use shoal_quant::{iq2_s, iq2_xs, iq2_xxs};

use super::packed_patterns::{
    Bytes256, Indices, Packed, Patterns, SignedCodes, bytes_of_fours, packed, signed_codes,
};
use super::patterns::{
    Eights, eights, eights_as_words, even_signs, first_f16_times, part, scale_and_half, two_groups,
    two_signed, with_even_parity, words_of_span,
};
use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Columns, Vector, columns_16};

/// What is added to codes: more than the largest magnitude, as a power of two.
const OFFSET_LOG2: u32 = 6;

static SIGNED_CODES: SignedCodes = signed_codes(&iq2_xxs::MAGNITUDES, OFFSET_LOG2);

pub(crate) struct Iq2Xxs;

static IQ2_XXS_GRID: [u64; 256] = eights_as_words(&iq2_xxs::GRID, 1, 0);

static IQ2_XXS_PACKED: Packed<1> = packed(&iq2_xxs::GRID, &iq2_xxs::MAGNITUDES);

/// Where group `group` of a block of IQ2_XXS begins: four indices and a word.
const fn group_at(group: usize) -> usize {
    2 + 8 * group
}

impl Eights<{ iq2_xxs::BYTES }> for Iq2Xxs {
    #[inline(always)]
    fn patterns(block: &[u8; iq2_xxs::BYTES], group: usize) -> [u64; 4] {
        part::<4>(block, group_at(group)).map(|index| IQ2_XXS_GRID[usize::from(index)])
    }
}

impl Patterns<{ iq2_xxs::BYTES }> for Iq2Xxs {
    const LEN: usize = 8;
    const OFFSET_LOG2: u32 = OFFSET_LOG2;
    const PACKED: [&'static [Bytes256]; 2] = [&IQ2_XXS_PACKED[0], &IQ2_XXS_PACKED[1]];
    const SIGNED_CODES: &'static SignedCodes = &SIGNED_CODES;

    #[inline(always)]
    fn indices<V: Vector>(
        v: V,
        _tables: V::Tables,
        blocks: &Blocks<'_, V, { iq2_xxs::BYTES }>,
        group: usize,
        _word: usize,
    ) -> Indices<V> {
        let [first, _, second, _] = columns_16(v, blocks, group_at(group & !1));
        Indices::of_bytes(v, if group.is_multiple_of(2) { first } else { second })
    }
    #[inline(always)]
    fn fetched<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xxs::BYTES }>, group: usize) -> Columns<V> {
        eights::<V, Self, _>(v, blocks, group)
    }
}

impl Stored<{ iq2_xxs::BYTES }> for Iq2Xxs {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xxs::BYTES }>, span: usize) -> Raw<V> {
        let [_, first, _, second] = columns_16(v, blocks, group_at(2 * span));
        two_groups::<V, Self, _>(v, blocks, span, [even_signs(v, first), even_signs(v, second)])
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        two_signed::<V, Self, _>(v, raw, k)
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xxs::BYTES }>) -> Scales<V> {
        // The last four bits of each of eight groups, in one word.
        let mut out = first_f16_times(v, blocks, 0.25);
        for pair in 0..4 {
            let [_, first, _, second] = columns_16(v, blocks, group_at(2 * pair));
            let two = v.or(v.srl_32(first, 28), v.sll_32(v.srl_32(second, 28), 4));
            out.words[0] = v.or(out.words[0], v.sll_32(two, 8 * pair));
        }
        out
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        scale_and_half(v, scales, scales.words[0], 4 * j, 4)
    }
}

pub(crate) struct Iq2Xs;

static IQ2_XS_GRID: [u64; 512] = eights_as_words(&iq2_xs::GRID, 1, 0);

static IQ2_XS_PACKED: Packed<2> = packed(&iq2_xs::GRID, &iq2_xxs::MAGNITUDES);

impl Eights<{ iq2_xs::BYTES }> for Iq2Xs {
    #[inline(always)]
    fn patterns(block: &[u8; iq2_xs::BYTES], group: usize) -> [u64; 4] {
        let four = u64::from_le_bytes(*part(block, iq2_xs::QS + 8 * group));
        [0, 16, 32, 48].map(|at| IQ2_XS_GRID[(four >> at) as usize & 511])
    }
}

/// The signs of two words with twice nine bits of index and seven of signs each, seven to a byte for [`with_even_parity`].
#[inline(always)]
fn upper_sevens<V: Vector>(v: V, low: V::Ints, high: V::Ints) -> V::Ints {
    if let Some(tables) = v.tables() {
        // The bit below them is that of the index, which is wanted as well.
        return v.srl_16(bytes_of_fours(v, tables, low, high, 8), 1);
    }
    let from_low =
        v.or(v.and(v.srl_32(low, 9), v.splat_32(0x7F)), v.and(v.srl_32(low, 17), v.splat_32(0x7F00)));
    let from_high = v.or(
        v.and(v.sll_32(high, 7), v.splat_32(0x7F_0000)),
        v.and(v.srl_32(high, 1), v.splat_32(0x7F00_0000)),
    );
    v.or(from_low, from_high)
}

impl Patterns<{ iq2_xs::BYTES }> for Iq2Xs {
    const LEN: usize = 8;
    const OFFSET_LOG2: u32 = OFFSET_LOG2;
    const PACKED: [&'static [Bytes256]; 2] = [&IQ2_XS_PACKED[0], &IQ2_XS_PACKED[1]];
    const SIGNED_CODES: &'static SignedCodes = &SIGNED_CODES;

    #[inline(always)]
    fn indices<V: Vector>(
        v: V,
        tables: V::Tables,
        blocks: &Blocks<'_, V, { iq2_xs::BYTES }>,
        group: usize,
        _word: usize,
    ) -> Indices<V> {
        let [a, b, c, d] = columns_16(v, blocks, iq2_xs::QS + 8 * (group & !1));
        let [low, high] = if group.is_multiple_of(2) { [a, b] } else { [c, d] };
        Indices {
            low: bytes_of_fours(v, tables, low, high, 0),
            above: bytes_of_fours(v, tables, low, high, 8),
            own: [v.splat_8(1); 2],
        }
    }
    #[inline(always)]
    fn fetched<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xs::BYTES }>, group: usize) -> Columns<V> {
        eights::<V, Self, _>(v, blocks, group)
    }
}

impl Stored<{ iq2_xs::BYTES }> for Iq2Xs {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 16;
    const CODES: Codes = Codes::Offset(OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xs::BYTES }>, span: usize) -> Raw<V> {
        let [a, b, c, d] = columns_16(v, blocks, iq2_xs::QS + 16 * span);
        let first = with_even_parity(v, upper_sevens(v, a, b));
        let second = with_even_parity(v, upper_sevens(v, c, d));
        two_groups::<V, Self, _>(v, blocks, span, [first, second])
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        two_signed::<V, Self, _>(v, raw, k)
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xs::BYTES }>) -> Scales<V> {
        sixteen_nibbles(v, blocks, iq2_xs::SCALES)
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        scale_and_half(v, scales, scales.words[j / 8], 4 * (j % 8), 4)
    }
}

/// A quarter of the first f16, and 16 nibbles at `at`.
#[inline(always)]
fn sixteen_nibbles<V: Vector, const B: usize>(v: V, blocks: &Blocks<'_, V, B>, at: usize) -> Scales<V> {
    let mut out = first_f16_times(v, blocks, 0.25);
    // The last eight bytes of both formats, of which sixteen are brought in at once.
    let [_, _, first, second] = columns_16(v, blocks, at - 8);
    [out.words[0], out.words[1]] = [first, second];
    out
}

pub(crate) struct Iq2S;

static IQ2_S_GRID: [u64; 1024] = eights_as_words(&iq2_s::GRID, 1, 0);

static IQ2_S_PACKED: Packed<4> = packed(&iq2_s::GRID, &iq2_xxs::MAGNITUDES);

impl Eights<{ iq2_s::BYTES }> for Iq2S {
    #[inline(always)]
    fn patterns(block: &[u8; iq2_s::BYTES], group: usize) -> [u64; 4] {
        let low = part::<4>(block, iq2_s::QS + 4 * group);
        let high = usize::from(block[iq2_s::QH + group]);
        [0, 1, 2, 3].map(|i| IQ2_S_GRID[usize::from(low[i]) | (high >> (2 * i) & 3) << 8])
    }
}

impl Patterns<{ iq2_s::BYTES }> for Iq2S {
    const LEN: usize = 8;
    const OFFSET_LOG2: u32 = OFFSET_LOG2;
    const PACKED: [&'static [Bytes256]; 2] = [&IQ2_S_PACKED[0], &IQ2_S_PACKED[1]];
    const SIGNED_CODES: &'static SignedCodes = &SIGNED_CODES;

    #[inline(always)]
    fn indices<V: Vector>(
        v: V,
        _tables: V::Tables,
        blocks: &Blocks<'_, V, { iq2_s::BYTES }>,
        group: usize,
        _word: usize,
    ) -> Indices<V> {
        let [first, second, ..] = columns_16(v, blocks, iq2_s::QH);
        let high = if group < 4 { first } else { second };
        Indices {
            low: words_of_span(v, blocks, iq2_s::QS, group / 2)[group % 2],
            above: v.spread_byte(high, group % 4),
            own: [v.splat_32(0x4010_0401), v.splat_32(0x8020_0802_u32 as i32)],
        }
    }
    #[inline(always)]
    fn fetched<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_s::BYTES }>, group: usize) -> Columns<V> {
        eights::<V, Self, _>(v, blocks, group)
    }
}

impl Stored<{ iq2_s::BYTES }> for Iq2S {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 16;
    const CODES: Codes = Codes::Offset(OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_s::BYTES }>, span: usize) -> Raw<V> {
        two_groups::<V, Self, _>(v, blocks, span, words_of_span(v, blocks, iq2_s::SIGNS, span))
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        two_signed::<V, Self, _>(v, raw, k)
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_s::BYTES }>) -> Scales<V> {
        sixteen_nibbles(v, blocks, iq2_s::SCALES)
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        scale_and_half(v, scales, scales.words[j / 8], 4 * (j % 8), 4)
    }
}
