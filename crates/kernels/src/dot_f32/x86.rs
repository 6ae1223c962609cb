//! The kernels compiled for each instruction set of x86: the feature boundary, and nothing else.
#![allow(unsafe_code)]

use std::ops::Range;

use shoal_quant::Dtype;

use super::direct::{self, Bf16, F8, F16, F32, Format, Plain};
use super::{TILE, panel};
use crate::isa::{Avx2, Avx512, AvxVnni};
use crate::matmul::Matrix;
use crate::pool::Stripe;

/// Defines `$name` for few tokens and `$panel` for many, `$T` at a time, for the proof type `$proof` of the features `$features`.
macro_rules! variant {
    ($name:ident, $panel:ident, $proof:ident, $features:literal, $T:literal) => {
        pub(super) fn $panel(
            proof: $proof,
            rows: [&[f32]; TILE],
            x: &[&[f32]],
            sums: &mut [panel::Lanes],
            columns: Range<usize>,
            out: &mut Stripe<'_, f32>,
        ) {
            #[target_feature(enable = $features)]
            fn with_features(
                proof: $proof,
                rows: [&[f32]; TILE],
                x: &[&[f32]],
                sums: &mut [panel::Lanes],
                columns: Range<usize>,
                out: &mut Stripe<'_, f32>,
            ) {
                panel::multiply::<$proof, $T>(proof, rows, x, sums, columns, out);
            }
            // SAFETY: a proof exists only where `isa` saw every feature named above.
            unsafe { with_features(proof, rows, x, sums, columns, out) }
        }


        pub(super) fn $name(
            proof: $proof,
            w: &Matrix,
            rows: Range<usize>,
            x: &[&[f32]],
            out: &mut Stripe<'_, f32>,
        ) {
            #[target_feature(enable = $features)]
            fn with_features<F: Format>(
                proof: $proof,
                w: &Matrix,
                rows: Range<usize>,
                x: &[&[f32]],
                out: &mut Stripe<'_, f32>,
            ) {
                direct::multiply::<$proof, F>(proof, w, rows, x, out);
            }
            // SAFETY: a proof exists only where `isa` saw every feature named above.
            let run = |run: unsafe fn($proof, &Matrix, Range<usize>, &[&[f32]], &mut Stripe<'_, f32>)| unsafe {
                run(proof, w, rows, x, out);
            };
            match w.dtype() {
                Dtype::F32 => run(with_features::<Plain<F32, 64>>),
                Dtype::F16 => run(with_features::<Plain<F16, 32>>),
                Dtype::BF16 => run(with_features::<Plain<Bf16, 32>>),
                Dtype::F8_E4M3 => run(with_features::<F8>),
                dtype => unreachable!("{dtype} is not a float format"),
            }
        }
    };
}

variant!(avx2, avx2_panel, Avx2, "avx2,fma,f16c", 3);
variant!(avx_vnni, avx_vnni_panel, AvxVnni, "avx2,fma,f16c,avxvnni", 3);
variant!(avx512, avx512_panel, Avx512, "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", 6);
