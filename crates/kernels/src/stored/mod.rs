//! The stored formats as registers of codes: how the bytes of a block become codes and scales, for every instruction set.
//!
//! `shoal_quant` is the reference for every format; what stands here is the same in terms of [`Vector`]. A format says
//! how to get at the codes of a few groups of 32, four codes of every row at a time, and at the scale (and minimum) of a sub-block, a row in each
//! element. `quant_dot` does the rest. A new format needs its file in `shoal_quant` and one `impl` here.
//!
//! Codes must be what `dot` takes: unsigned and below 128. Formats with negative codes add an offset, a power of two,
//! which the kernel takes off again in exact integers, or are marked signed where 8 bits are needed.

mod blocks_32;
mod iq1;
mod iq2;
mod iq3;
mod iq4_xs;
mod k_quants;
mod nvfp4;
mod packed_patterns;
mod patterns;

pub(crate) use blocks_32::{Iq4Nl, Mxfp4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub(crate) use iq1::{Iq1M, Iq1S};
pub(crate) use iq2::{Iq2S, Iq2Xs, Iq2Xxs};
pub(crate) use iq3::{Iq3S, Iq3Xxs};
pub(crate) use iq4_xs::Iq4Xs;
pub(crate) use k_quants::{Q2K, Q3K, Q4K, Q5K, Q6K};
pub(crate) use nvfp4::Nvfp4;

use crate::lanes::{Blocks, Columns, Vector};

/// How codes relate to the weights they stand for: `weight = scale * (code - offset) - min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codes {
    /// Unsigned, with a minimum for each sub-block.
    WithMins,
    /// Unsigned, with `1 << n` added.
    Offset(u32),
    /// Signed 8-bit codes, in the form of [`Vector::bias_signed`].
    Signed,
}

impl Codes {
    /// Registers of codes whose products [`Narrow`] may add up: 4, 2 or 1. Codes with minima have five bits or fewer, those with
    /// `1 << n` added one bit more than that.
    ///
    /// [`Narrow`]: crate::lanes::Narrow
    pub(crate) const fn run(self) -> usize {
        match self {
            Self::WithMins | Self::Offset(0..=4) => 4,
            Self::Offset(5) => 2,
            Self::Offset(_) | Self::Signed => 1,
        }
    }
}

/// What the scales and minima of one block are made of, a row in each element: the block's own factors and the words
/// that hold the integers of its sub-blocks. [`Stored::scale`] puts them together where they are used, since sixteen
/// finished scales would not stay in registers.
pub(crate) struct Scales<V: Vector> {
    pub(super) d: V::Floats,
    pub(super) dmin: V::Floats,
    pub(super) words: [V::Ints; 4],
}

impl<V: Vector> Scales<V> {
    /// One scale for the whole block.
    #[inline(always)]
    fn one(v: V, d: V::Floats) -> Self {
        Self { d, dmin: v.splat_f(0.0), words: [v.zero(); 4] }
    }
}

/// The bytes of a span as they are stored, by column: up to three times 32 of them.
pub(crate) type Raw<V> = [Columns<V>; 3];

/// For each group of a span four codes of every row.
pub(crate) type FourCodes<V> = [<V as Vector>::Ints; 4];

/// A stored format with blocks of `BYTES` bytes.
pub(crate) trait Stored<const BYTES: usize> {
    /// Groups of 32 codes in a block.
    const GROUPS: usize;
    /// Groups that share bytes and are decoded together: 1, 2 or 4.
    const SPAN: usize;
    /// Codes under one scale: 16 or 32.
    const SUB: usize;
    /// What the codes mean.
    const CODES: Codes;

    /// Brings the bytes of groups `SPAN * span` and following into registers.
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, BYTES>, span: usize) -> Raw<V>;
    /// Codes 4k..4k + 4 of each of the groups; what lies past `SPAN` of them is not looked at.
    fn codes<V: Vector>(v: V, raw: &Raw<V>, span: usize, k: usize) -> FourCodes<V>;
    /// Brings what scales and minima are made of into registers.
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, BYTES>) -> Scales<V>;
    /// The scale of sub-block `j` of every row.
    #[inline(always)]
    fn scale<V: Vector>(_v: V, scales: &Scales<V>, _j: usize) -> V::Floats {
        scales.d
    }
    /// The minimum of sub-block `j` of every row, for formats with minima.
    #[inline(always)]
    fn min<V: Vector>(_v: V, scales: &Scales<V>, _j: usize) -> V::Floats {
        scales.dmin
    }
}

