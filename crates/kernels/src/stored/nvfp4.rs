//! NVFP4: nibbles as in MXFP4, 16 under one 8-bit floating-point scale.

use shoal_quant::nvfp4;

use super::blocks_32::E2M1_CODES;
use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Vector, columns};

pub(crate) struct Nvfp4;

impl Stored<{ nvfp4::BYTES }> for Nvfp4 {
    const GROUPS: usize = 2;
    const SPAN: usize = 2;
    const SUB: usize = 16;
    const CODES: Codes = Codes::Offset(4);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { nvfp4::BYTES }>, _span: usize) -> Raw<V> {
        let unused = [v.zero(); 8];
        [columns(v, blocks, nvfp4::QS), unused, unused]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        // A sub-block is eight bytes: their low nibbles, then their high ones.
        let (word, shift) = (2 * (k / 4) + k % 2, 4 * (k / 2 % 2));
        let mut out = [v.zero(); 4];
        for s in 0..2 {
            let nibbles = v.and(v.srl_16(raw[0][4 * s + word], shift), v.splat_8(15));
            out[s] = v.lookup(&E2M1_CODES, nibbles);
        }
        out
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { nvfp4::BYTES }>) -> Scales<V> {
        // 0x7F, which would be NaN, counts as 0.
        let bytes = v.words(blocks, 0);
        let is_number = v.where_bits(v.xor(bytes, v.splat_8(0x7F)), v.splat_8(255), 255);
        let mut out = Scales::one(v, v.splat_f(128.0));
        out.words[0] = v.and(bytes, is_number);
        out
    }
    /// Half of the stored number: its bits as those of an f16, times 2^7 (see `shoal_quant::nvfp4`).
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        let scale = v.and(v.srl_32(scales.words[0], 8 * j), v.splat_32(0x7F));
        v.mul(scales.d, v.f16(v.sll_32(scale, 7)))
    }
}
