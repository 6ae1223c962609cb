//! Which tensor gets which element type.
//!
//! Vectors and routers always stay F32: they are small, and a router that rounds chooses other experts. A matrix
//! whose rows are no whole number of blocks gets F16 where a quantised type was asked for.

use std::str::FromStr;

use anyhow::{Error, Result, bail};
use shoal_quant::{Dtype, encode_row};

/// One tensor of the file to be written.
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// Slowest dimension first; the file has it the other way round.
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

/// What a tensor holds.
#[derive(Debug, PartialEq)]
pub(crate) enum Values {
    /// Numbers, written in whatever format is chosen.
    Weights(Vec<f32>),
    /// Ids of 32 bits, written as they are.
    Ids(Vec<u8>),
}

impl Tensor {
    /// Elements of a row: the dimension that blocks run along.
    pub(crate) fn cols(&self) -> usize {
        *self.shape.last().expect("a tensor has a dimension")
    }
}

/// What `--type` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// One type for all matrices.
    All(Dtype),
    /// The built-in model: Q8_0, and Q5_0 for gate and up of the routed experts, where most bytes are and an error
    /// weighs least.
    Minnow,
}

impl FromStr for Mix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "f32" => Self::All(Dtype::F32),
            "f16" => Self::All(Dtype::F16),
            "bf16" => Self::All(Dtype::BF16),
            "q8_0" => Self::All(Dtype::Q8_0),
            "q5_0" => Self::All(Dtype::Q5_0),
            "minnow" => Self::Minnow,
            other => bail!("--type: expected f32, bf16, f16, q8_0, q5_0 or minnow, found `{other}`"),
        })
    }
}

impl Mix {
    /// `general.file_type`: the number that files use for "mostly this type".
    pub(crate) const fn file_type(self) -> u32 {
        match self {
            Self::All(Dtype::F16) => 1,
            Self::All(Dtype::Q8_0) => 7,
            Self::All(Dtype::Q5_0) | Self::Minnow => 8,
            Self::All(Dtype::BF16) => 32,
            Self::All(_) => 0,
        }
    }

    /// The type of one tensor.
    pub(crate) fn dtype(self, tensor: &Tensor, values: &[f32]) -> Dtype {
        let wanted = match self {
            Self::All(dtype) => dtype,
            Self::Minnow if tensor.name.ends_with("ffn_gate_exps.weight") => Dtype::Q5_0,
            Self::Minnow if tensor.name.ends_with("ffn_up_exps.weight") => Dtype::Q5_0,
            Self::Minnow => Dtype::Q8_0,
        };
        let is_router = tensor.name.ends_with("ffn_gate_inp.weight");
        let is_bf16 = || values.iter().all(|value| value.to_bits() & 0xFFFF == 0);
        match wanted {
            _ if tensor.shape.len() < 2 || is_router => Dtype::F32,
            Dtype::BF16 if !is_bf16() => Dtype::F32, // only where nothing is lost
            _ if wanted.row_bytes(tensor.cols()).is_none() => Dtype::F16,
            _ => wanted,
        }
    }
}

/// The tensor's bytes in `dtype`, row by row.
pub(crate) fn encode(dtype: Dtype, tensor: &Tensor, values: &[f32]) -> Result<Vec<u8>> {
    let cols = tensor.cols();
    let row_bytes = dtype.row_bytes(cols).expect("the mix chose a type that fits the rows");
    let mut out = vec![0; values.len() / cols * row_bytes];
    for (row, bytes) in values.chunks_exact(cols).zip(out.chunks_exact_mut(row_bytes)) {
        encode_row(dtype, row, bytes)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dtype(mix: Mix, name: &str, shape: &[usize]) -> Dtype {
        let values = vec![0.5; shape.iter().product()];
        let tensor =
            Tensor { name: name.to_owned(), shape: shape.to_vec(), values: Values::Weights(Vec::new()) };
        mix.dtype(&tensor, &values)
    }

    #[test]
    fn small_and_delicate_tensors_stay_f32() {
        let mix = Mix::All(Dtype::Q8_0);
        assert_eq!(dtype(mix, "output_norm.weight", &[64]), Dtype::F32);
        assert_eq!(dtype(mix, "blk.1.ffn_gate_inp.weight", &[8, 64]), Dtype::F32);
        assert_eq!(dtype(mix, "blk.1.attn_k_b.weight", &[4, 32, 16]), Dtype::F16);
        assert_eq!(dtype(mix, "output.weight", &[8, 64]), Dtype::Q8_0);
        assert_eq!(dtype(Mix::Minnow, "blk.1.ffn_up_exps.weight", &[2, 8, 64]), Dtype::Q5_0);
        assert_eq!(dtype(Mix::Minnow, "blk.1.ffn_down_exps.weight", &[2, 8, 64]), Dtype::Q8_0);
    }

    #[test]
    fn bf16_is_used_only_where_nothing_is_lost() {
        let values = Values::Weights(Vec::new());
        let tensor = Tensor { name: "output.weight".to_owned(), shape: vec![2, 3], values };
        let mut exact = [0.5; 6];
        assert_eq!(Mix::All(Dtype::BF16).dtype(&tensor, &exact), Dtype::BF16);
        exact[4] = 0.1;
        assert_eq!(Mix::All(Dtype::BF16).dtype(&tensor, &exact), Dtype::F32);
    }
}
