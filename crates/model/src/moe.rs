//! The mixture of experts of one layer: `y = sum_k g_k E_k(h) + S(h)`, k over the experts the router chose.
//!
//! Source   DeepSeek-V3 (arXiv 2412.19437) section 2.1.2, equations 12 to 16; V2 (arXiv 2405.04434) section 2.2
//! Letters  T tokens in this step · D hidden_size · E n_routed_experts

use shoal_kernels::ops::FeedForward;
use shoal_kernels::route::RouterSpec;
use shoal_kernels::{Act, Cpu, Matrix};

use crate::Error;
use crate::config::MoeConfig;
use crate::weights::{Experts, LayerBinder};

/// Choices for each expert from which on all are expected to be chosen: with even odds one in fifty is not.
const CHOICES_FOR_ALL: usize = 4;

/// Tokens for which the choice of later layers is forecast.
const FORESEEN_TOKENS: usize = 4;

/// Layers that are forecast.
const FORESEEN_LAYERS: usize = 2;

pub(crate) struct Moe {
    gate: Matrix,
    spec: RouterSpec,
    experts: Experts,
    shared_experts: Option<FeedForward>,
}

impl Moe {
    pub(crate) fn load(weights: &LayerBinder<'_>, config: &MoeConfig, hidden: usize) -> Result<Self, Error> {
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
            experts: weights.experts(count, hidden, width)?,
            shared_experts: (shared_width > 0)
                .then(|| weights.feed_forward("_shexp", hidden, shared_width))
                .transpose()?,
        })
    }

    /// Experts that are on their way from disk are waited for last: the shared ones, then those in memory go first.
    #[rustfmt::skip]
    pub(crate) fn forward<'a>(
        &self,
        cpu: &Cpu,
        h: &Act,
        following: impl Iterator<Item = &'a Self>,
    ) -> Result<Act, Error> {
        let routing = cpu.route(&cpu.matmul(h, &self.gate), &self.spec);                 // [T, E]  s, g  (13)-(16)
        let mut routed = cpu.expert_sum(h, &routing);
        let mut fetch = self.experts.fetch(routed.needed());
        for (layer, distance) in following.zip(1..=FORESEEN_LAYERS) {
            layer.foresee(cpu, h, distance);
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

    /// Reads ahead while the layer `distance` before this one computes, whose input is `h`: all experts of the next layer, if so
    /// many tokens choose that each is chosen; for a few tokens those that this router would choose for `h`, which
    /// has much in common with the input that it will see.
    fn foresee(&self, cpu: &Cpu, h: &Act, distance: usize) {
        let (choices, k) = (h.rows() * self.spec.num_experts_per_tok, self.spec.num_experts_per_tok);
        if choices >= CHOICES_FOR_ALL * self.gate.rows() {
            if distance == 1 {
                self.experts.read_all_ahead();
            }
        } else if h.rows() <= FORESEEN_TOKENS && self.experts.is_incomplete() {
            let routing = cpu.route(&cpu.matmul(h, &self.gate), &self.spec);
            self.experts
                .forecast(distance, routing.experts.into_iter().enumerate().map(|(i, id)| (id, i % k)));
        }
    }
}
