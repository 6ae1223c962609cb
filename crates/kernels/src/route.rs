//! The router of a mixture of experts: which experts a token goes to, and with what weight.
//!
//! Shapes    logits [T, E] f32, from an f32 product: a rounding here flips experts near ties
//! Order     the chosen experts stand best first, ties by the lower id; their outputs are summed in that order
//! Source    DeepSeek-V2 (arXiv 2405.04434, section 2.2) for softmax and group-limited routing; DeepSeek-V3 (arXiv
//!           2412.19437, equations 12 to 16) for sigmoid scores with a correction bias; DeepSeek-V4 (arXiv 2606.19348) for the root
//!           of softplus and for experts that the token itself names

use crate::act::Act;
use crate::math::{exp, sigmoid};

/// How logits become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// Softmax over all experts (V2).
    Softmax,
    /// The logistic function of each (V3).
    Sigmoid,
    /// The square root of softplus, `ln(1 + e^x)`, of each (V4).
    SqrtSoftplus,
}

/// How the score of a group of experts is made from those of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupScore {
    /// The best member (V2); members of groups not kept count as 0.
    Max,
    /// The sum of the two best (V3); members of groups not kept cannot be chosen.
    Top2Sum,
}

/// Everything that makes one model's routing differ from another's.
#[derive(Clone, Debug)]
pub struct RouterSpec {
    /// How logits become scores.
    pub scoring: Scoring,
    /// Number of groups of consecutive experts; 1 for routing without groups.
    pub n_group: usize,
    /// Number of groups whose experts may be chosen.
    pub topk_group: usize,
    /// How a group is scored.
    pub group_score: GroupScore,
    /// Number of experts a token goes to.
    pub num_experts_per_tok: usize,
    /// Whether the chosen weights are divided by their sum.
    pub norm_topk_prob: bool,
    /// What the weights are multiplied with at the end.
    pub routed_scaling_factor: f32,
    /// Added to the scores to choose by, not to weigh by.
    pub e_score_correction_bias: Option<Vec<f32>>,
}

/// For each token its experts and their weights, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// Number of experts of each token.
    pub per_token: usize,
    /// `[T, per_token]` expert ids.
    pub experts: Vec<u32>,
    /// `[T, per_token]` weights.
    pub weights: Vec<f32>,
}

/// Routes every token.
///
/// # Panics
/// If the spec does not fit the number of experts; configurations are checked when a model is loaded.
#[must_use]
pub fn route(logits: &Act, spec: &RouterSpec) -> Routing {
    let expert_count = logits.cols();
    assert!(spec.n_group > 0 && expert_count.is_multiple_of(spec.n_group), "whole groups of experts");
    assert!(spec.num_experts_per_tok <= expert_count && spec.topk_group <= spec.n_group, "enough experts");
    let mut routing =
        Routing { per_token: spec.num_experts_per_tok, experts: Vec::new(), weights: Vec::new() };
    for token in 0..logits.rows() {
        route_token(logits.row(token), spec, &mut routing);
    }
    routing
}

/// Gives every token the experts that `chosen` names, `[T, num_experts_per_tok]`, weighed as if the router had chosen them.
///
/// # Panics
/// If there are not as many, or one does not exist.
#[must_use]
pub fn route_to(logits: &Act, spec: &RouterSpec, chosen: &[u32]) -> Routing {
    assert_eq!(chosen.len(), logits.rows() * spec.num_experts_per_tok, "the experts of every token");
    let mut routing =
        Routing { per_token: spec.num_experts_per_tok, experts: Vec::new(), weights: Vec::new() };
    for (token, chosen) in chosen.chunks_exact(spec.num_experts_per_tok).enumerate() {
        let chosen: Vec<usize> = chosen.iter().map(|&expert| expert as usize).collect();
        weigh(&scores(logits.row(token), spec.scoring), &chosen, spec, &mut routing);
    }
    routing
}

fn scores(logits: &[f32], scoring: Scoring) -> Vec<f32> {
    match scoring {
        Scoring::Softmax => softmax(logits),
        Scoring::Sigmoid => logits.iter().map(|&x| sigmoid::<false>(x)).collect(),
        Scoring::SqrtSoftplus => logits.iter().map(|&x| softplus(x).sqrt()).collect(),
    }
}

/// `ln(1 + e^x)`, by way of `e^-|x|`, which never overflows.
fn softplus(x: f32) -> f32 {
    x.max(0.0) + exp::<false>(-x.abs()).ln_1p()
}

fn route_token(logits: &[f32], spec: &RouterSpec, routing: &mut Routing) {
    let scores = scores(logits, spec.scoring);
    let mut choice = scores.clone();
    if let Some(bias) = &spec.e_score_correction_bias {
        choice.iter_mut().zip(bias).for_each(|(score, bias)| *score += bias);
    }
    if spec.n_group > 1 {
        mask_groups(&mut choice, spec);
    }
    weigh(&scores, &top_k(&choice, spec.num_experts_per_tok), spec, routing);
}

