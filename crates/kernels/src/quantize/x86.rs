//! Quantising compiled for each instruction set of x86: the feature boundary, and nothing else.
#![allow(unsafe_code)]

use super::{RowMut, vector};
use crate::isa::{Avx2, Avx512, AvxVnni};

pub(super) fn avx2(proof: Avx2, x: &[f32], row: &mut RowMut<'_>) {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn with_features(proof: Avx2, x: &[f32], row: &mut RowMut<'_>) {
        vector::quantize_row(proof, x, row);
    }
    // SAFETY: a proof exists only where `isa` saw every feature named above.
    unsafe { with_features(proof, x, row) }
}

pub(super) fn avx_vnni(proof: AvxVnni, x: &[f32], row: &mut RowMut<'_>) {
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    fn with_features(proof: AvxVnni, x: &[f32], row: &mut RowMut<'_>) {
        vector::quantize_row(proof, x, row);
    }
    // SAFETY: a proof exists only where `isa` saw every feature named above.
    unsafe { with_features(proof, x, row) }
}

pub(super) fn avx512(proof: Avx512, x: &[f32], row: &mut RowMut<'_>) {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn with_features(proof: Avx512, x: &[f32], row: &mut RowMut<'_>) {
        vector::quantize_row(proof, x, row);
    }
    // SAFETY: a proof exists only where `isa` saw every feature named above.
    unsafe { with_features(proof, x, row) }
}
