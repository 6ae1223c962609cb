//! IQ3_XXS and IQ3_S: four magnitudes to a pattern.

use shoal_quant::{iq3_s, iq3_xxs};

use super::packed_patterns::{Bytes256, Indices, Packed, Patterns, SignedCodes, packed, signed_codes};
use super::patterns::{
    Fours, even_signs, first_f16_times, fours, fours_as_words, part, scale_and_half, two_groups, two_signed,
    words_of_span,
};
use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Columns, Vector, columns_16};

pub(crate) struct Iq3Xxs;

static IQ3_XXS_GRID: [u32; 256] = fours_as_words(&iq3_xxs::GRID);

/// What is added to codes of IQ3_XXS, whose magnitudes are up to 62.
const IQ3_XXS_OFFSET_LOG2: u32 = 6;

static IQ3_XXS_PACKED: Packed<1> = packed(&iq3_xxs::GRID, &iq3_xxs::MAGNITUDES);

static IQ3_XXS_SIGNED_CODES: SignedCodes = signed_codes(&iq3_xxs::MAGNITUDES, IQ3_XXS_OFFSET_LOG2);

impl Fours<{ iq3_xxs::BYTES }> for Iq3Xxs {
    #[inline(always)]
    fn patterns(block: &[u8; iq3_xxs::BYTES], group: usize) -> [u32; 8] {
        part::<8>(block, iq3_xxs::QS + 8 * group).map(|index| IQ3_XXS_GRID[usize::from(index)])
    }
}

impl Patterns<{ iq3_xxs::BYTES }> for Iq3Xxs {
    const LEN: usize = 4;
    const OFFSET_LOG2: u32 = IQ3_XXS_OFFSET_LOG2;
    const PACKED: [&'static [Bytes256]; 2] = [&IQ3_XXS_PACKED[0], &IQ3_XXS_PACKED[1]];
    const SIGNED_CODES: &'static SignedCodes = &IQ3_XXS_SIGNED_CODES;

    #[inline(always)]
    fn indices<V: Vector>(
        v: V,
        _tables: V::Tables,
        blocks: &Blocks<'_, V, { iq3_xxs::BYTES }>,
        group: usize,
        word: usize,
    ) -> Indices<V> {
        let words = columns_16(v, blocks, iq3_xxs::QS + 8 * (group & !1));
        Indices::of_bytes(v, words[2 * (group % 2) + word])
    }
    #[inline(always)]
    fn fetched<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq3_xxs::BYTES }>, group: usize) -> Columns<V> {
        fours::<V, Self, _>(v, blocks, group)
    }
}

impl Stored<{ iq3_xxs::BYTES }> for Iq3Xxs {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(IQ3_XXS_OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq3_xxs::BYTES }>, span: usize) -> Raw<V> {
        let [first, second] = words_of_span(v, blocks, iq3_xxs::WORDS, span);
        two_groups::<V, Self, _>(v, blocks, span, [even_signs(v, first), even_signs(v, second)])
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        two_signed::<V, Self, _>(v, raw, k)
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq3_xxs::BYTES }>) -> Scales<V> {
        // The last four bits of each of eight words, in one word.
        let mut out = first_f16_times(v, blocks, 0.5);
        for half in 0..2 {
            let words = columns_16(v, blocks, iq3_xxs::WORDS + 16 * half);
            for i in 0..4 {
                let nibble = v.sll_32(v.srl_32(words[i], 28), 16 * half + 4 * i);
                out.words[0] = v.or(out.words[0], nibble);
            }
        }
        out
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        scale_and_half(v, scales, scales.words[0], 4 * j, 4)
    }
}

pub(crate) struct Iq3S;

static IQ3_S_GRID: [u32; 512] = fours_as_words(&iq3_s::GRID);

/// What is added to codes of IQ3_S, whose magnitudes are up to 15.
const IQ3_S_OFFSET_LOG2: u32 = 4;

static IQ3_S_PACKED: Packed<2> = packed(&iq3_s::GRID, &iq3_s::MAGNITUDES);

static IQ3_S_SIGNED_CODES: SignedCodes = signed_codes(&iq3_s::MAGNITUDES, IQ3_S_OFFSET_LOG2);

impl Fours<{ iq3_s::BYTES }> for Iq3S {
    #[inline(always)]
    fn patterns(block: &[u8; iq3_s::BYTES], group: usize) -> [u32; 8] {
        let low = part::<8>(block, iq3_s::QS + 8 * group);
        let ninth = usize::from(block[iq3_s::QH + group]);
        let mut out = [0; 8];
        for i in 0..8 {
            out[i] = IQ3_S_GRID[usize::from(low[i]) | (ninth >> i & 1) << 8];
        }
        out
    }
}

impl Patterns<{ iq3_s::BYTES }> for Iq3S {
    const LEN: usize = 4;
    const OFFSET_LOG2: u32 = IQ3_S_OFFSET_LOG2;
    const PACKED: [&'static [Bytes256]; 2] = [&IQ3_S_PACKED[0], &IQ3_S_PACKED[1]];
    const SIGNED_CODES: &'static SignedCodes = &IQ3_S_SIGNED_CODES;

    #[inline(always)]
    fn indices<V: Vector>(
        v: V,
        _tables: V::Tables,
        blocks: &Blocks<'_, V, { iq3_s::BYTES }>,
        group: usize,
        word: usize,
    ) -> Indices<V> {
        let words = columns_16(v, blocks, iq3_s::QS + 8 * (group & !1));
        let ninths = v.words(blocks, iq3_s::QH + 4 * (group / 4));
        let own = v.splat_32(if word == 0 { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
        Indices { low: words[2 * (group % 2) + word], above: v.spread_byte(ninths, group % 4), own: [own; 2] }
    }
    #[inline(always)]
    fn fetched<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq3_s::BYTES }>, group: usize) -> Columns<V> {
        fours::<V, Self, _>(v, blocks, group)
    }
}

impl Stored<{ iq3_s::BYTES }> for Iq3S {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(IQ3_S_OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq3_s::BYTES }>, span: usize) -> Raw<V> {
        two_groups::<V, Self, _>(v, blocks, span, words_of_span(v, blocks, iq3_s::SIGNS, span))
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        two_signed::<V, Self, _>(v, raw, k)
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq3_s::BYTES }>) -> Scales<V> {
        let mut out = first_f16_times(v, blocks, 2.0);
        out.words[0] = v.words(blocks, iq3_s::SCALES);
        out
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        scale_and_half(v, scales, scales.words[0], 4 * j, 4)
    }
}