fn weigh(scores: &[f32], chosen: &[usize], spec: &RouterSpec, routing: &mut Routing) {
    let mut weights: Vec<f32> = chosen.iter().map(|&expert| scores[expert]).collect();
    if spec.norm_topk_prob {
        let sum = weights.iter().sum::<f32>() + 1e-20;
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
    routing.experts.extend(chosen.iter().map(|&expert| expert as u32));
    routing.weights.extend(weights.iter().map(|weight| weight * spec.routed_scaling_factor));
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let mut scores: Vec<f32> = logits.iter().map(|&x| exp::<false>(x - max)).collect();
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    scores
}

/// Takes the experts of all but the best groups out of the choice.
fn mask_groups(choice: &mut [f32], spec: &RouterSpec) {
    let group_len = choice.len() / spec.n_group;
    let (group_scores, masked): (Vec<f32>, f32) = match spec.group_score {
        GroupScore::Max => (
            choice.chunks(group_len).map(|g| g.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b))).collect(),
            0.0,
        ),
        GroupScore::Top2Sum => {
            let top_2 = |group: &[f32]| top_k(group, 2.min(group.len())).iter().map(|&i| group[i]).sum();
            (choice.chunks(group_len).map(top_2).collect(), f32::NEG_INFINITY)
        }
    };
    let kept = top_k(&group_scores, spec.topk_group);
    for (group, members) in choice.chunks_mut(group_len).enumerate() {
        if !kept.contains(&group) {
            members.fill(masked);
        }
    }
}

/// The indices of the `k` largest scores, best first, ties by the lower index.
fn top_k(scores: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let by_score = |&a: &usize, &b: &usize| scores[b].total_cmp(&scores[a]).then(a.cmp(&b));
    if k < order.len() {
        order.select_nth_unstable_by(k, by_score);
        order.truncate(k);
    }
    order.sort_unstable_by(by_score);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> RouterSpec {
        RouterSpec {
            scoring: Scoring::Sigmoid,
            n_group: 1,
            topk_group: 1,
            group_score: GroupScore::Top2Sum,
            num_experts_per_tok: 2,
            norm_topk_prob: false,
            routed_scaling_factor: 1.0,
            e_score_correction_bias: None,
        }
    }

    #[test]
    fn the_bias_chooses_but_does_not_weigh() {
        let logits = Act::from_vec(1, 4, vec![0.0, 1.0, 2.0, -1.0]);
        let with_bias = RouterSpec { e_score_correction_bias: Some(vec![0.0, 0.0, 0.0, 5.0]), ..spec() };
        let routing = route(&logits, &with_bias);
        assert_eq!(routing.experts, [3, 2]);
        assert!(
            (routing.weights[0] - 1.0 / (1.0 + 1f32.exp())).abs() < 1e-6,
            "sigmoid(-1), without the bias"
        );
        let normed = RouterSpec { norm_topk_prob: true, routed_scaling_factor: 2.5, ..with_bias };
        assert!((route(&logits, &normed).weights.iter().sum::<f32>() - 2.5).abs() < 1e-5);
    }

    #[test]
    fn groups_limit_the_choice_by_sum_of_two_or_by_max() {
        // Groups {0,1} {2,3}: the best single expert is 0, the best pair is (2, 3).
        let logits = Act::from_vec(1, 4, vec![3.0, -9.0, 2.0, 2.0]);
        let grouped = RouterSpec { n_group: 2, ..spec() };
        assert_eq!(route(&logits, &grouped).experts, [2, 3]);
        let by_max = RouterSpec { scoring: Scoring::Softmax, group_score: GroupScore::Max, ..grouped };
        assert_eq!(route(&logits, &by_max).experts, [0, 1], "the other group counts as 0, below exp(-12)");
    }

    #[test]
    fn a_softmax_sums_to_one_and_ties_go_to_the_lower_id() {
        let spec = RouterSpec { scoring: Scoring::Softmax, num_experts_per_tok: 4, ..spec() };
        let routing = route(&Act::from_vec(2, 4, vec![1.0, 2.0, 2.0, 0.0, 5.0, 5.0, 5.0, 5.0]), &spec);
        assert_eq!(routing.experts, [1, 2, 0, 3, 0, 1, 2, 3]);
        assert!((routing.weights[..4].iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn given_experts_are_weighed_by_their_scores() {
        let logits = Act::from_vec(2, 3, vec![0.5, 40.0, -30.0, 1.0, 2.0, 3.0]);
        let spec = RouterSpec {
            scoring: Scoring::SqrtSoftplus,
            norm_topk_prob: true,
            routed_scaling_factor: 1.5,
            e_score_correction_bias: Some(vec![9.0; 3]),
            ..spec()
        };
        let routing = route_to(&logits, &spec, &[0, 1, 2, 0]);
        assert_eq!(routing.experts, [0, 1, 2, 0]);
        let score = |x: f64| x.exp().ln_1p().sqrt();
        let (a, b) = (score(0.5), score(40.0));
        assert!((f64::from(routing.weights[0]) - 1.5 * a / (a + b)).abs() < 1e-6, "{:?}", routing.weights);
        let (a, b) = (score(3.0), score(1.0));
        assert!((f64::from(routing.weights[2]) - 1.5 * a / (a + b)).abs() < 1e-6, "{:?}", routing.weights);
        assert!((f64::from(softplus(-30.0)) / (-30f64).exp().ln_1p() - 1.0).abs() < 1e-6, "small ones stay");
    }

    #[test]
    fn broken_weights_give_some_choice_and_no_panic() {
        let routing = route(&Act::from_vec(1, 4, vec![f32::NAN, f32::INFINITY, 0.0, f32::NAN]), &spec());
        assert_eq!(routing.experts.len(), 2);
    }
}
