//! V4's tensors: the checkpoint has names of its own, without `model.`, and one file name for each of them.

use super::tensors::Tensors;
use crate::Error;

impl Tensors<'_> {
    /// Takes all tensors of the model; the number of draft layers. The three blocks of DSpark are left out, and the parts that see
    /// pictures.
    pub(super) fn deepseek_v4(&mut self) -> Result<usize, Error> {
        let config = self.config;
        let (hidden, vocab, streams) = (config.hidden_size, config.vocab_size, config.hc_mult);
        self.same("token_embd.weight".to_owned(), "embed.weight", &[vocab, hidden])?;
        self.same("output_norm.weight".to_owned(), "norm.weight", &[hidden])?;
        self.same("output.weight".to_owned(), "head.weight", &[vocab, hidden])?;
        self.hyper("output_hc", "hc_head", streams, 1)?;
        for layer in 0..config.num_hidden_layers {
            let (block, hub) = (format!("blk.{layer}."), format!("layers.{layer}."));
            self.v4_layer(&block, &hub, config.compress_ratios[layer], layer < config.num_hash_layers)?;
        }
        let drafts = usize::from(config.draft_layers() == 1 && self.try_all(Self::v4_draft));
        let others = ["mtp.", "vision.", "aligner.", "image_"];
        self.shards.leave_out(|name| {
            others.iter().any(|other| name.starts_with(other)) || name.ends_with(".gate.bias_vl")
        });
        Ok(drafts)
    }

    fn v4_layer(&mut self, block: &str, hub: &str, ratio: usize, hashed: bool) -> Result<(), Error> {
        let (hidden, streams) = (self.config.hidden_size, self.config.hc_mult);
        for part in ["attn", "ffn"] {
            self.same(format!("{block}{part}_norm.weight"), &format!("{hub}{part}_norm.weight"), &[hidden])?;
            let rows = streams * (2 + streams);
            self.hyper(&format!("{block}hc_{part}"), &format!("{hub}hc_{part}"), rows, 3)?;
        }
        self.compressed_attention(block, &format!("{hub}attn."), ratio)?;
        self.v4_experts(block, &format!("{hub}ffn."), hashed)
    }

    /// The draft layer: one with a window alone. Of the two matrices at its beginning GGUF files make one.
    fn v4_draft(&mut self) -> Result<(), Error> {
        let (layer, hidden) = (self.config.num_hidden_layers, self.config.hidden_size);
        let (block, hub) = (format!("blk.{layer}."), "mtp.0.");
        self.v4_layer(&block, hub, 0, false)?;
        for part in ["e_proj", "h_proj"] {
            let name = format!("{hub}{part}.weight");
            self.same(format!("{block}nextn.{part}.weight"), &name, &[hidden, hidden])?;
        }
        for (part, hub_part) in [("enorm", "enorm"), ("hnorm", "hnorm"), ("shared_head_norm", "norm")] {
            let name = format!("{hub}{hub_part}.weight");
            self.same(format!("{block}nextn.{part}.weight"), &name, &[hidden])?;
        }
        let streams = self.config.hc_mult;
        self.hyper(&format!("{block}nextn.hc_head"), &format!("{hub}hc_head"), streams, 1)
    }

    fn hyper(&mut self, name: &str, hub: &str, rows: usize, scales: usize) -> Result<(), Error> {
        let width = self.config.hc_mult * self.config.hidden_size;
        for (part, shape) in [("fn", vec![rows, width]), ("base", vec![rows]), ("scale", vec![scales])] {
            self.same(format!("{name}_{part}.weight"), &format!("{hub}_{part}"), &shape)?;
        }
        Ok(())
    }

    fn compressed_attention(&mut self, block: &str, hub: &str, ratio: usize) -> Result<(), Error> {
        let config = self.config;
        let (hidden, heads, dim) = (config.hidden_size, config.num_attention_heads, config.head_dim());
        let (q_rank, groups, rank) = (config.q_lora_rank.unwrap_or(0), config.o_groups, config.o_lora_rank);
        for (name, hub_name, shape) in [
            ("attn_sinks.weight", "attn_sink", vec![heads]),
            ("attn_q_a.weight", "wq_a.weight", vec![q_rank, hidden]),
            ("attn_q_a_norm.weight", "q_norm.weight", vec![q_rank]),
            ("attn_q_b.weight", "wq_b.weight", vec![heads * dim, q_rank]),
            ("attn_kv.weight", "wkv.weight", vec![dim, hidden]),
            ("attn_kv_a_norm.weight", "kv_norm.weight", vec![dim]),
            ("attn_output_a.weight", "wo_a.weight", vec![groups * rank, heads / groups * dim]),
            ("attn_output_b.weight", "wo_b.weight", vec![hidden, groups * rank]),
        ] {
            self.same(format!("{block}{name}"), &format!("{hub}{hub_name}"), &shape)?;
        }
        if ratio > 0 {
            self.compressor(&format!("{block}attn_compressor"), &format!("{hub}compressor."), ratio, dim)?;
        }
        if ratio == 4 {
            let (heads, dim) = (config.index_n_heads, config.index_head_dim);
            let indexer = format!("{hub}indexer.");
            let wq_b = format!("{indexer}wq_b.weight");
            self.same(format!("{block}indexer.attn_q_b.weight"), &wq_b, &[heads * dim, q_rank])?;
            let proj = format!("{indexer}weights_proj.weight");
            self.same(format!("{block}indexer.proj.weight"), &proj, &[heads, hidden])?;
            self.compressor(
                &format!("{block}indexer_compressor"),
                &format!("{indexer}compressor."),
                ratio,
                dim,
            )?;
        }
        Ok(())
    }

    fn compressor(&mut self, name: &str, hub: &str, ratio: usize, width: usize) -> Result<(), Error> {
        let (hidden, columns) = (self.config.hidden_size, if ratio == 4 { 2 * width } else { width });
        for (part, hub_part, shape) in [
            ("kv", "wkv.weight", vec![columns, hidden]),
            ("gate", "wgate.weight", vec![columns, hidden]),
            ("ape", "ape", vec![ratio, columns]),
            ("norm", "norm.weight", vec![width]),
        ] {
            self.same(format!("{name}_{part}.weight"), &format!("{hub}{hub_part}"), &shape)?;
        }
        Ok(())
    }

    fn v4_experts(&mut self, block: &str, hub: &str, hashed: bool) -> Result<(), Error> {
        let config = self.config;
        let (hidden, count, width) =
            (config.hidden_size, config.n_routed_experts, config.moe_intermediate_size);
        self.same(format!("{block}ffn_gate_inp.weight"), &format!("{hub}gate.weight"), &[count, hidden])?;
        let bias = format!("{hub}gate.bias");
        if hashed {
            let (rows, cols) = (config.vocab_size, config.num_experts_per_tok);
            self.ids(format!("{block}ffn_gate_tid2eid.weight"), &format!("{hub}gate.tid2eid"), rows, cols)?;
            // Some files have it, and nothing reads it.
            self.shards.leave_out(|name| name == bias);
        } else {
            self.same(format!("{block}exp_probs_b.bias"), &bias, &[count])?;
        }
        let shared_width = config.n_shared_experts * width;
        for (part, w) in [("gate", "w1"), ("up", "w3"), ("down", "w2")] {
            let shape = |width: usize| if part == "down" { [hidden, width] } else { [width, hidden] };
            let name = |expert: usize| format!("{hub}experts.{expert}.{w}.weight");
            self.stack(format!("{block}ffn_{part}_exps.weight"), name, shape(width))?;
            if shared_width > 0 {
                let name = format!("{hub}shared_experts.{w}.weight");
                self.same(format!("{block}ffn_{part}_shexp.weight"), &name, &shape(shared_width))?;
            }
        }
        Ok(())
    }
}
