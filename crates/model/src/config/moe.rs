//! The mixture of experts, whichever family it belongs to.

use shoal_base::limits::{EXPERT_COUNT_MAX, WIDTH_MAX};
use shoal_kernels::route::{GroupScore, Scoring};

use super::keys::Keys;
use crate::Error;

/// The mixture of experts of a layer.
#[derive(Clone, Debug)]
pub struct MoeConfig {
    /// Experts to choose from (E).
    pub n_routed_experts: usize,
    /// Experts that every token goes to, stored as one network of their joint width.
    pub n_shared_experts: usize,
    /// Experts a token is routed to.
    pub num_experts_per_tok: usize,
    /// Width of one expert.
    pub moe_intermediate_size: usize,
    /// How logits become scores.
    pub scoring_func: Scoring,
    /// How a group of experts is scored.
    pub group_score: GroupScore,
    /// Groups of experts; 1 for none.
    pub n_group: usize,
    /// Groups whose experts may be chosen.
    pub topk_group: usize,
    /// Whether the chosen weights are divided by their sum.
    pub norm_topk_prob: bool,
    /// What the weights are multiplied with.
    pub routed_scaling_factor: f32,
}

impl Keys<'_> {
    pub(super) fn moe(&self) -> Result<MoeConfig, Error> {
        let experts = self.count("expert_count", EXPERT_COUNT_MAX)?;
        let num_experts_per_tok = self.count("expert_used_count", experts as u32)?;
        let scoring_func = match self.metadata.u32(&self.key("expert_gating_func"))?.unwrap_or(1) {
            0 | 1 => Scoring::Softmax,
            2 => Scoring::Sigmoid,
            4 => Scoring::SqrtSoftplus,
            other => {
                let expected = "1 (softmax), 2 (sigmoid) or 4 (root of softplus)";
                return self.bad("expert_gating_func", expected, other);
            }
        };
        let (n_group, topk_group) = self.groups(experts, scoring_func)?;
        let kept_experts = topk_group * (experts / n_group);
        if kept_experts < num_experts_per_tok {
            let expected = format!("groups that hold the {num_experts_per_tok} experts of a token");
            return self.bad("expert_group_used_count", expected, topk_group);
        }
        Ok(MoeConfig {
            n_routed_experts: experts,
            n_shared_experts: self.metadata.u32(&self.key("expert_shared_count"))?.unwrap_or(0) as usize,
            num_experts_per_tok,
            moe_intermediate_size: self.count("expert_feed_forward_length", WIDTH_MAX)?,
            scoring_func,
            group_score: if scoring_func == Scoring::Sigmoid { GroupScore::Top2Sum } else { GroupScore::Max },
            n_group,
            topk_group,
            norm_topk_prob: self.metadata.bool(&self.key("expert_weights_norm"))?.unwrap_or(false),
            routed_scaling_factor: self.positive("expert_weights_scale", 1.0)? as f32,
        })
    }

    /// Groups of experts and how many of them a token may use.
    ///
    /// Files of V2, V3 and R1 from before the keys existed leave the groups out, though those models route by
    /// them; the two released shapes with groups are known by their number of experts and their gating.
    fn groups(&self, experts: usize, scoring: Scoring) -> Result<(usize, usize), Error> {
        let n_group = self.optional_count("expert_group_count", experts as u32)?;
        let topk_group = self.optional_count("expert_group_used_count", experts as u32)?;
        let (n_group, topk_group) = match (n_group, topk_group) {
            (Some(n_group), Some(topk_group)) => (n_group, topk_group),
            (None, None) if experts == 256 && scoring == Scoring::Sigmoid => (8, 4),
            (None, None) if experts == 160 && scoring == Scoring::Softmax => (8, 3),
            _ => (1, 1),
        };
        if !experts.is_multiple_of(n_group) {
            return self.bad("expert_group_count", format!("a divisor of {experts} experts"), n_group);
        }
        if topk_group > n_group {
            return self.bad("expert_group_used_count", format!("at most {n_group}"), topk_group);
        }
        Ok((n_group, topk_group))
    }
}
