//! From logits to a token.
//!
//! In this order, as users of other local engines know it: logit bias, penalties, top-k, top-p, min-p, temperature,
//! draw. A pure function of the logits, the tokens so far and the parameters: the n-th draw of a seed does not
//! depend on how the tokens before it were made.
//!
//! Numerics  probabilities in f64 over tokens sorted by logit, ties by the lower id

use std::collections::HashMap;

use shoal_base::{Prng, TokenId};

use crate::request::SamplingParams;

/// Chooses tokens for one sequence.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SamplingParams,
    prng: Prng,
}

struct Candidate {
    id: u32,
    logit: f32,
}

impl Sampler {
    /// A sampler at the start of its random sequence.
    #[must_use]
    pub const fn new(params: SamplingParams) -> Self {
        let prng = Prng::new(params.seed);
        Self { params, prng }
    }

    /// The token to follow `so_far`, given the logits `[vocabulary]`. Logits that are not numbers are never chosen
    /// unless there is no other.
    ///
    /// # Panics
    /// If there are no logits.
    pub fn sample(&mut self, logits: &[f32], so_far: &[TokenId]) -> TokenId {
        assert!(!logits.is_empty(), "a vocabulary has tokens");
        // A draw for each token, greedy or not: changing the temperature midway keeps the others' draws.
        let draw = self.prng.next_f64();
        let mut logits: Vec<f32> =
            logits.iter().map(|x| if x.is_nan() { f32::NEG_INFINITY } else { *x }).collect();
        self.adjust(&mut logits, so_far);
        if self.params.temperature == 0.0 {
            return argmax(&logits);
        }
        let candidates = self.candidates(&logits);
        draw_one(&candidates, f64::from(self.params.temperature), draw)
    }

    /// Logit bias and penalties.
    fn adjust(&self, logits: &mut [f32], so_far: &[TokenId]) {
        let params = &self.params;
        for (token, bias) in &params.logit_bias {
            if let Some(logit) = logits.get_mut(token.idx()) {
                *logit += bias;
            }
        }
        let none =
            params.repeat_penalty == 1.0 && params.frequency_penalty == 0.0 && params.presence_penalty == 0.0;
        if none {
            return;
        }
        let mut counts: HashMap<TokenId, u32> = HashMap::new();
        for token in &so_far[so_far.len().saturating_sub(params.repeat_last_n)..] {
            *counts.entry(*token).or_default() += 1;
        }
        for (token, count) in counts {
            let Some(logit) = logits.get_mut(token.idx()) else { continue };
            *logit =
                if *logit > 0.0 { *logit / params.repeat_penalty } else { *logit * params.repeat_penalty };
            *logit -= params.frequency_penalty * count as f32 + params.presence_penalty;
        }
    }

    /// What remains after top-k, top-p and min-p, best first; at least one.
    fn candidates(&self, logits: &[f32]) -> Vec<Candidate> {
        let params = &self.params;
        let mut all: Vec<Candidate> =
            logits.iter().enumerate().map(|(id, &logit)| Candidate { id: id as u32, logit }).collect();
        let by_logit = |a: &Candidate, b: &Candidate| b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id));
        if params.top_k > 0 && params.top_k < all.len() {
            all.select_nth_unstable_by(params.top_k - 1, by_logit);
            all.truncate(params.top_k);
        }
        all.sort_unstable_by(by_logit);
        if params.top_p < 1.0 {
            let weights = weights(&all, 1.0);
            let needed = weights.iter().sum::<f64>() * f64::from(params.top_p);
            let mut reached = 0.0;
            let kept = weights.iter().take_while(|weight| {
                let wanted = reached < needed;
                reached += **weight;
                wanted
            });
            let kept = kept.count().max(1);
            all.truncate(kept);
        }
        if params.min_p > 0.0 {
            let floor = all[0].logit + params.min_p.ln();
            let kept = all.iter().take_while(|candidate| candidate.logit >= floor).count().max(1);
            all.truncate(kept);
        }
        all
    }
}

fn argmax(logits: &[f32]) -> TokenId {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    TokenId(best as u32)
}

