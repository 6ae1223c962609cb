//! What attention keeps of a token and how much arithmetic it takes, by family.
//!
//! ```text
//! grouped     2 * kv_heads * head                        a token and layer
//! latent      rank + rope             (+ an index key)   a token and layer
//! compressed  one row in `ratio` tokens (+ an index key) a layer, and the last `window` tokens as they are
//! shared      few layers keep rows, which all others use
//! ```
//! How many bytes that is depends on the engine as much as on the model: see [`KvFormat`].
//!
//! Source   the papers of V2 (2405.04434), V3.2 (2512.02556), V4 (2606.19348) and V4.1 (2609.19969)

/// How rows of keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvFormat {
    /// Four bytes an element, as shoal does.
    F32,
    /// Two bytes an element; for V4 what its makers use, which is less.
    Bf16,
    /// One byte an element with scales, and what is turned by position in BF16: 656 bytes for V3's 576 elements.
    Fp8,
}

/// The indexer of sparse attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexer {
    /// Query heads.
    pub heads: u64,
    /// Width of a key.
    pub width: u64,
    /// Rows it chooses.
    pub top_k: u64,
}

/// Attention of all layers of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Attention {
    /// Grouped-query attention.
    Grouped {
        /// Layers.
        layers: u64,
        /// Query heads.
        heads: u64,
        /// Heads of keys and values.
        kv_heads: u64,
        /// Width of a head.
        head: u64,
    },
    /// Multi-head latent attention.
    Latent {
        /// Layers.
        layers: u64,
        /// Heads.
        heads: u64,
        /// Width of the compressed key and value.
        rank: u64,
        /// Width of the key that is turned by position.
        rope: u64,
        /// Width of a head's key that is not.
        nope: u64,
        /// Width of a head's value.
        value: u64,
        /// Of V3.2.
        indexer: Option<Indexer>,
    },
    /// Window and compressed attention.
    Compressed {
        /// Of each layer: tokens to a row, 0 for the window alone.
        ratios: Vec<u64>,
        /// Heads.
        heads: u64,
        /// Width of a head, and of a row.
        head: u64,
        /// Tokens that are kept as they are.
        window: u64,
        /// Where four tokens make a row.
        indexer: Indexer,
    },
    /// Layers that use each other's rows: V4.1.
    Shared {
        /// Layers.
        layers: u64,
        /// Heads.
        heads: u64,
        /// Width of a head, and of a row.
        head: u64,
        /// Tokens that are kept as they are.
        window: u64,
        /// Rows that a token makes in all layers that keep some.
        rows_per_token: f64,
        /// Layers that choose among rows.
        indexed_layers: u64,
        /// How they choose.
        indexer: Indexer,
    },
}

/// A row of V4 as its makers store it: 448 numbers in FP8 with a scale for each 64 of them and one of padding, 64 in BF16.
const V4_ROW: f64 = 448.0 + 8.0 + 128.0;
/// Its index key: 128 numbers in FP4 and a scale.
const V4_INDEX_ROW: f64 = 64.0 + 4.0;
/// A row of V4.1: 512 numbers in FP4 with a scale for each 16.
const V41_ROW: f64 = 256.0 + 32.0;
/// V3's row in FP8: 512 numbers with a scale of four bytes for each 128, and 64 in BF16.
const V3_FP8_ROW: f64 = 512.0 + 16.0 + 128.0;
/// V3.2's index key: 128 numbers in FP8 and a scale of four bytes.
const V32_INDEX_ROW: f64 = 128.0 + 4.0;

impl Attention {
    /// Bytes that stay for every token of a context, however long it is.
    #[must_use]
    pub fn bytes_per_token(&self, format: KvFormat) -> f64 {
        match self {
            Self::Grouped { layers, kv_heads, head, .. } => {
                (layers * 2 * kv_heads * head) as f64 * element(format)
            }
            Self::Latent { layers, indexer, .. } => {
                *layers as f64
                    * (self.row_bytes(format) + indexer.map_or(0.0, |it| v32_index_row(it, format)))
            }
            Self::Compressed { ratios, indexer, .. } => {
                let of = |&ratio: &u64| match ratio {
                    0 => 0.0,
                    4 => (self.row_bytes(format) + v4_index_row(*indexer, format)) / 4.0,
                    ratio => self.row_bytes(format) / ratio as f64,
                };
                ratios.iter().map(of).sum()
            }
            Self::Shared { rows_per_token, indexer, .. } => {
                rows_per_token * (self.row_bytes(format) + v4_index_row(*indexer, format))
            }
        }
    }

    /// Bytes for each sequence beside those: the last tokens of layers with a window.
    #[must_use]
    pub fn bytes_per_sequence(&self, format: KvFormat) -> f64 {
        match self {
            Self::Grouped { .. } | Self::Latent { .. } => 0.0,
            Self::Compressed { ratios, head, window, .. } => {
                ratios.len() as f64 * *window as f64 * window_row(*head, format)
            }
            Self::Shared { layers, head, window, .. } => {
                *layers as f64 * *window as f64 * window_row(*head, format)
            }
        }
    }

