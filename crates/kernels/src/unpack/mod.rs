//! Unpacking rows of quantised weights, which every product begins with.
//!
//! `shoal_quant::unpack_blocks` is the reference and serves every format. The formats that most files are made of
//! have a variant with vector instructions here; it must yield the same bits, which `tests` checks.
//!
//! Shapes    bytes: whole blocks · codes [K] · scales and mins [K / sub], mins empty for formats without
//! Numerics  exact

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(test)]
mod tests;

use shoal_quant::Dtype;

use crate::isa::Isa;

/// Unpacks whole blocks with the best variant that `isa` and the format have.
pub(crate) fn unpack(
    isa: Isa,
    dtype: Dtype,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
    mins: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if let Some(proof) = isa.avx2()
        && avx2::unpack(proof, dtype, bytes, codes, scales, mins)
    {
        return;
    }
    let _ = isa;
    shoal_quant::unpack_blocks(dtype, bytes, codes, scales, mins);
}

/// Asks for bytes that are unpacked soon. Rows are short beside what a processor fetches ahead by itself, and between
/// two rows it computes: without the hint, each row begins with a wait for memory.
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    avx2::prefetch(bytes);
    let _ = bytes;
}
