//! Formats that go through tables: IQ2_XXS and IQ4_XS.

use shoal_quant::{iq2_xxs, iq4_nl, iq4_xs};

use super::blocks_32::{nibbles, raw_nibbles};
use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Vector, by_column, columns_16};

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

/// Groups of eight magnitudes, each a word of eight bytes.
static GRID: [u64; 256] = {
    let mut words = [0; 256];
    let mut i = 0;
    while i < words.len() {
        let mut j = 0;
        while j < 8 {
            words[i] |= (iq2_xxs::GRID[i][j] as u64) << (8 * j);
            j += 1;
        }
        i += 1;
    }
    words
};

/// For seven sign bits, completed to eight, all ones in the bytes that are negative.
static MINUS: [u64; 128] = {
    let mut words = [0; 128];
    let mut i = 0;
    while i < words.len() {
        let signs = iq2_xxs::with_even_parity(i as u8);
        let mut j = 0;
        while j < 8 {
            if (signs >> j) & 1 == 1 {
                words[i] |= 0xFF << (8 * j);
            }
            j += 1;
        }
        i += 1;
    }
    words
};

pub(crate) struct Iq2Xxs;

/// Where group `group` of a block begins.
const fn group_at(group: usize) -> usize {
    2 + 8 * group
}

/// The magnitudes of a group and which of them are negative.
#[inline(always)]
fn magnitudes_and_signs(group: &[u8; 8]) -> [[u64; 4]; 2] {
    let word = u64::from_le_bytes(*group) >> 32;
    let (mut magnitudes, mut minus) = ([0; 4], [0; 4]);
    for i in 0..4 {
        magnitudes[i] = GRID[usize::from(group[i])];
        minus[i] = MINUS[(word >> (7 * i)) as usize & 127];
    }
    [magnitudes, minus]
}

impl Stored<{ iq2_xxs::BYTES }> for Iq2Xxs {
    const GROUPS: usize = 8;
    const SPAN: usize = 1;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(6);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xxs::BYTES }>, span: usize) -> Raw<V> {
        let mut rows = [v.zero(); 8];
        for i in 0..8 {
            let [a, b] = V::pair(i);
            let [magnitudes_a, minus_a] = magnitudes_and_signs(blocks.part(a, group_at(span)));
            let [magnitudes_b, minus_b] =
                if V::ROWS > 8 { magnitudes_and_signs(blocks.part(b, group_at(span))) } else { [[0; 4]; 2] };
            let minus = v.rows_8_by_4([minus_a, minus_b]);
            let signed = v.sub_8(v.xor(v.rows_8_by_4([magnitudes_a, magnitudes_b]), minus), minus);
            rows[i] = v.sub_8(signed, v.splat_8(192)); // 64 added, modulo 256
        }
        let unused = [v.zero(); 8];
        [by_column(v, rows), unused, unused]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        [raw[0][k], v.zero(), v.zero(), v.zero()]
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq2_xxs::BYTES }>) -> Scales<V> {
        // The last four bits of each of eight groups: two of them to a word.
        let mut out = Scales::one(v, v.mul(v.f16(v.words(blocks, 0)), v.splat_f(0.25)));
        for pair in 0..4 {
            let words = columns_16(v, blocks, group_at(2 * pair));
            out.words[pair] = v.or(v.srl_32(words[1], 28), v.sll_32(v.srl_32(words[3], 28), 4));
        }
        out
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        // d (0.5 + s) / 4, exact in any order of its factors.
        let s = v.and(v.srl_32(scales.words[j / 2], 4 * (j % 2)), v.splat_32(15));
        v.mul(scales.d, v.fma(v.to_floats(s), v.splat_f(1.0), v.splat_f(0.5)))
    }
}
