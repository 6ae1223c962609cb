//! From the tensors of a hub model to those of new GGUF files: the places where the layout differs.
//!
//! 1. Llama: rows of Q and K change from "first halves, then second halves" to pairs ([`interleave_halves`]).
//! 2. Latent attention: `kv_b` is cut into its key and value parts, and the key part is transposed, so that a
//!    product with it takes a query into the latent space ([`split_kv_b`]).
//! 3. Draft layers: an embedding and a head that are copies of the model's own are left out.

use anyhow::{Context, Result};
use shoal_checkpoint::{Checkpoint, TensorInfo};
use shoal_quant::{Dtype, decode_row};

use super::mix::{Tensor, Values};

/// What the shapes follow from.
pub(crate) struct Heads {
    is_llama: bool,
    /// Elements of a head: of Llama's, or of a key without rope and of a value.
    dim: usize,
    nope: usize,
    value: usize,
}

impl Heads {
    /// Reads them from the metadata.
    pub(crate) fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let metadata = checkpoint.metadata();
        let architecture = metadata.required_str("general.architecture")?;
        let number = |key: &str| -> Result<usize> {
            Ok(metadata.u32(&format!("{architecture}.{key}"))?.unwrap_or(0) as usize)
        };
        let nope = number("attention.key_length_mla")?.saturating_sub(number("rope.dimension_count")?);
        Ok(Self {
            is_llama: architecture == "llama",
            dim: number("attention.key_length")?,
            nope,
            value: number("attention.value_length_mla")?,
        })
    }
}

/// The tensors that `info` becomes, read from its file: one, two or none.
pub(crate) fn convert(checkpoint: &Checkpoint, info: &TensorInfo, heads: &Heads) -> Result<Vec<Tensor>> {
    let shape: Vec<usize> = info.shape.iter().rev().map(|&dim| dim as usize).collect();
    let named = |name: &str, shape: &[usize], values: Vec<f32>| Tensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        values: Values::Weights(values),
    };
    if info.dtype == Dtype::I32 {
        let ids = checkpoint.read(info)?;
        return Ok(vec![Tensor { name: info.name.clone(), shape, values: Values::Ids(ids) }]);
    }
    let values = read(checkpoint, info)?;
    let part = info.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    Ok(match part.map_or("", |(_, part)| part) {
        "attn_q.weight" | "attn_k.weight" | "attn_q.bias" | "attn_k.bias" if heads.is_llama => {
            let cols = values.len() / shape[0];
            vec![named(&info.name, &shape, interleave_halves(&values, heads.dim, cols))]
        }
        "attn_kv_b.weight" => {
            let [rows, rank] = shape[..] else { anyhow::bail!("{}: expected a matrix", info.name) };
            let count = rows / (heads.nope + heads.value);
            let (k_b, v_b) = split_kv_b(&values, heads.nope, heads.value, rank);
            let of = |letter: &str| info.name.replace("kv_b", letter);
            vec![
                named(&of("k_b"), &[count, rank, heads.nope], k_b),
                named(&of("v_b"), &[count, heads.value, rank], v_b),
            ]
        }
        "nextn.embed_tokens.weight" if is_copy(checkpoint, "token_embd.weight", &values)? => Vec::new(),
        "nextn.shared_head_head.weight" if is_copy(checkpoint, "output.weight", &values)? => Vec::new(),
        _ => vec![named(&info.name, &shape, values)],
    })
}

fn is_copy(checkpoint: &Checkpoint, original: &str, values: &[f32]) -> Result<bool> {
    let info = checkpoint.tensor(original).with_context(|| format!("`{original}` is missing"))?;
    Ok(read(checkpoint, info)? == values)
}

fn read(checkpoint: &Checkpoint, info: &TensorInfo) -> Result<Vec<f32>> {
    let mut values = vec![0.0; info.elements() as usize];
    let (cols, row_bytes) = (info.cols() as usize, info.row_bytes() as usize);
    for (bytes, out) in checkpoint.read(info)?.chunks_exact(row_bytes).zip(values.chunks_exact_mut(cols)) {
        decode_row(info.dtype, bytes, out);
    }
    Ok(values)
}

/// Reorders the rows of each head so that the two numbers that rotate together stand together: from
/// `a0 a1 .. b0 b1 ..` to `a0 b0 a1 b1 ..`.
fn interleave_halves(values: &[f32], head_dim: usize, cols: usize) -> Vec<f32> {
    let half = head_dim / 2;
    let mut out = Vec::with_capacity(values.len());
    for head in values.chunks_exact(head_dim * cols) {
        for row in 0..half {
            out.extend(&head[row * cols..][..cols]);
            out.extend(&head[(half + row) * cols..][..cols]);
        }
    }
    out
}

/// Cuts `kv_b` `[H, N+V, R]` into the key part, transposed to `[H, R, N]`, and the value part `[H, V, R]`.
fn split_kv_b(kv_b: &[f32], nope: usize, value: usize, rank: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut k_b, mut v_b) = (Vec::new(), Vec::new());
    for head in kv_b.chunks_exact((nope + value) * rank) {
        let (keys, values) = head.split_at(nope * rank);
        for latent in 0..rank {
            k_b.extend((0..nope).map(|row| keys[row * rank + latent]));
        }
        v_b.extend(values);
    }
    (k_b, v_b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_become_pairs_within_each_head() {
        // Two heads of four rows, two columns; the value is row * 10 + column.
        let values: Vec<f32> = (0..8).flat_map(|row| [row as f32 * 10.0, row as f32 * 10.0 + 1.0]).collect();
        let rows: Vec<f32> =
            interleave_halves(&values, 4, 2).iter().step_by(2).map(|value| value / 10.0).collect();
        assert_eq!(rows, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }

    #[test]
    fn the_key_part_is_transposed_and_the_value_part_is_not() {
        // One head: two key rows and one value row over a latent of three.
        let kv_b = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let (k_b, v_b) = split_kv_b(&kv_b, 2, 1, 3);
        assert_eq!(k_b, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(v_b, [7.0, 8.0, 9.0]);
    }
}
