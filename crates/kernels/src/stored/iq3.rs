//! IQ3_XXS and IQ3_S: four magnitudes to a pattern.

use shoal_quant::{iq3_s, iq3_xxs};

use super::patterns::{
    Fours, even_signs, first_f16_times, fours, fours_as_words, part, scale_and_half, two_signed, two_words,
};
use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Vector, columns_16};

pub(crate) struct Iq3Xxs;

static IQ3_XXS_GRID: [u32; 256] = fours_as_words(&iq3_xxs::GRID);

/// What is added to codes of IQ3_XXS, whose magnitudes are up to 62.
const IQ3_XXS_OFFSET_LOG2: u32 = 6;

impl Fours<{ iq3_xxs::BYTES }> for Iq3Xxs {
    #[inline(always)]
    fn patterns(block: &[u8; iq3_xxs::BYTES], group: usize) -> [u32; 8] {
        part::<8>(block, iq3_xxs::QS + 8 * group).map(|index| IQ3_XXS_GRID[usize::from(index)])
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
        let signs = two_words(v, even_signs(v, first), even_signs(v, second));
        [fours::<V, Self, _>(v, blocks, 2 * span), fours::<V, Self, _>(v, blocks, 2 * span + 1), signs]
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

static IQ3_S_GRID: [u32; 512] = fours_as_words(&iq3_s::GRID);

/// What is added to codes of IQ3_S, whose magnitudes are up to 15.
const IQ3_S_OFFSET_LOG2: u32 = 4;

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

impl Stored<{ iq3_s::BYTES }> for Iq3S {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(IQ3_S_OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq3_s::BYTES }>, span: usize) -> Raw<V> {
        let at = iq3_s::SIGNS + 8 * span;
        let signs = two_words(v, v.words(blocks, at), v.words(blocks, at + 4));
        [fours::<V, Self, _>(v, blocks, 2 * span), fours::<V, Self, _>(v, blocks, 2 * span + 1), signs]
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