    /// Bytes that a generated token reads at `context` positions.
    #[must_use]
    pub fn bytes_read(&self, context: f64, format: KvFormat) -> f64 {
        let row = self.row_bytes(format);
        match self {
            Self::Latent { layers, indexer: Some(indexer), .. } => {
                let chosen = context.min(indexer.top_k as f64) * row;
                *layers as f64 * (chosen + context * v32_index_row(*indexer, format))
            }
            Self::Grouped { .. } | Self::Latent { .. } => context * self.bytes_per_token(format),
            Self::Compressed { ratios, indexer, .. } => {
                let of = |&ratio: &u64| match ratio {
                    0 => 0.0,
                    4 => {
                        (context / 4.0).min(indexer.top_k as f64) * row
                            + context / 4.0 * v4_index_row(*indexer, format)
                    }
                    ratio => context / ratio as f64 * row,
                };
                self.bytes_per_sequence(format) + ratios.iter().map(of).sum::<f64>()
            }
            Self::Shared { layers, rows_per_token, indexer, .. } => {
                let chosen = *layers as f64 * context.min(indexer.top_k as f64) * row;
                let keys = rows_per_token * context * v4_index_row(*indexer, format);
                self.bytes_per_sequence(format) + chosen + keys
            }
        }
    }

    /// Floating-point operations of a generated token at `context` positions; latent attention in its absorbed form.
    #[must_use]
    pub fn decode_flops(&self, context: f64) -> f64 {
        match self {
            Self::Grouped { layers, heads, head, .. } => (layers * 4 * heads * head) as f64 * context,
            Self::Latent { layers, heads, rank, rope, indexer, .. } => {
                let seen = indexer.map_or(context, |it| context.min(it.top_k as f64));
                let choice = indexer.map_or(0.0, |it| (2 * it.heads * it.width) as f64 * context);
                *layers as f64 * ((2 * heads * (2 * rank + rope)) as f64 * seen + choice)
            }
            Self::Compressed { ratios, heads, head, window, indexer } => {
                let of = |&ratio: &u64| match ratio {
                    0 => 0.0,
                    4 => (context / 4.0).min(indexer.top_k as f64),
                    ratio => context / ratio as f64,
                };
                let rows = ratios.iter().map(of).sum::<f64>() + (ratios.len() as u64 * window) as f64;
                let choosing = ratios.iter().filter(|&&ratio| ratio == 4).count() as f64;
                let choice = choosing * (2 * indexer.heads * indexer.width) as f64 * context / 4.0;
                (4 * heads * head) as f64 * rows + choice
            }
            Self::Shared { layers, heads, head, window, indexed_layers, indexer, .. } => {
                let rows = *window as f64 + context.min(indexer.top_k as f64);
                let choice = (indexed_layers * 2 * indexer.heads * indexer.width) as f64 * context / 1.6;
                (layers * 4 * heads * head) as f64 * rows + choice
            }
        }
    }

    /// The same of a token of a prompt, on the average of `context` positions; latent attention with keys and values of heads.
    #[must_use]
    pub fn prefill_flops(&self, context: f64) -> f64 {
        match self {
            Self::Latent { layers, heads, rope, nope, value, indexer: None, .. } => {
                (layers * 2 * heads * (nope + rope + value)) as f64 * context / 2.0
            }
            _ => self.decode_flops(context / 2.0),
        }
    }

    /// The same model with grouped-query attention over eight heads of 128: what it is compared with.
    #[must_use]
    pub fn as_grouped(&self) -> Self {
        let (layers, heads) = match self {
            Self::Grouped { layers, heads, .. }
            | Self::Latent { layers, heads, .. }
            | Self::Shared { layers, heads, .. } => (*layers, *heads),
            Self::Compressed { ratios, heads, .. } => (ratios.len() as u64, *heads),
        };
        Self::Grouped { layers, heads, kv_heads: 8, head: 128 }
    }

    /// Whether rows consist of heads.
    #[must_use]
    pub const fn has_heads(&self) -> bool {
        matches!(self, Self::Grouped { .. })
    }

    fn row_bytes(&self, format: KvFormat) -> f64 {
        match (self, format) {
            (Self::Latent { .. }, KvFormat::Fp8) => V3_FP8_ROW,
            (Self::Latent { rank, rope, .. }, format) => (rank + rope) as f64 * element(format),
            (Self::Compressed { head, .. } | Self::Shared { head, .. }, KvFormat::F32) => *head as f64 * 4.0,
            (Self::Compressed { .. }, _) => V4_ROW,
            (Self::Shared { .. }, _) => V41_ROW,
            (Self::Grouped { kv_heads, head, .. }, format) => (2 * kv_heads * head) as f64 * element(format),
        }
    }
}

const fn element(format: KvFormat) -> f64 {
    match format {
        KvFormat::F32 => 4.0,
        KvFormat::Bf16 => 2.0,
        KvFormat::Fp8 => 1.0,
    }
}

fn v32_index_row(indexer: Indexer, format: KvFormat) -> f64 {
    if format == KvFormat::F32 { indexer.width as f64 * 4.0 } else { V32_INDEX_ROW }
}

fn v4_index_row(indexer: Indexer, format: KvFormat) -> f64 {
    if format == KvFormat::F32 { indexer.width as f64 * 4.0 } else { V4_INDEX_ROW }
}

fn window_row(head: u64, format: KvFormat) -> f64 {
    if format == KvFormat::F32 { head as f64 * 4.0 } else { V4_ROW }
}
