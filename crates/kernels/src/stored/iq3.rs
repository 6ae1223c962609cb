//! IQ3_XXS and IQ3_S: four magnitudes to a pattern.

use shoal_quant::{iq3_s, iq3_xxs};

use super::patterns::{
    Patterned, even_signs, first_f16_times, part, scale_and_half, two_groups, two_signed, words,
};
use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Vector, columns_16};

pub(crate) struct Iq3Xxs;

static IQ3_XXS_GRID: [u64; 256] = words(&iq3_xxs::GRID, 1, 0);

/// What is added to codes of IQ3_XXS, whose magnitudes are up to 62.
const IQ3_XXS_OFFSET_LOG2: u32 = 6;

impl Patterned<{ iq3_xxs::BYTES }> for Iq3Xxs {
    #[inline(always)]
    fn patterns(block: &[u8; iq3_xxs::BYTES], group: usize) -> [u64; 4] {
        let eight = part::<8>(block, iq3_xxs::QS + 8 * group).map(|index| IQ3_XXS_GRID[usize::from(index)]);
        [0, 2, 4, 6].map(|i| eight[i] | eight[i + 1] << 32)
    }
}

impl Stored<{ iq3_xxs::BYTES }> for Iq3Xxs {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(IQ3_XXS_OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq3_xxs::BYTES }>, span: usize) -> Raw<V> {
        let at = iq3_xxs::WORDS + 8 * span;
        let [first, second] = [v.words(blocks, at), v.words(blocks, at + 4)];
        two_groups::<V, Self, _>(v, blocks, span, [even_signs(v, first), even_signs(v, second)])
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        two_signed(v, raw, k, IQ3_XXS_OFFSET_LOG2)
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

static IQ3_S_GRID: [u64; 512] = words(&iq3_s::GRID, 1, 0);

/// What is added to codes of IQ3_S, whose magnitudes are up to 15.
const IQ3_S_OFFSET_LOG2: u32 = 4;

impl Patterned<{ iq3_s::BYTES }> for Iq3S {
    #[inline(always)]
    fn patterns(block: &[u8; iq3_s::BYTES], group: usize) -> [u64; 4] {
        let low = part::<8>(block, iq3_s::QS + 8 * group);
        let ninth = usize::from(block[iq3_s::QH + group]);
        let eight = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| IQ3_S_GRID[usize::from(low[i]) | (ninth >> i & 1) << 8]);
        [0, 2, 4, 6].map(|i| eight[i] | eight[i + 1] << 32)
    }
}

impl Stored<{ iq3_s::BYTES }> for Iq3S {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(IQ3_S_OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq3_s::BYTES }>, span: usize) -> Raw<V> {
        let at = iq3_s::SIGNS + 8 * span;
        two_groups::<V, Self, _>(v, blocks, span, [v.words(blocks, at), v.words(blocks, at + 4)])
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        two_signed(v, raw, k, IQ3_S_OFFSET_LOG2)
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
