//! The multiply-adds of bytes in a row, compiled for each instruction set of x86: the feature boundary.
#![allow(unsafe_code)]

/// Defines `multiply_adds` for the proof type `$proof` of the features `$features`.
macro_rules! variant {
    ($proof:ident, $features:literal) => {
        use crate::isa::$proof;
        use crate::roofline::int8;

        pub(in crate::roofline) fn multiply_adds(proof: $proof, rounds: usize) -> u64 {
            // SAFETY: a proof exists only where `isa` saw every feature named here.
            unsafe { with_features(proof, rounds) }
        }

        #[target_feature(enable = $features)]
        fn with_features(proof: $proof, rounds: usize) -> u64 {
            int8::multiply_adds(proof, rounds)
        }
    };
}

/// Two products in 16 bits, then two of these in 32.
pub(super) mod avx2 {
    variant!(Avx2, "avx2,fma,f16c");
}

/// Four products in 32 bits.
pub(super) mod avx_vnni {
    variant!(AvxVnni, "avx2,fma,f16c,avxvnni");
}

/// As AVX-VNNI, in registers twice as wide.
pub(super) mod avx512 {
    variant!(Avx512, "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");
}