/// `value` in the bytes of those of codes 4k..4k + 4 whose bit is set in `bits`, which has bit l for code l.
#[inline(always)]
fn where_own_bit<V: Vector>(v: V, bits: V::Ints, k: usize, value: u8) -> V::Ints {
    // Codes 4k..4k + 4 have four bits of byte k / 2.
    let own_bits = v.splat_32(if k.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
    v.where_bits(v.spread_byte(bits, k / 2), own_bits, value)
}

/// Puts the format of `$dtype` and the size of its blocks in place of `$F` and `$B` in `$body`, if it is one with patterns of
/// magnitudes, which large lookups find; `$other` if not.
macro_rules! with_patterns {
    ($dtype:expr, $F:ident, $B:ident => $body:expr, else $other:expr) => {{
        use $crate::stored;
        macro_rules! of {
            ($format:ident, $module:ident) => {{
                type $F = stored::$format;
                const $B: usize = shoal_quant::$module::BYTES;
                $body
            }};
        }
        match $dtype {
            shoal_quant::Dtype::IQ2_XXS => of!(Iq2Xxs, iq2_xxs),
            shoal_quant::Dtype::IQ2_XS => of!(Iq2Xs, iq2_xs),
            shoal_quant::Dtype::IQ2_S => of!(Iq2S, iq2_s),
            shoal_quant::Dtype::IQ3_XXS => of!(Iq3Xxs, iq3_xxs),
            shoal_quant::Dtype::IQ3_S => of!(Iq3S, iq3_s),
            _ => $other,
        }
    }};
}
pub(crate) use with_patterns;

/// Puts the format of `$dtype` and the size of its blocks in place of `$F` and `$B` in `$body`.
macro_rules! with_stored {
    ($dtype:expr, $F:ident, $B:ident => $body:expr) => {{
        use $crate::stored;
        macro_rules! of {
            ($format:ident, $module:ident) => {{
                type $F = stored::$format;
                const $B: usize = shoal_quant::$module::BYTES;
                $body
            }};
        }
        match $dtype {
            shoal_quant::Dtype::Q4_0 => of!(Q4_0, q4_0),
            shoal_quant::Dtype::Q4_1 => of!(Q4_1, q4_1),
            shoal_quant::Dtype::Q5_0 => of!(Q5_0, q5_0),
            shoal_quant::Dtype::Q5_1 => of!(Q5_1, q5_1),
            shoal_quant::Dtype::Q8_0 => of!(Q8_0, q8_0),
            shoal_quant::Dtype::Q2_K => of!(Q2K, q2_k),
            shoal_quant::Dtype::Q3_K => of!(Q3K, q3_k),
            shoal_quant::Dtype::Q4_K => of!(Q4K, q4_k),
            shoal_quant::Dtype::Q5_K => of!(Q5K, q5_k),
            shoal_quant::Dtype::Q6_K => of!(Q6K, q6_k),
            shoal_quant::Dtype::IQ1_S => of!(Iq1S, iq1_s),
            shoal_quant::Dtype::IQ4_NL => of!(Iq4Nl, iq4_nl),
            shoal_quant::Dtype::IQ4_XS => of!(Iq4Xs, iq4_xs),
            shoal_quant::Dtype::IQ1_M => of!(Iq1M, iq1_m),
            shoal_quant::Dtype::MXFP4 => of!(Mxfp4, mxfp4),
            shoal_quant::Dtype::NVFP4 => of!(Nvfp4, nvfp4),
            dtype @ (shoal_quant::Dtype::F32
            | shoal_quant::Dtype::F16
            | shoal_quant::Dtype::BF16
            | shoal_quant::Dtype::F8_E4M3
            | shoal_quant::Dtype::I32) => panic!("{dtype} has no codes"),
            dtype => stored::with_patterns!(dtype, $F, $B => $body, else unreachable!("{dtype} is none of these")),
        }
    }};
}
pub(crate) use with_stored;
