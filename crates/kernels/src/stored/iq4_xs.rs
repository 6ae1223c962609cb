//! IQ4_XS: nibbles through the table of IQ4_NL, in super-blocks.

use shoal_quant::{iq4_nl, iq4_xs};

use super::blocks_32::{nibbles, raw_nibbles};
use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Vector};

pub(crate) struct Iq4Xs;

impl Stored<{ iq4_xs::BYTES }> for Iq4Xs {
    const GROUPS: usize = 8;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Signed;

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq4_xs::BYTES }>, span: usize) -> Raw<V> {
        raw_nibbles(v, blocks, iq4_xs::QS + 16 * span)
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        let codes = v.bias_signed(v.lookup(&iq4_nl::VALUES, nibbles(v, raw, k)));
        [codes, v.zero(), v.zero(), v.zero()]
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq4_xs::BYTES }>) -> Scales<V> {
        let mut out = Scales::one(v, v.f16(v.words(blocks, 0)));
        [out.words[0], out.words[1]] = [v.words(blocks, iq4_xs::SCALES_L), v.words(blocks, 0)];
        out
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        let [low, high, ..] = scales.words;
        let four = v.and(v.srl_32(low, 4 * j), v.splat_32(15));
        let two = v.and(v.srl_32(high, 16 + 2 * j), v.splat_32(3));
        let int = v.sub_32(v.or(four, v.sll_32(two, 4)), v.splat_32(32));
        v.mul(scales.d, v.to_floats(int))
    }
}
