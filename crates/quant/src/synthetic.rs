//! Random weights of a given spread in any format, for files that are only run and never believed.
//!
//! A block's bytes are random but for its factors, which are 1 at first; then it is decoded, and the factors are set to what
//! gives the wanted spread. So every code and every small scale occurs, and nothing is infinite.
//!
//! Numerics  the root of the mean square over all weights is within a few percent of the wanted one

use half::f16;
use shoal_base::Prng;

use crate::{Dtype, decode_row, f8_e4m3};

/// Where the factors of a block of this format stand.
enum Factors {
    /// f16 at these places; what is after the first is for minima.
    Halves(&'static [usize]),
    /// An exponent of two.
    Exponent(usize),
    /// An f32 before 8-bit floats.
    Single,
    /// Four bits of an f16 at the top of each of four words from this place on.
    Nibbles(usize),
    /// Four unsigned e4m3, one for each sub-block.
    Floats8,
    /// The elements are numbers themselves.
    None,
}

const fn factors(dtype: Dtype) -> Factors {
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::I32 => Factors::None,
        Dtype::Q4_0
        | Dtype::Q5_0
        | Dtype::Q8_0
        | Dtype::IQ1_S
        | Dtype::IQ2_XXS
        | Dtype::IQ2_XS
        | Dtype::IQ2_S
        | Dtype::IQ3_XXS
        | Dtype::IQ3_S
        | Dtype::IQ4_NL
        | Dtype::IQ4_XS => Factors::Halves(&[0]),
        Dtype::IQ1_M => Factors::Nibbles(48),
        Dtype::NVFP4 => Factors::Floats8,
        Dtype::Q4_1 | Dtype::Q5_1 | Dtype::Q4_K | Dtype::Q5_K => Factors::Halves(&[0, 2]),
        Dtype::Q2_K => Factors::Halves(&[80, 82]),
        Dtype::Q3_K => Factors::Halves(&[108]),
        Dtype::Q6_K => Factors::Halves(&[208]),
        Dtype::MXFP4 => Factors::Exponent(0),
        Dtype::F8_E4M3 => Factors::Single,
    }
}

/// Fills `out`, whole blocks of `dtype`, with random weights around 0 whose mean square is `spread` squared.
///
/// # Panics
/// If `out` is not whole blocks, or the dtype holds no weights.
pub fn random_blocks(dtype: Dtype, spread: f32, prng: &mut Prng, out: &mut [u8]) {
    assert!(dtype.is_weight() && out.len().is_multiple_of(dtype.block_bytes()), "whole blocks of weights");
    if let Factors::None = factors(dtype) {
        return random_floats(dtype, spread, prng, out);
    }
    for word in out.chunks_mut(8) {
        let random = prng.next_u64().to_le_bytes();
        word.copy_from_slice(&random[..word.len()]);
    }
    set(dtype, out, 1.0, 0.0);
    // Unsigned codes lie on one side of 0 until their minima bring them back.
    let min = if dtype.has_mins() { moments(dtype, out).0 / min_per_factor(dtype, out) } else { 0.0 };
    set(dtype, out, 1.0, min);
    let factor = f64::from(spread) / moments(dtype, out).1.sqrt().max(1e-9);
    set(dtype, out, factor, factor * min);
}

/// The mean of what a factor of 1 for minima takes away.
fn min_per_factor(dtype: Dtype, blocks: &[u8]) -> f64 {
    let mut copy = blocks.to_vec();
    set(dtype, &mut copy, 0.0, 1.0);
    let (mean, _) = moments(dtype, &copy);
    if mean.abs() < 1e-9 { 1.0 } else { -mean }
}

/// The mean and the mean square of the weights.
fn moments(dtype: Dtype, blocks: &[u8]) -> (f64, f64) {
    let mut values = vec![0.0; blocks.len() / dtype.block_bytes() * dtype.block_len()];
    decode_row(dtype, blocks, &mut values);
    let count = values.len().max(1) as f64;
    let sum: f64 = values.iter().map(|&x| f64::from(x)).sum();
    let square: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
    (sum / count, square / count)
}

/// Sets the factors of all blocks.
fn set(dtype: Dtype, blocks: &mut [u8], factor: f64, min: f64) {
    for block in blocks.chunks_exact_mut(dtype.block_bytes()) {
        match factors(dtype) {
            Factors::Halves(places) => {
                for (i, &place) in places.iter().enumerate() {
                    let value = f16::from_f64(if i == 0 { factor } else { min });
                    block[place..place + 2].copy_from_slice(&value.to_le_bytes());
                }
            }
            Factors::Exponent(place) => {
                let exponent = if factor > 0.0 { factor.log2().round() } else { -127.0 };
                block[place] = (exponent + 127.0).clamp(0.0, 254.0) as u8;
            }
            Factors::Nibbles(place) => {
                let bits = f16::from_f64(factor).to_bits();
                for (i, word) in block[place..place + 8].chunks_exact_mut(2).enumerate() {
                    word[1] = word[1] & 0x0F | ((bits >> (4 * i)) as u8 & 0x0F) << 4;
                }
            }
            Factors::Floats8 => {
                // A power of two is near enough; small ones have no exponent of their own.
                let exponent = factor.max(1e-9).log2().round() + 7.0;
                let code = if exponent >= 1.0 {
                    exponent.min(14.0) * 8.0
                } else {
                    (factor * 512.0).round().max(1.0)
                };
                block[..4].fill(code as u8);
            }
            Factors::Single => {
                block[..f8_e4m3::QS].copy_from_slice(&(factor as f32).to_le_bytes());
                // No code may be what is not a number, and large ones are rare in real weights.
                block[f8_e4m3::QS..].iter_mut().for_each(|code| *code &= 0xBF);
            }
            Factors::None => {}
        }
    }
}

fn random_floats(dtype: Dtype, spread: f32, prng: &mut Prng, out: &mut [u8]) {
    let bytes = dtype.block_bytes();
    for element in out.chunks_exact_mut(bytes) {
        let value = prng.next_normal() as f32 * spread;
        match dtype {
            Dtype::F16 => element.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
            Dtype::BF16 => element.copy_from_slice(&value.to_le_bytes()[2..]),
            _ => element.copy_from_slice(&value.to_le_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_the_wanted_spread_around_zero() {
        for &dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_weight()) {
            let mut blocks =
                vec![0; 4096.max(dtype.block_bytes() * 64) / dtype.block_bytes() * dtype.block_bytes()];
            random_blocks(dtype, 0.02, &mut Prng::new(7), &mut blocks);
            let (mean, square) = moments(dtype, &blocks);
            // A power of two is as near as a factor of the root of two.
            let slack = if matches!(dtype, Dtype::MXFP4 | Dtype::NVFP4) { 1.45 } else { 1.1 };
            let found = square.sqrt() / 0.02;
            assert!((1.0 / slack..slack).contains(&found), "{dtype}: {found} of the spread");
            assert!(mean.abs() < 0.25 * 0.02, "{dtype}: mean {mean}");
        }
    }
}
