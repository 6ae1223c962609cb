//! The kernels compiled for each instruction set of x86: the feature boundary, and nothing else.
#![allow(unsafe_code)]

/// Defines what decodes a format, with the features `$features` of the proof type `$proof`: `direct_rows`, and `unpack` for
/// panels of `$R` registers of rows.
macro_rules! decoders {
    ($proof:ident, $features:literal, $R:literal) => {
        use std::ops::Range;

        use crate::isa::$proof;
        use crate::matmul::Matrix;
        use crate::pool::Stripe;
        use crate::quant_dot::{direct, panel};
        use crate::quantize::QuantRow;
        use crate::stored::Stored;

        fn direct_rows<F: Stored<B>, const B: usize>(
            proof: $proof,
            w: &Matrix,
            rows: Range<usize>,
            x: &[QuantRow<'_>],
            out: &mut Stripe<'_, f32>,
        ) {
            // SAFETY: a proof exists only where `isa` saw every feature named here.
            unsafe { direct_with_features::<F, B>(proof, w, rows, x, out) }
        }

        #[target_feature(enable = $features)]
        fn direct_with_features<F: Stored<B>, const B: usize>(
            proof: $proof,
            w: &Matrix,
            rows: Range<usize>,
            x: &[QuantRow<'_>],
            out: &mut Stripe<'_, f32>,
        ) {
            direct::multiply::<$proof, F, B>(proof, w, rows, x, out);
        }

        fn unpack<'a, F: Stored<B>, const B: usize>(
            proof: $proof,
            w: &Matrix,
            first: usize,
            groups: Range<usize>,
            scratch: &'a mut panel::Unpacked,
        ) -> panel::Panel<'a, $proof, $R> {
            // SAFETY: as above.
            unsafe { unpack_with_features::<F, B>(proof, w, first, groups, scratch) }
        }

        #[target_feature(enable = $features)]
        fn unpack_with_features<'a, F: Stored<B>, const B: usize>(
            proof: $proof,
            w: &Matrix,
            first: usize,
            groups: Range<usize>,
            scratch: &'a mut panel::Unpacked,
        ) -> panel::Panel<'a, $proof, $R> {
            panel::unpack::<$proof, F, B, $R>(proof, w, first, groups, scratch)
        }
    };
}