/// `exp((logit - best) / temperature)` of each candidate; the first is the best.
fn weights(candidates: &[Candidate], temperature: f64) -> Vec<f64> {
    let best = f64::from(candidates[0].logit);
    let weight = |c: &Candidate| {
        let distance = f64::from(c.logit) - best;
        // The best itself weighs 1, also where it is infinite and the distance is not a number.
        if distance.is_nan() { 1.0 } else { (distance / temperature).exp() }
    };
    candidates.iter().map(weight).collect()
}

fn draw_one(candidates: &[Candidate], temperature: f64, draw: f64) -> TokenId {
    let weights = weights(candidates, temperature);
    let mut left = draw * weights.iter().sum::<f64>();
    for (candidate, weight) in candidates.iter().zip(&weights) {
        left -= weight;
        if left < 0.0 {
            return TokenId(candidate.id);
        }
    }
    TokenId(candidates[0].id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open() -> SamplingParams {
        SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplingParams::default() }
    }

    fn shares(params: &SamplingParams, logits: &[f32]) -> Vec<f64> {
        let mut sampler = Sampler::new(params.clone());
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.sample(logits, &[]).idx()] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_temperature() {
        let logits = [0.0, 2f32.ln(), f32::NEG_INFINITY, 1f32.ln()];
        for (got, want) in shares(&open(), &logits).iter().zip([0.25, 0.5, 0.0, 0.25]) {
            assert!((got - want).abs() < 0.015, "{got} {want}");
        }
        let cold = SamplingParams { temperature: 0.5, ..open() };
        assert!((shares(&cold, &logits)[1] - 4.0 / 6.0).abs() < 0.015);
        assert_eq!(Sampler::new(SamplingParams::greedy()).sample(&logits, &[]), TokenId(1));
    }

    #[test]
    fn each_filter_keeps_what_it_says() {
        let logits = [8f32, 4.0, 2.0, 1.0].map(f32::ln);
        let kept = |params: SamplingParams| {
            Sampler::new(params).candidates(&logits).iter().map(|c| c.id).collect::<Vec<_>>()
        };
        assert_eq!(kept(SamplingParams { top_k: 2, ..open() }), [0, 1]);
        assert_eq!(
            kept(SamplingParams { top_p: 0.54, ..open() }),
            [0, 1],
            "8/15 is 0.533: one is not enough"
        );
        assert_eq!(kept(SamplingParams { top_p: 0.53, ..open() }), [0]);
        assert_eq!(kept(SamplingParams { min_p: 0.2, ..open() }), [0, 1, 2]);
        assert_eq!(kept(open()).len(), 4);
    }

    #[test]
    fn penalties_and_bias_move_the_choice() {
        let logits = [2.0, 1.9, -1.0];
        let greedy = SamplingParams::greedy;
        let first = |params: SamplingParams, so_far: &[u32]| {
            let so_far: Vec<TokenId> = so_far.iter().map(|&id| TokenId(id)).collect();
            Sampler::new(params).sample(&logits, &so_far).0
        };
        assert_eq!(first(SamplingParams { repeat_penalty: 1.2, ..greedy() }, &[0]), 1);
        assert_eq!(first(SamplingParams { presence_penalty: 0.2, ..greedy() }, &[0, 0]), 1);
        assert_eq!(first(SamplingParams { frequency_penalty: 0.06, ..greedy() }, &[0]), 0);
        assert_eq!(first(SamplingParams { frequency_penalty: 0.06, ..greedy() }, &[0, 0]), 1);
        assert_eq!(
            first(SamplingParams { frequency_penalty: 0.06, repeat_last_n: 1, ..greedy() }, &[0, 0]),
            0
        );
        assert_eq!(
            first(
                SamplingParams { logit_bias: vec![(TokenId(2), 9.0), (TokenId(77), 1.0)], ..greedy() },
                &[]
            ),
            2
        );
    }

    proptest! {
        #[test]
        fn any_logits_give_a_token_of_the_vocabulary_and_a_seed_repeats(
            bits in prop::collection::vec(any::<u32>(), 1..40), seed in any::<u64>(), top_k in 0..5usize,
        ) {
            let logits: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            let params = SamplingParams { seed, top_k, ..SamplingParams::default() };
            let draw = || Sampler::new(params.clone()).sample(&logits, &[]);
            prop_assert!(draw().idx() < logits.len());
            prop_assert_eq!(draw(), draw());
        }
    }
}
