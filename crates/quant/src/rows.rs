//! Whole rows: any number of blocks of any format, unpacked or decoded.
//!
//! One `match` chooses the format; the loop over blocks stands in each arm, with every length a constant.

use crate::{Dtype, f8_e4m3, floats};
use crate::{iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs, iq4_nl, iq4_xs, mxfp4, nvfp4};
use crate::{q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0};

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
#[inline(always)] // a caller compiles it for its own instruction set
pub fn unpack_blocks(dtype: Dtype, bytes: &[u8], codes: &mut [i8], scales: &mut [f32], mins: &mut [f32]) {
    let scale_count = codes.len() / dtype.sub_block_len();
    assert_eq!(Some(bytes.len()), dtype.row_bytes(codes.len()), "{dtype}: {} codes", codes.len());
    assert_eq!(scales.len(), scale_count, "{dtype}: one scale for {} codes", dtype.sub_block_len());
    assert!(!dtype.has_mins() || mins.len() == scale_count, "{dtype}: {} mins", mins.len());
    /// The loop over blocks with the format's name put in: with a function in its place, a caller that compiles this
    /// for its own instruction set would get calls where it wants loops.
    macro_rules! symmetric {
        ($format:ident) => {{
            let outs = codes.as_chunks_mut().0.iter_mut().zip(scales.as_chunks_mut().0);
            for (block, (codes, scales)) in bytes.as_chunks().0.iter().zip(outs) {
                $format::unpack_block(block, codes, scales);
            }
        }};
    }
    macro_rules! with_mins {
        ($format:ident) => {{
            let affine = scales.as_chunks_mut().0.iter_mut().zip(mins.as_chunks_mut().0);
            let outs = codes.as_chunks_mut().0.iter_mut().zip(affine);
            for (block, (codes, (scales, mins))) in bytes.as_chunks().0.iter().zip(outs) {
                $format::unpack_block(block, codes, scales, mins);
            }
        }};
    }
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::I32 | Dtype::F8_E4M3 => panic!("{dtype} has no codes"),
        Dtype::Q4_0 => symmetric!(q4_0),
        Dtype::Q4_1 => with_mins!(q4_1),
        Dtype::Q5_0 => symmetric!(q5_0),
        Dtype::Q5_1 => with_mins!(q5_1),
        Dtype::Q8_0 => symmetric!(q8_0),
        Dtype::Q2_K => with_mins!(q2_k),
        Dtype::Q3_K => symmetric!(q3_k),
        Dtype::Q4_K => with_mins!(q4_k),
        Dtype::Q5_K => with_mins!(q5_k),
        Dtype::Q6_K => symmetric!(q6_k),
        Dtype::IQ2_XXS => symmetric!(iq2_xxs),
        Dtype::IQ2_XS => symmetric!(iq2_xs),
        Dtype::IQ3_XXS => symmetric!(iq3_xxs),
        Dtype::IQ1_S => symmetric!(iq1_s),
        Dtype::IQ4_NL => symmetric!(iq4_nl),
        Dtype::IQ3_S => symmetric!(iq3_s),
        Dtype::IQ2_S => symmetric!(iq2_s),
        Dtype::IQ4_XS => symmetric!(iq4_xs),
        Dtype::IQ1_M => symmetric!(iq1_m),
        Dtype::MXFP4 => symmetric!(mxfp4),
        Dtype::NVFP4 => symmetric!(nvfp4),
    }
}

/// Decodes a row of floating-point or quantised weights.
///
/// Numerics  quantised: `scale * code`, rounded, then `- min`, rounded: what the `gguf` Python package computes, bit
///           for bit. Floating point: exact.
///
/// # Panics
/// If the dtype holds no weights ([`Dtype::is_weight`]) or `bytes` is not `out.len()` elements long.
#[inline(always)] // a caller compiles the float formats for its own instruction set
pub fn decode_row(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(Some(bytes.len()), dtype.row_bytes(out.len()), "{dtype}: {} values", out.len());
    match dtype {
        Dtype::F32 => floats::decode_f32(bytes, out),
        Dtype::F16 => floats::decode_f16(bytes, out),
        Dtype::BF16 => floats::decode_bf16(bytes, out),
        Dtype::F8_E4M3 => f8_e4m3::decode(bytes, out),
        Dtype::I32 => panic!("{dtype} holds no weights"),
        _ => decode_quantized(dtype, bytes, out),
    }
}

/// Weights decoded at a time: one of the larger blocks.
const DECODE_LEN: usize = 256;

fn decode_quantized(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    let sub = dtype.sub_block_len();
    let (mut codes, mut scales, mut mins) = ([0; DECODE_LEN], [0.0; DECODE_LEN / 16], [0.0; DECODE_LEN / 16]);
    let block_bytes = DECODE_LEN / dtype.block_len() * dtype.block_bytes();
    for (bytes, out) in bytes.chunks(block_bytes).zip(out.chunks_mut(DECODE_LEN)) {
        let subs = out.len() / sub;
        let mins = if dtype.has_mins() { &mut mins[..subs] } else { &mut [] };
        unpack_blocks(dtype, bytes, &mut codes[..out.len()], &mut scales[..subs], mins);
        for (j, out) in out.chunks_exact_mut(sub).enumerate() {
            for (code, out) in codes[j * sub..].iter().zip(out) {
                *out = scales[j] * f32::from(*code);
            }
        }
        for (min, out) in mins.iter().zip(out.chunks_exact_mut(sub)) {
            out.iter_mut().for_each(|out| *out -= min);
        }
    }
}
