//! Grouped-query attention with dense layers: the models that R1 was distilled into.

use crate::shape::{Builder, Purpose, Shape};

/// Dimensions, with the hub's names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouped {
    pub(crate) name: &'static str,
    /// `qwen2` has biases, `llama` has none.
    pub(crate) architecture: &'static str,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_key_value_heads: usize,
    pub(crate) vocab_size: usize,
    pub(crate) rope_theta: f64,
    pub(crate) rms_norm_eps: f64,
}

/// Equal in all of them.
const HEAD: usize = 128;
const CONTEXT: usize = 131_072;

impl Grouped {
    /// The first `layers` layers.
    pub(crate) fn shape(&self, layers: usize) -> Shape {
        let mut out = Builder::new(self.name, self.architecture, layers);
        for (key, value) in [
            ("block_count", layers),
            ("context_length", CONTEXT),
            ("embedding_length", self.hidden_size),
            ("feed_forward_length", self.intermediate_size),
            ("attention.head_count", self.num_attention_heads),
            ("attention.head_count_kv", self.num_key_value_heads),
            ("attention.key_length", HEAD),
            ("attention.value_length", HEAD),
            ("rope.dimension_count", HEAD),
        ] {
            out.count(key, value);
        }
        out.number("rope.freq_base", self.rope_theta);
        out.number("attention.layer_norm_rms_epsilon", self.rms_norm_eps);
        if self.architecture == "llama" {
            // Divisors of the frequencies of Llama 3.
            out.tensor("rope_freqs", &[HEAD / 2], Purpose::Scale);
        }
        out.ends(self.vocab_size, self.hidden_size, false);
        (0..layers).for_each(|layer| self.layer(&mut out, &format!("blk.{layer}.")));
        out.finish(None)
    }

    fn layer(&self, out: &mut Builder, block: &str) {
        let (hidden, heads, kv_heads) =
            (self.hidden_size, self.num_attention_heads, self.num_key_value_heads);
        out.tensor(format!("{block}attn_norm"), &[hidden], Purpose::Norm);
        for (letter, heads) in [("q", heads), ("k", kv_heads), ("v", kv_heads)] {
            out.tensor(format!("{block}attn_{letter}"), &[heads * HEAD, hidden], Purpose::Dense);
            if self.architecture == "qwen2" {
                out.bias(&format!("{block}attn_{letter}"), heads * HEAD);
            }
        }
        out.tensor(format!("{block}attn_output"), &[hidden, heads * HEAD], Purpose::Dense);
        out.tensor(format!("{block}ffn_norm"), &[hidden], Purpose::Norm);
        out.feed_forward(block, "", hidden, self.intermediate_size);
    }
}
