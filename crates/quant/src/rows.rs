//! Whole rows: any number of blocks of any format, unpacked or decoded.
//!
//! One `match` chooses the format, and the loop over blocks is compiled anew for each, with every length a constant.

use crate::{Dtype, floats};
use crate::{iq2_xxs, iq4_nl, iq4_xs, mxfp4, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0};

/// Unpacks blocks into codes, scales and mins: `value[i] = scale[i / sub] * code[i] - min[i / sub]`, where `sub` is
/// [`Dtype::sub_block_len`].
///
/// Shapes    bytes: n blocks · codes `[n * block_len]` · scales and mins `[n * block_len / sub]`. `mins` is not
///           touched, and may be empty, where the dtype has none.
/// Numerics  exact: codes are integers, scales and mins are products of an f16 and a small integer. On hostile bytes
///           scales may be infinite, NaN or negative.
///
/// # Panics
/// If the dtype is not quantised or a length does not fit the others.
pub fn unpack_blocks(dtype: Dtype, bytes: &[u8], codes: &mut [i8], scales: &mut [f32], mins: &mut [f32]) {
    let scale_count = codes.len() / dtype.sub_block_len();
    assert_eq!(Some(bytes.len()), dtype.row_bytes(codes.len()), "{dtype}: {} codes", codes.len());
    assert_eq!(scales.len(), scale_count, "{dtype}: one scale for {} codes", dtype.sub_block_len());
    assert!(!dtype.has_mins() || mins.len() == scale_count, "{dtype}: {} mins", mins.len());
    assert!(with_format(dtype, Unpack { bytes, codes, scales, mins }), "{dtype} has no codes");
}

/// Decodes a row of floating-point or quantised weights.
///
/// Numerics  quantised: `scale * code`, rounded, then `- min`, rounded: what the `gguf` Python package computes, bit
///           for bit. Floating point: exact.
///
/// # Panics
/// If the dtype holds no weights ([`Dtype::is_weight`]) or `bytes` is not `out.len()` elements long.
pub fn decode_row(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(Some(bytes.len()), dtype.row_bytes(out.len()), "{dtype}: {} values", out.len());
    match dtype {
        Dtype::F32 => floats::decode_f32(bytes, out),
        Dtype::F16 => floats::decode_f16(bytes, out),
        Dtype::BF16 => floats::decode_bf16(bytes, out),
        _ => assert!(with_format(dtype, Decode { bytes, out }), "{dtype} holds no weights"),
    }
}

/// What to do with the blocks of a row, once the format and so every length is known: `B` bytes of a block, `L`
/// codes, `S` sub-blocks.
trait OverBlocks {
    /// The format has scales only.
    fn symmetric<const B: usize, const L: usize, const S: usize>(
        self,
        unpack: impl Fn(&[u8; B], &mut [i8; L], &mut [f32; S]),
    );
    /// The format has scales and mins.
    fn with_mins<const B: usize, const L: usize, const S: usize>(
        self,
        unpack: impl Fn(&[u8; B], &mut [i8; L], &mut [f32; S], &mut [f32; S]),
    );
}

/// Runs `task` with the unpacking function of the format; false if the dtype is not quantised.
fn with_format(dtype: Dtype, task: impl OverBlocks) -> bool {
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::I32 => return false,
        Dtype::Q4_0 => task.symmetric(q4_0::unpack_block),
        Dtype::Q4_1 => task.with_mins(q4_1::unpack_block),
        Dtype::Q5_0 => task.symmetric(q5_0::unpack_block),
        Dtype::Q5_1 => task.with_mins(q5_1::unpack_block),
        Dtype::Q8_0 => task.symmetric(q8_0::unpack_block),
        Dtype::Q2_K => task.with_mins(q2_k::unpack_block),
        Dtype::Q3_K => task.symmetric(q3_k::unpack_block),
        Dtype::Q4_K => task.with_mins(q4_k::unpack_block),
        Dtype::Q5_K => task.with_mins(q5_k::unpack_block),
        Dtype::Q6_K => task.symmetric(q6_k::unpack_block),
        Dtype::IQ2_XXS => task.symmetric(iq2_xxs::unpack_block),
        Dtype::IQ4_NL => task.symmetric(iq4_nl::unpack_block),
        Dtype::IQ4_XS => task.symmetric(iq4_xs::unpack_block),
        Dtype::MXFP4 => task.symmetric(mxfp4::unpack_block),
    }
    true
}

struct Unpack<'a> {
    bytes: &'a [u8],
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    mins: &'a mut [f32],
}

impl OverBlocks for Unpack<'_> {
    fn symmetric<const B: usize, const L: usize, const S: usize>(
        self,
        unpack: impl Fn(&[u8; B], &mut [i8; L], &mut [f32; S]),
    ) {
        let outs = self.codes.as_chunks_mut().0.iter_mut().zip(self.scales.as_chunks_mut().0);
        for (block, (codes, scales)) in self.bytes.as_chunks().0.iter().zip(outs) {
            unpack(block, codes, scales);
        }
    }

    fn with_mins<const B: usize, const L: usize, const S: usize>(
        self,
        unpack: impl Fn(&[u8; B], &mut [i8; L], &mut [f32; S], &mut [f32; S]),
    ) {
        let affine = self.scales.as_chunks_mut().0.iter_mut().zip(self.mins.as_chunks_mut().0);
        let outs = self.codes.as_chunks_mut().0.iter_mut().zip(affine);
        for (block, (codes, (scales, mins))) in self.bytes.as_chunks().0.iter().zip(outs) {
            unpack(block, codes, scales, mins);
        }
    }
}

struct Decode<'a> {
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl OverBlocks for Decode<'_> {
    fn symmetric<const B: usize, const L: usize, const S: usize>(
        self,
        unpack: impl Fn(&[u8; B], &mut [i8; L], &mut [f32; S]),
    ) {
        let (mut codes, mut scales) = ([0; L], [0.0; S]);
        for (block, out) in self.bytes.as_chunks().0.iter().zip(self.out.as_chunks_mut::<L>().0) {
            unpack(block, &mut codes, &mut scales);
            let subs = codes.chunks_exact(L / S).zip(out.chunks_exact_mut(L / S));
            for ((codes, out), scale) in subs.zip(scales) {
                for (code, out) in codes.iter().zip(out) {
                    *out = scale * f32::from(*code);
                }
            }
        }
    }

    fn with_mins<const B: usize, const L: usize, const S: usize>(
        self,
        unpack: impl Fn(&[u8; B], &mut [i8; L], &mut [f32; S], &mut [f32; S]),
    ) {
        let (mut codes, mut scales, mut mins) = ([0; L], [0.0; S], [0.0; S]);
        for (block, out) in self.bytes.as_chunks().0.iter().zip(self.out.as_chunks_mut::<L>().0) {
            unpack(block, &mut codes, &mut scales, &mut mins);
            let subs = codes.chunks_exact(L / S).zip(out.chunks_exact_mut(L / S));
            for ((codes, out), (scale, min)) in subs.zip(scales.into_iter().zip(mins)) {
                for (code, out) in codes.iter().zip(out) {
                    *out = scale * f32::from(*code) - min;
                }
            }
        }
    }
}
