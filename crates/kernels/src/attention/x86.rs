//! Attention compiled for each instruction set of x86: the feature boundary, and nothing else.
#![allow(unsafe_code)]

use super::Queries;
use super::tiled::{self, Scratch};
use crate::isa::{Avx2, Avx512, AvxVnni};
use crate::pool::Stripe;

/// 16 registers: tiles of four queries and two registers.
pub(super) fn avx2(proof: Avx2, item: &Queries<'_>, heads: usize, out: &mut Stripe<'_, f32>) {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn with_features(
        proof: Avx2,
        item: &Queries<'_>,
        heads: usize,
        scratch: &mut Scratch,
        out: &mut Stripe<'_, f32>,
    ) {
        tiled::attend::<Avx2, 4, 2>(proof, item, heads, scratch, out);
    }
    // SAFETY: a proof exists only where `isa` saw every feature named above.
    tiled::with_scratch(|scratch| unsafe { with_features(proof, item, heads, scratch, out) });
}

/// As AVX2.
pub(super) fn avx_vnni(proof: AvxVnni, item: &Queries<'_>, heads: usize, out: &mut Stripe<'_, f32>) {
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    fn with_features(
        proof: AvxVnni,
        item: &Queries<'_>,
        heads: usize,
        scratch: &mut Scratch,
        out: &mut Stripe<'_, f32>,
    ) {
        tiled::attend::<AvxVnni, 4, 2>(proof, item, heads, scratch, out);
    }
    // SAFETY: a proof exists only where `isa` saw every feature named above.
    tiled::with_scratch(|scratch| unsafe { with_features(proof, item, heads, scratch, out) });
}

/// 32 registers: tiles of six queries and four registers.
pub(super) fn avx512(proof: Avx512, item: &Queries<'_>, heads: usize, out: &mut Stripe<'_, f32>) {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn with_features(
        proof: Avx512,
        item: &Queries<'_>,
        heads: usize,
        scratch: &mut Scratch,
        out: &mut Stripe<'_, f32>,
    ) {
        tiled::attend::<Avx512, 6, 4>(proof, item, heads, scratch, out);
    }
    // SAFETY: a proof exists only where `isa` saw every feature named above.
    tiled::with_scratch(|scratch| unsafe { with_features(proof, item, heads, scratch, out) });
}

/// Index scores with avx2.
pub(super) fn avx2_index(proof: Avx2, item: &Queries<'_>, weights: &[f32], first: usize, out: &mut [f32]) {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn with_features(
        proof: Avx2,
        item: &Queries<'_>,
        weights: &[f32],
        first: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        tiled::index_scores::<Avx2, 4, 2>(proof, item, weights, first, scratch, out);
    }
    // SAFETY: a proof exists only where `isa` saw every feature named above.
    tiled::with_scratch(|scratch| unsafe { with_features(proof, item, weights, first, scratch, out) });
}

/// Index scores with avx_vnni.
pub(super) fn avx_vnni_index(
    proof: AvxVnni,
    item: &Queries<'_>,
    weights: &[f32],
    first: usize,
    out: &mut [f32],
) {
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    fn with_features(
        proof: AvxVnni,
        item: &Queries<'_>,
        weights: &[f32],
        first: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        tiled::index_scores::<AvxVnni, 4, 2>(proof, item, weights, first, scratch, out);
    }
    // SAFETY: a proof exists only where `isa` saw every feature named above.
    tiled::with_scratch(|scratch| unsafe { with_features(proof, item, weights, first, scratch, out) });
}

/// Index scores with avx512.
pub(super) fn avx512_index(
    proof: Avx512,
    item: &Queries<'_>,
    weights: &[f32],
    first: usize,
    out: &mut [f32],
) {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn with_features(
        proof: Avx512,
        item: &Queries<'_>,
        weights: &[f32],
        first: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        tiled::index_scores::<Avx512, 6, 4>(proof, item, weights, first, scratch, out);
    }
    // SAFETY: a proof exists only where `isa` saw every feature named above.
    tiled::with_scratch(|scratch| unsafe { with_features(proof, item, weights, first, scratch, out) });
}
