//! Metadata keys that every family has, each checked where it is read.

use shoal_base::limits::{CONTEXT_LEN_MAX, LAYER_COUNT_MAX, WIDTH_MAX};
use shoal_checkpoint::{Checkpoint, Metadata};
use shoal_kernels::rope::RopeLayout;

use super::{CommonConfig, IndexerConfig, RopeConfig, RopeScaling};
use crate::Error;

/// The keys of one architecture.
pub(super) struct Keys<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) architecture: &'a str,
}

impl Keys<'_> {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(super) fn bad<T>(
        &self,
        name: &str,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Result<T, Error> {
        Err(Error::BadConfig { key: self.key(name), expected: expected.into(), found: found.to_string() })
    }

    /// A count from 1 to `max`.
    pub(super) fn count(&self, name: &str, max: u32) -> Result<usize, Error> {
        let value = self.metadata.required_u32(&self.key(name))?;
        if value == 0 || value > max {
            return self.bad(name, format!("a number from 1 to {max}"), value);
        }
        Ok(value as usize)
    }

    pub(super) fn optional_count(&self, name: &str, max: u32) -> Result<Option<usize>, Error> {
        self.metadata.u32(&self.key(name))?.map(|_| self.count(name, max)).transpose()
    }

    /// A finite number above 0, or `default` if the key is absent.
    pub(super) fn positive(&self, name: &str, default: f64) -> Result<f64, Error> {
        match self.metadata.f32(&self.key(name))? {
            None => Ok(default),
            Some(value) if value.is_finite() && value > 0.0 => Ok(f64::from(value)),
            Some(value) => self.bad(name, "a finite number above 0", value),
        }
    }

    /// `intermediate_size` is that of a dense feed-forward layer.
    pub(super) fn common(
        &self,
        checkpoint: &Checkpoint,
        rope: RopeConfig,
        intermediate_size: usize,
    ) -> Result<CommonConfig, Error> {
        // The embedding table is the vocabulary that counts: some files say nothing, some are padded.
        let vocab_size = crate::weights::embedding_rows(checkpoint)?;
        let eps = "attention.layer_norm_rms_epsilon";
        let rms_norm_eps = self.metadata.required_f32(&self.key(eps))?;
        if !(rms_norm_eps.is_finite() && rms_norm_eps >= 0.0) {
            return self.bad(eps, "a finite number of at least 0", rms_norm_eps);
        }
        let counted = self.draft_layers()?;
        let num_hidden_layers = self.count("block_count", LAYER_COUNT_MAX)? - counted;
        // Some files count draft layers that were left out of them.
        let draft_layers =
            if crate::weights::has_draft_layer(checkpoint, num_hidden_layers) { counted } else { 0 };
        Ok(CommonConfig {
            vocab_size,
            num_hidden_layers,
            num_nextn_predict_layers: draft_layers,
            drafts: false,
            larger_draft_experts: crate::weights::has_larger_experts(checkpoint, num_hidden_layers),
            hidden_size: self.count("embedding_length", WIDTH_MAX)?,
            intermediate_size,
            max_position_embeddings: self.count("context_length", CONTEXT_LEN_MAX)?,
            rms_norm_eps,
            num_attention_heads: self.count("attention.head_count", WIDTH_MAX)?,
            rope,
        })
    }

    pub(super) fn feed_forward_length(&self) -> Result<usize, Error> {
        self.count("feed_forward_length", WIDTH_MAX)
    }

    pub(super) fn indexer(&self) -> Result<IndexerConfig, Error> {
        Ok(IndexerConfig {
            index_n_heads: self.count("attention.indexer.head_count", WIDTH_MAX)?,
            index_head_dim: self.count("attention.indexer.key_length", WIDTH_MAX)?,
            index_topk: self.count("attention.indexer.top_k", CONTEXT_LEN_MAX)?,
        })
    }

    /// Draft layers stand after the decoder layers and are counted with them.
    pub(super) fn draft_layers(&self) -> Result<usize, Error> {
        let name = "nextn_predict_layers";
        let drafts = self.metadata.u32(&self.key(name))?.unwrap_or(0) as usize;
        let blocks = self.count("block_count", LAYER_COUNT_MAX)?;
        if drafts >= blocks {
            return self.bad(name, format!("fewer than the {blocks} blocks"), drafts);
        }
        Ok(drafts)
    }

    pub(super) fn rope(&self, dim: usize, layout: RopeLayout) -> Result<RopeConfig, Error> {
        if dim == 0 || !dim.is_multiple_of(2) {
            return self.bad("rope.dimension_count", "an even number of elements", dim);
        }
        let theta = self.positive("rope.freq_base", 10_000.0)?;
        let factor = self.positive("rope.scaling.factor", 1.0)?;
        let kind = self.metadata.str(&self.key("rope.scaling.type"))?.unwrap_or("none");
        let scaling = match kind {
            _ if factor == 1.0 => RopeScaling::None,
            "none" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor },
            "yarn" => RopeScaling::Yarn {
                factor,
                original_max_position_embeddings: self
                    .count("rope.scaling.original_context_length", CONTEXT_LEN_MAX)?
                    as f64,
                beta_fast: self.positive("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: self.positive("rope.scaling.yarn_beta_slow", 1.0)?,
                // The key holds a tenth of the hub's number.
                mscale_all_dim: f64::from(
                    self.metadata.f32(&self.key("rope.scaling.yarn_log_multiplier"))?.unwrap_or(0.0),
                ) * 10.0,
            },
            other => return self.bad("rope.scaling.type", "none, linear or yarn", format!("`{other}`")),
        };
        Ok(RopeConfig { dim, theta, scaling, layout })
    }
}
