//! Which instructions this machine has, as values that prove it.
//!
//! Dispatch happens once: [`Isa::best`] at start-up, then the value is handed down. A variant that needs AVX-512
//! takes an [`Avx512`], which exists only where detection saw those features, so calling it is sound by
//! construction. `--isa scalar` forces the reference and replays any report.
//!
//! Two kinds of variants share this: kernels written over the operations of `lanes` (`quant_dot`), and plain loops
//! compiled once per instruction set by [`per_isa!`], which the compiler vectorises for each.
#![allow(unsafe_code)]

use std::fmt;

/// Proof that AVX2, FMA and F16C are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that AVX-VNNI is there (and AVX2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvxVnni(());

/// Proof that AVX-512 F, BW, DQ, VL and VNNI are there (and AVX2).
///
/// `T` is what is known of VBMI when compiling. Most code needs none of it and is compiled once for every AVX-512, with the proof of
/// VBMI as data that passes through; what looks up in large tables is compiled for [`Vbmi`] as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512<T = Option<Vbmi>>(T);

/// Proof that AVX-512 VBMI is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vbmi(());

/// Proof that AVX-512 is there with VBMI.
#[cfg(target_arch = "x86_64")]
pub(crate) type Avx512Vbmi = Avx512<Vbmi>;

/// The instruction set that kernels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain loops: the reference.
    Scalar,
    /// AVX2 with FMA.
    Avx2(Avx2),
    /// AVX2 with the byte products of VNNI.
    AvxVnni(AvxVnni),
    /// AVX-512 with VNNI, and with VBMI where the proof has it.
    Avx512(Avx512),
}

impl Avx2 {
    fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            return Some(Self(()));
        }
        None
    }
}

impl AvxVnni {
    fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if Avx2::detect().is_some() && is_x86_feature_detected!("avxvnni") {
            return Some(Self(()));
        }
        None
    }
}

impl Avx512 {
    fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if Avx2::detect().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
        {
            return Some(Self(None));
        }
        None
    }

    fn detect_with_vbmi() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if Self::detect().is_some() && is_x86_feature_detected!("avx512vbmi") {
            return Some(Self(Some(Vbmi(()))));
        }
        None
    }

    /// The same with VBMI in its type, if that is there.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn with_vbmi(self) -> Option<Avx512Vbmi> {
        self.0.map(Avx512)
    }
}

#[cfg(target_arch = "x86_64")]
impl<T> Avx512<T> {
    /// What is known of VBMI.
    #[inline(always)]
    pub(crate) fn vbmi(self) -> T {
        self.0
    }
}

#[cfg(target_arch = "x86_64")]
impl From<Avx512Vbmi> for Avx512 {
    fn from(Avx512(vbmi): Avx512Vbmi) -> Self {
        Self(Some(vbmi))
    }
}

impl Isa {
    /// Every variant this machine can run, the reference first, the best last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self::Scalar];
        all.extend(Avx2::detect().map(Self::Avx2));
        all.extend(AvxVnni::detect().map(Self::AvxVnni));
        all.extend(Avx512::detect().map(Self::Avx512));
        all.extend(Avx512::detect_with_vbmi().map(Self::Avx512));
        all
    }

    /// The widest variant this machine can run.
    #[must_use]
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::Scalar)
    }

    /// The variant called `name` (`scalar`, `avx2`, `avxvnni`, `avx512`, `avx512vbmi`), if this machine has it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// The name that [`Isa::by_name`] takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2(_) => "avx2",
            Self::AvxVnni(_) => "avxvnni",
            Self::Avx512(Avx512(None)) => "avx512",
            Self::Avx512(Avx512(Some(_))) => "avx512vbmi",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `a * b + c`, fused where the variant has FMA. In scalar code a fused multiply-add is a slow library call.
#[inline(always)]
pub(crate) fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Defines `fn name(isa: Isa, args…)` that runs `body::<FUSED>(args…)` compiled for the instruction set of `isa`.
///
/// The body must be `#[inline(always)]`, so that its loops are vectorised inside the feature boundary.
macro_rules! per_isa {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        #[allow(unsafe_code)]
        pub(crate) fn $name(isa: $crate::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                match isa {
                    // SAFETY: either exists only where `Avx2::detect` saw avx2, fma and f16c.
                    $crate::isa::Isa::Avx2(_) | $crate::isa::Isa::AvxVnni(_) => return unsafe { avx2($($arg),*) },
                    // SAFETY: an `Avx512` exists only where `Avx512::detect` saw every feature named here.
                    $crate::isa::Isa::Avx512(_) => return unsafe { avx512($($arg),*) },
                    $crate::isa::Isa::Scalar => {}
                }
            }
            let _ = isa;
            $body::<false>($($arg),*)
        }
    };
}
pub(crate) use per_isa;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_the_reference_is_always_there() {
        for isa in Isa::available() {
            assert_eq!(Isa::by_name(isa.name()), Some(isa));
        }
        assert_eq!(Isa::available()[0], Isa::Scalar);
        assert_eq!(Isa::by_name("sse9"), None);
    }
}