/// Defines `direct` and `panel` for the proof type `$proof` of the features `$features`, with panels of `$R` registers
/// of rows and tiles of `$T` tokens. Codes that allow runs of four and of two columns have them, or runs of one where nothing is gained.
macro_rules! variant {
    ($proof:ident, $features:literal, $R:literal, $T:literal, [$run_of_4:literal, $run_of_2:literal]) => {
        decoders!($proof, $features, $R);
        use crate::lanes::Vector;
        use crate::lines::Lines;
        use crate::stored::{Codes, with_stored};

        pub(in crate::quant_dot) fn direct(
            proof: $proof,
            w: &Matrix,
            rows: Range<usize>,
            x: &[QuantRow<'_>],
            out: &mut Stripe<'_, f32>,
        ) {
            with_stored!(w.dtype(), F, B => direct_rows::<F, B>(proof, w, rows, x, out));
        }

        pub(in crate::quant_dot) fn panel(
            proof: $proof,
            w: &Matrix,
            rows: Range<usize>,
            x: &[QuantRow<'_>],
            out: &mut Stripe<'_, f32>,
        ) {
            panel_by(proof, w, rows, x, out, |first, groups, scratch| {
                with_stored!(w.dtype(), F, B => unpack::<F, B>(proof, w, first, groups, scratch))
            });
        }

        /// `panel` with what unpacks the rows from one on.
        pub(super) fn panel_by(
            proof: $proof,
            w: &Matrix,
            rows: Range<usize>,
            x: &[QuantRow<'_>],
            out: &mut Stripe<'_, f32>,
            unpack: impl for<'a> Fn(usize, Range<usize>, &'a mut panel::Unpacked) -> panel::Panel<'a, $proof, $R>,
        ) {
            const ROWS: usize = $R * <$proof as Vector>::ROWS;
            let x = panel::Inputs::new(x);
            panel::with_scratch(|scratch| {
                for first in rows.clone().step_by(ROWS) {
                    let columns = first - rows.start..(first + ROWS).min(rows.end) - rows.start;
                    for groups in x.chunks() {
                        let ahead = panel::part_ahead(w, first + ROWS, ROWS, &groups);
                        let panel = unpack(first, groups, &mut scratch.rows);
                        let run = match (panel.kind, panel.sub, panel.kind.run()) {
                            (Codes::Signed, ..) => tiles::<32, false, 0>,
                            (Codes::WithMins, 32, _) => tiles::<32, true, $run_of_4>,
                            (Codes::WithMins, ..) => tiles::<16, true, $run_of_4>,
                            (Codes::Offset(_), 32, 4) => tiles::<32, false, $run_of_4>,
                            (Codes::Offset(_), 32, _) => tiles::<32, false, 1>,
                            (Codes::Offset(_), _, 4) => tiles::<16, false, $run_of_4>,
                            (Codes::Offset(_), _, 2) => tiles::<16, false, $run_of_2>,
                            (Codes::Offset(_), ..) => tiles::<16, false, 1>,
                        };
                        // SAFETY: a proof exists only where `isa` saw every feature named here.
                        unsafe { run(proof, &panel, &x, ahead, columns.clone(), &mut scratch.sums, out) };
                    }
                }
            });
        }

        #[target_feature(enable = $features)]
        fn tiles<const SUB: usize, const MINS: bool, const RUN: usize>(
            proof: $proof,
            panel: &panel::Panel<'_, $proof, $R>,
            x: &panel::Inputs<'_>,
            ahead: &[u8],
            columns: Range<usize>,
            sums: &mut Lines<f32>,
            out: &mut Stripe<'_, f32>,
        ) {
            panel::tiles::<$proof, $R, $T, SUB, MINS, RUN>(proof, panel, x, ahead, columns, sums, out);
        }
    };
}

/// 16 registers: one of rows, four tokens.
pub(super) mod avx2 {
    variant!(Avx2, "avx2,fma,f16c", 1, 4, [4, 2]);
}

/// As AVX2.
pub(super) mod avx_vnni {
    variant!(AvxVnni, "avx2,fma,f16c,avxvnni", 1, 4, [1, 1]);
}

/// 32 registers: two of rows, six tokens.
pub(super) mod avx512 {
    variant!(Avx512, "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", 2, 6, [1, 1]);
}

/// AVX-512 with VBMI: formats with tables of patterns are decoded with it; all else is that of AVX-512.
pub(super) mod avx512_vbmi {
    decoders!(Avx512Vbmi, "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi", 2);
    use super::avx512;
    use crate::stored::with_patterns;

    pub(in crate::quant_dot) fn direct(
        proof: Avx512Vbmi,
        w: &Matrix,
        rows: Range<usize>,
        x: &[QuantRow<'_>],
        out: &mut Stripe<'_, f32>,
    ) {
        with_patterns!(w.dtype(), F, B => direct_rows::<F, B>(proof, w, rows, x, out),
            else avx512::direct(proof.into(), w, rows, x, out));
    }

    pub(in crate::quant_dot) fn panel(
        proof: Avx512Vbmi,
        w: &Matrix,
        rows: Range<usize>,
        x: &[QuantRow<'_>],
        out: &mut Stripe<'_, f32>,
    ) {
        with_patterns!(w.dtype(), F, B => {
            avx512::panel_by(proof.into(), w, rows, x, out, |first, groups, scratch| {
                unpack::<F, B>(proof, w, first, groups, scratch).of_same_registers()
            });
        }, else avx512::panel(proof.into(), w, rows, x, out));
    }
}
