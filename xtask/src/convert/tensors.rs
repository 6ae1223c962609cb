//! From the hub's tensors to the file's: names, and the four places where the layout differs.
//!
//! 1. Llama: rows of Q and K change from "first halves, then second halves" to pairs ([`interleave_halves`]).
//! 2. Latent attention: `kv_b_proj` is cut into its key and value parts, and the key part is transposed, so that a
//!    product with it takes a query into the latent space ([`split_kv_b`]).
//! 3. Experts: one tensor for all experts of a layer instead of one each.
//! 4. Llama 3's rope scaling: a tensor of divisors instead of a rule ([`llama3_divisors`]).

use anyhow::Result;

use super::config::{Config, Family, RopeScaling};
use super::weights::Weights;

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
    /// Ids, written as they are.
    Ids(Vec<i32>),
}

impl Tensor {
    /// Elements of a row: the dimension that blocks run along.
    pub(crate) fn cols(&self) -> usize {
        *self.shape.last().expect("a tensor has a dimension")
    }
}

/// The tensors taken so far, in the order in which they are written.
pub(crate) struct Tensors<'a> {
    pub(super) config: &'a Config,
    pub(super) weights: Weights<'a>,
    list: Vec<Tensor>,
}

impl<'a> Tensors<'a> {
    /// Takes every tensor from `weights`, with `drafts` draft layers.
    pub(crate) fn build(config: &'a Config, weights: Weights<'a>, drafts: usize) -> Result<Vec<Tensor>> {
        let mut tensors = Self { config, weights, list: Vec::new() };
        if config.family()? == Family::DeepseekV4 {
            tensors.deepseek_v4()?;
            tensors.weights.finish()?;
            return Ok(tensors.list);
        }
        tensors.ends()?;
        for layer in 0..config.num_hidden_layers + drafts {
            tensors.layer(layer)?;
        }
        for draft in 0..config.draft_layers() {
            let layer = config.num_hidden_layers + draft;
            if draft < drafts { tensors.draft(layer)? } else { tensors.weights.leave_out(&hub_layer(layer)) }
        }
        tensors.weights.finish()?;
        Ok(tensors.list)
    }

    pub(super) fn push(&mut self, name: impl Into<String>, shape: &[usize], values: Vec<f32>) {
        self.push_values(name.into(), shape, Values::Weights(values));
    }

    pub(super) fn push_values(&mut self, name: String, shape: &[usize], values: Values) {
        self.list.push(Tensor { name, shape: shape.to_vec(), values });
    }

    /// Takes `hub` under the name `name` as it is.
    pub(super) fn same(&mut self, name: String, hub: &str, shape: &[usize]) -> Result<()> {
        let values = self.weights.take(hub, shape)?;
        self.push(name, shape, values);
        Ok(())
    }

