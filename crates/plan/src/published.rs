//! V4.1-Flash, of which what is published suffices to plan with and not to run.
//!
//! Source   its report (2609.19969): 20 + 20 layers, 384 experts of which 6 are taken, rows kept in four layers, two of them for half a token each

use crate::attention::{Attention, Indexer};
use crate::model::{Model, Moe, Part, Role};

const LAYERS: u64 = 40;
const HIDDEN: f64 = 5120.0;
const EXPERTS: u64 = 384;
const EXPERT_WIDTH: f64 = 2304.0;
const HEADS: u64 = 64;
const HEAD: u64 = 512;
const Q_RANK: f64 = 1280.0;
const O_GROUPS: f64 = 8.0;
const O_RANK: f64 = 1024.0;
const VOCAB: f64 = 129_280.0;

/// V4.1-Flash with experts and all else in so many bits a weight.
#[must_use]
pub fn v41_flash(expert_bits: f64, dense_bits: f64) -> Model {
    let queries = (HEADS * HEAD) as f64;
    let attention = HIDDEN * Q_RANK
        + Q_RANK * queries
        + HIDDEN * HEAD as f64
        + O_GROUPS * (queries / O_GROUPS) * O_RANK
        + O_GROUPS * O_RANK * HIDDEN;
    let expert = 3.0 * HIDDEN * EXPERT_WIDTH;
    let layers = LAYERS as f64;
    let part = |role, weights: f64| Part { role, format: None, weights, bytes: 0.0 };
    let model = Model {
        name: "v4.1-flash".to_owned(),
        quantisation: format!("{expert_bits} bits"),
        layers: LAYERS,
        hidden: HIDDEN as u64,
        context_max: 1_048_576,
        parts: vec![
            part(Role::EveryToken, layers * (attention + expert) + HIDDEN * VOCAB),
            part(Role::Lookup, HIDDEN * VOCAB),
            part(Role::Experts, layers * EXPERTS as f64 * expert),
        ],
        moe: Some(Moe { layers: LAYERS, experts: EXPERTS, per_token: 6, groups_used: 6 }),
        attention: Attention::Shared {
            layers: LAYERS,
            heads: HEADS,
            head: HEAD,
            window: 128,
            rows_per_token: 3.0 * 0.5 + 1.0,
            indexed_layers: 8,
            indexer: Indexer { heads: 32, width: 128, top_k: 512 },
        },
        drafts: true,
    };
    model.with_bits(expert_bits, dense_bits)
}
