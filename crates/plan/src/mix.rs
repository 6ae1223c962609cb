//! Which formats a file is made of: the mixtures that people download.

use std::str::FromStr;

use shoal_quant::Dtype;

use crate::{Purpose, TensorShape};

/// A mixture of formats, named as its files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Routed experts in IQ2_XXS and Q2_K, everything that every token needs in Q8_0 and F16: how V4 runs in 96 GB.
    Q2,
    /// Routed experts in MXFP4 as published, the rest in Q8_0 and BF16.
    Mxfp4,
    /// Q4_K, with Q6_K for down projections and the head.
    Q4KM,
    /// Q8_0 throughout.
    Q8,
    /// BF16 throughout.
    Bf16,
}

impl Mix {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Q2, Self::Mxfp4, Self::Q4KM, Self::Q8, Self::Bf16];

    /// The name people type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q2 => "q2",
            Self::Mxfp4 => "mxfp4",
            Self::Q4KM => "q4_k_m",
            Self::Q8 => "q8_0",
            Self::Bf16 => "bf16",
        }
    }

    /// The format of a tensor.
    #[must_use]
    pub fn dtype(self, tensor: &TensorShape) -> Dtype {
        let wanted = match (self, tensor.purpose) {
            (_, Purpose::Ids { .. }) => return Dtype::I32,
            (_, Purpose::Norm | Purpose::Bias | Purpose::Scale) => return Dtype::F32,
            (Self::Bf16, _) => Dtype::BF16,
            (Self::Q2, Purpose::Router | Purpose::Delicate | Purpose::Embedding) => Dtype::F16,
            (_, Purpose::Router) => Dtype::F32,
            (Self::Mxfp4, Purpose::Delicate | Purpose::Embedding) => Dtype::BF16,
            (_, Purpose::Heads) => Dtype::Q8_0,
            (Self::Q2, Purpose::Experts) => Dtype::IQ2_XXS,
            (Self::Q2, Purpose::ExpertsDown) => Dtype::Q2_K,
            (Self::Mxfp4, Purpose::Experts | Purpose::ExpertsDown) => Dtype::MXFP4,
            (Self::Q4KM, Purpose::Output | Purpose::FeedForwardDown) => Dtype::Q6_K,
            (Self::Q4KM, _) => Dtype::Q4_K,
            (Self::Q2 | Self::Mxfp4 | Self::Q8, _) => Dtype::Q8_0,
        };
        // Rows that are not whole blocks fall back, as they do where files are made.
        let cols = tensor.shape[0] as usize;
        let fits = |dtype: &Dtype| dtype.row_bytes(cols).is_some();
        [wanted, Dtype::Q8_0].into_iter().find(fits).unwrap_or(Dtype::F16)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = Self::ALL.iter().map(|mix| mix.name()).collect();
        let found = Self::ALL.iter().find(|mix| mix.name().eq_ignore_ascii_case(text));
        found.copied().ok_or_else(|| format!("expected one of {}", names.join(", ")))
    }
}