    /// What stands before and after the layers.
    fn ends(&mut self) -> Result<()> {
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        if let Some(scaling) = self.config.rope_scaling.as_ref().filter(|scaling| scaling.r#type == "llama3")
        {
            let divisors = llama3_divisors(self.config, scaling);
            self.push("rope_freqs.weight", &[divisors.len()], divisors);
        }
        self.same("token_embd.weight".to_owned(), "model.embed_tokens.weight", &[vocab, hidden])?;
        self.same("output_norm.weight".to_owned(), "model.norm.weight", &[hidden])?;
        if self.config.tie_word_embeddings {
            self.weights.leave_out("lm_head.weight");
            return Ok(());
        }
        self.same("output.weight".to_owned(), "lm_head.weight", &[vocab, hidden])
    }

    fn layer(&mut self, layer: usize) -> Result<()> {
        let (block, hub, hidden) = (format!("blk.{layer}."), hub_layer(layer), self.config.hidden_size);
        self.same(format!("{block}attn_norm.weight"), &format!("{hub}input_layernorm.weight"), &[hidden])?;
        self.same(
            format!("{block}ffn_norm.weight"),
            &format!("{hub}post_attention_layernorm.weight"),
            &[hidden],
        )?;
        match self.config.family()? {
            Family::Llama => self.attention(&block, &hub, true)?,
            Family::Qwen2 => self.attention(&block, &hub, false)?,
            Family::Deepseek => self.latent_attention(&block, &hub)?,
            Family::DeepseekV32 => {
                self.latent_attention(&block, &hub)?;
                self.indexer(&block, &hub)?;
            }
            Family::DeepseekV4 => unreachable!("it has names of its own"),
        }
        if self.config.is_moe(layer) {
            self.experts(&block, &hub)
        } else {
            self.feed_forward(&block, "", &format!("{hub}mlp"), self.config.intermediate_size)
        }
    }

    /// `[q, k, v, o]` with the biases that are there.
    fn attention(&mut self, block: &str, hub: &str, interleave: bool) -> Result<()> {
        let (hidden, head_dim) = (self.config.hidden_size, self.config.head_dim());
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.num_key_value_heads);
        for (letter, heads) in [("q", heads), ("k", kv_heads), ("v", kv_heads)] {
            let rows = heads * head_dim;
            for (part, shape) in [("weight", vec![rows, hidden]), ("bias", vec![rows])] {
                let name = format!("{hub}self_attn.{letter}_proj.{part}");
                if part == "bias" && !self.weights.has(&name) {
                    continue;
                }
                let mut values = self.weights.take(&name, &shape)?;
                if interleave && letter != "v" {
                    values = interleave_halves(&values, head_dim, values.len() / rows);
                }
                self.push(format!("{block}attn_{letter}.{part}"), &shape, values);
            }
        }
        let shape = [hidden, heads * head_dim];
        self.same(format!("{block}attn_output.weight"), &format!("{hub}self_attn.o_proj.weight"), &shape)
    }

    /// The indexer of V3.2.
    fn indexer(&mut self, block: &str, hub: &str) -> Result<()> {
        let config = self.config;
        let (hidden, heads, dim) = (config.hidden_size, config.index_n_heads, config.index_head_dim);
        let q_rank = config.q_lora_rank.unwrap_or(0);
        for (name, hub_name, shape) in [
            ("attn_q_b.weight", "wq_b.weight", vec![heads * dim, q_rank]),
            ("attn_k.weight", "wk.weight", vec![dim, hidden]),
            ("k_norm.weight", "k_norm.weight", vec![dim]),
            ("k_norm.bias", "k_norm.bias", vec![dim]),
            ("proj.weight", "weights_proj.weight", vec![heads, hidden]),
        ] {
            let hub_name = format!("{hub}self_attn.indexer.{hub_name}");
            self.same(format!("{block}indexer.{name}"), &hub_name, &shape)?;
        }
        Ok(())
    }

    fn latent_attention(&mut self, block: &str, hub: &str) -> Result<()> {
        let config = self.config;
        let (hidden, heads, rank) = (config.hidden_size, config.num_attention_heads, config.kv_lora_rank);
        let (nope, rope, value) = (config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim);
        let q_rows = heads * (nope + rope);
        let mut same = |name: &str, hub_name: &str, shape: &[usize]| {
            self.same(format!("{block}{name}.weight"), &format!("{hub}self_attn.{hub_name}.weight"), shape)
        };
        match config.q_lora_rank {
            Some(q_rank) => {
                same("attn_q_a", "q_a_proj", &[q_rank, hidden])?;
                same("attn_q_a_norm", "q_a_layernorm", &[q_rank])?;
                same("attn_q_b", "q_b_proj", &[q_rows, q_rank])?;
            }
            None => same("attn_q", "q_proj", &[q_rows, hidden])?,
        }
        same("attn_kv_a_mqa", "kv_a_proj_with_mqa", &[rank + rope, hidden])?;
        same("attn_kv_a_norm", "kv_a_layernorm", &[rank])?;
        same("attn_output", "o_proj", &[hidden, heads * value])?;

        let kv_b = self
            .weights
            .take(&format!("{hub}self_attn.kv_b_proj.weight"), &[heads * (nope + value), rank])?;
        let (k_b, v_b) = split_kv_b(&kv_b, nope, value, rank);
        self.push(format!("{block}attn_k_b.weight"), &[heads, rank, nope], k_b);
        self.push(format!("{block}attn_v_b.weight"), &[heads, value, rank], v_b);
        Ok(())
    }

