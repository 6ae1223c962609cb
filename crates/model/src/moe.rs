//! The mixture of experts of one layer: `y = sum_k g_k E_k(h) + S(h)`, k over the experts the router chose.
//!
//! In the first layers of V4 it is not the router that chooses but a table by token; the router still gives the weights.
//!
//! Source   DeepSeek-V3 (arXiv 2412.19437) section 2.1.2, equations 12 to 16; V2 (arXiv 2405.04434) section 2.2; V4 (arXiv
//!          2606.19348) for the tables
//! Letters  T tokens in this step · D hidden_size · E n_routed_experts

use shoal_base::TokenId;
use shoal_kernels::ops::FeedForward;
use shoal_kernels::route::{RouterSpec, Routing};
use shoal_kernels::{Act, Cpu, Matrix};

use crate::Error;
use crate::config::MoeConfig;
use crate::weights::{Experts, IdTable, LayerBinder};

/// Choices for each expert from which on all are expected to be chosen: with even odds one in fifty is not.
const CHOICES_FOR_ALL: usize = 4;

/// Tokens for which the choice of later layers is forecast.
const FORESEEN_TOKENS: usize = 4;

/// Layers that are forecast.
const FORESEEN_LAYERS: usize = 2;

pub(crate) struct Moe {
    gate: Matrix,
    spec: RouterSpec,
    /// For each token of the vocabulary its experts, where the router does not choose.
    tid2eid: Option<IdTable>,
    experts: Experts,
    shared_experts: Option<FeedForward>,
}

/// What differs between the mixtures of a model's layers.
#[derive(Clone, Copy)]
pub(crate) struct MoeLayer {
    /// Size of the vocabulary, if tokens name their experts.
    pub(crate) hashed_vocab: Option<usize>,
    /// Limits of the activation in routed experts and in shared ones; infinite for none.
    pub(crate) swiglu_limits: [f32; 2],
}

impl MoeLayer {
    /// A layer whose router chooses, without limits.
    pub(crate) const PLAIN: Self = Self { hashed_vocab: None, swiglu_limits: [f32::INFINITY; 2] };
}

impl Moe {
    pub(crate) fn load(
        weights: &LayerBinder<'_>,
        config: &MoeConfig,
        hidden: usize,
        layer: MoeLayer,
    ) -> Result<Self, Error> {
        let [routed_limit, shared_limit] = layer.swiglu_limits;
        let per_token = config.num_experts_per_tok;
        let (count, width) = (config.n_routed_experts, config.moe_intermediate_size);
        let shared_width = config.n_shared_experts * width;
        let spec = RouterSpec {
            scoring: config.scoring_func,
            n_group: config.n_group,
            topk_group: config.topk_group,
            group_score: config.group_score,
            num_experts_per_tok: config.num_experts_per_tok,
            norm_topk_prob: config.norm_topk_prob,
            routed_scaling_factor: config.routed_scaling_factor,
            e_score_correction_bias: weights.optional_vector("exp_probs_b.bias", count)?,
        };
        Ok(Self {
            gate: weights.matrix("ffn_gate_inp.weight", count, hidden)?,
            spec,
            tid2eid: layer
                .hashed_vocab
                .map(|vocab| weights.ids("ffn_gate_tid2eid.weight", vocab, per_token, count))
                .transpose()?,
            experts: weights.experts(count, hidden, width, routed_limit)?,
            shared_experts: (shared_width > 0)
                .then(|| weights.feed_forward("_shexp", hidden, shared_width, shared_limit))
                .transpose()?,
        })
    }

    /// Experts that are on their way from disk are waited for last: the shared ones, then those in memory go first. Each of the
    /// `following` layers comes with what is known of its input so far, which is looked at where that helps.
    #[rustfmt::skip]
    pub(crate) fn forward<'a>(
        &self,
        cpu: &Cpu,
        h: &Act,
        tokens: &[TokenId],
        following: impl Iterator<Item = (&'a Self, impl FnOnce() -> Act)>,
    ) -> Result<Act, Error> {
        let routing = self.route(cpu, h, tokens);                                        // [T, E]  s, g  (13)-(16)
        let mut routed = cpu.expert_sum(h, &routing);
        let mut fetch = self.experts.fetch(routed.needed());
        for ((layer, input), distance) in following.zip(1..=FORESEEN_LAYERS) {
            layer.foresee(cpu, input, tokens, distance);
        }
        let shared = self.shared_experts.as_ref().map(|shared| cpu.feed_forward(h, shared));
        while let Some(batch) = fetch.next_batch()? {
            routed.add(&batch.networks);
        }
        let mut y = routed.finish();                                                     // [T, D]        (12)
        if let Some(shared) = &shared {
            cpu.add(&mut y, shared);
        }
        Ok(y)
    }

    fn route(&self, cpu: &Cpu, h: &Act, tokens: &[TokenId]) -> Routing {
        let logits = cpu.matmul(h, &self.gate);
        match &self.tid2eid {
            None => cpu.route(&logits, &self.spec),
            Some(table) => {
                let chosen: Vec<u32> = tokens.iter().flat_map(|token| table.row(token.idx())).collect();
                cpu.route_to(&logits, &self.spec, &chosen)
            }
        }
    }

    /// Reads ahead while the layer `distance` before this one computes: all experts of the next layer, if so many tokens choose that
    /// each is chosen; for a few tokens those that this router would choose for what is known of the input that it will see.
    fn foresee(&self, cpu: &Cpu, input: impl FnOnce() -> Act, tokens: &[TokenId], distance: usize) {
        let (choices, k) = (tokens.len() * self.spec.num_experts_per_tok, self.spec.num_experts_per_tok);
        if choices >= CHOICES_FOR_ALL * self.gate.rows() {
            if distance == 1 {
                self.experts.read_all_ahead();
            }
        } else if tokens.len() <= FORESEEN_TOKENS && self.experts.is_incomplete() {
            let routing = self.route(cpu, &input(), tokens);
            self.experts
                .forecast(distance, routing.experts.into_iter().enumerate().map(|(i, id)| (id, i % k)));
        }
    }
}