    fn feed_forward(&mut self, block: &str, suffix: &str, hub: &str, width: usize) -> Result<()> {
        let hidden = self.config.hidden_size;
        for (part, shape) in [("gate", [width, hidden]), ("up", [width, hidden]), ("down", [hidden, width])] {
            self.same(
                format!("{block}ffn_{part}{suffix}.weight"),
                &format!("{hub}.{part}_proj.weight"),
                &shape,
            )?;
        }
        Ok(())
    }

    fn experts(&mut self, block: &str, hub: &str) -> Result<()> {
        let config = self.config;
        let (hidden, count, width) =
            (config.hidden_size, config.n_routed_experts, config.moe_intermediate_size);
        self.same(format!("{block}ffn_gate_inp.weight"), &format!("{hub}mlp.gate.weight"), &[count, hidden])?;
        let bias = format!("{hub}mlp.gate.e_score_correction_bias");
        if self.weights.has(&bias) {
            self.same(format!("{block}exp_probs_b.bias"), &bias, &[count])?;
        }
        for (part, rows, cols) in [("gate", width, hidden), ("up", width, hidden), ("down", hidden, width)] {
            let mut values = Vec::with_capacity(count * rows * cols);
            for expert in 0..count {
                let name = format!("{hub}mlp.experts.{expert}.{part}_proj.weight");
                values.extend(self.weights.take(&name, &[rows, cols])?);
            }
            self.push(format!("{block}ffn_{part}_exps.weight"), &[count, rows, cols], values);
        }
        if config.n_shared_experts > 0 {
            let width = config.n_shared_experts * width;
            self.feed_forward(block, "_shexp", &format!("{hub}mlp.shared_experts"), width)?;
        }
        Ok(())
    }

    /// What a draft layer has beyond a decoder layer. Its embedding and head are left out where they are copies of
    /// the model's own.
    fn draft(&mut self, layer: usize) -> Result<()> {
        let (block, hub) = (format!("blk.{layer}.nextn."), hub_layer(layer));
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        self.same(format!("{block}eh_proj.weight"), &format!("{hub}eh_proj.weight"), &[hidden, 2 * hidden])?;
        for norm in ["enorm", "hnorm"] {
            self.same(format!("{block}{norm}.weight"), &format!("{hub}{norm}.weight"), &[hidden])?;
        }
        let norm = format!("{hub}shared_head.norm.weight");
        self.same(format!("{block}shared_head_norm.weight"), &norm, &[hidden])?;
        let copies = [
            ("embed_tokens", "embed_tokens", "token_embd.weight"),
            ("shared_head_head", "shared_head.head", "output.weight"),
        ];
        for (name, hub_name, original) in copies {
            let hub_name = format!("{hub}{hub_name}.weight");
            if !self.weights.has(&hub_name) {
                continue;
            }
            let values = self.weights.take(&hub_name, &[vocab, hidden])?;
            let is_copy = |tensor: &Tensor| {
                tensor.name == original && matches!(&tensor.values, Values::Weights(of) if *of == values)
            };
            if !self.list.iter().any(is_copy) {
                self.push(format!("{block}{name}.weight"), &[vocab, hidden], values);
            }
        }
        Ok(())
    }
}

fn hub_layer(layer: usize) -> String {
    format!("model.layers.{layer}.")
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

/// Divisors of the rope frequencies under Llama 3's scaling: 1 for waves much shorter than the trained context,
/// `factor` for much longer ones, blended in between.
fn llama3_divisors(config: &Config, scaling: &RopeScaling) -> Vec<f32> {
    let (dim, theta) = (config.head_dim(), config.rope_theta.unwrap_or(10_000.0));
    let (low, high) = (scaling.low_freq_factor.unwrap_or(1.0), scaling.high_freq_factor.unwrap_or(4.0));
    let context = scaling.original_max_position_embeddings.unwrap_or(8192) as f32;
    let divisor = |i: usize| {
        let frequency = 1.0 / theta.powf((2 * i) as f32 / dim as f32);
        let wave_len = std::f32::consts::TAU / frequency;
        if wave_len < context / high {
            1.0
        } else if wave_len > context / low {
            scaling.factor
        } else {
            let smooth = (context / wave_len - low) / (high - low);
            1.0 / ((1.0 - smooth) / scaling.factor + smooth)
        }
    };
    (0..dim / 2).map(divisor).collect()
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
