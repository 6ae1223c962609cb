//! From logits to a token.
//!
//! In this order, as users of other local engines know it: what may come at all, logit bias, penalties, top-k, top-p, min-p,
//! temperature, draw. A pure function of the logits, the tokens so far and the parameters: the n-th draw of a seed does not
//! depend on how the tokens before it were made.
//!
//! Numerics  probabilities in f64 over tokens sorted by logit, ties by the lower id

use std::collections::HashMap;

use shoal_base::{Prng, TokenId};

use crate::request::{SamplingParams, TokenSet};

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

    /// The token to follow `so_far`, given the logits `[vocabulary]`, out of `allowed` if that is given. Logits that are not
    /// numbers are never chosen unless there is no other. `None` if no token is allowed.
    pub fn sample(
        &mut self,
        logits: &[f32],
        so_far: &[TokenId],
        allowed: Option<&TokenSet>,
    ) -> Option<TokenId> {
        // A draw for each token, greedy or not: changing the temperature midway keeps the others' draws.
        let draw = self.prng.next_f64();
        let mut logits: Vec<f32> =
            logits.iter().map(|x| if x.is_nan() { f32::NEG_INFINITY } else { *x }).collect();
        self.adjust(&mut logits, so_far);
        let all = logits.iter().enumerate().map(|(id, &logit)| Candidate { id: id as u32, logit });
        let may = |candidate: &Candidate| allowed.is_none_or(|set| set.contains(TokenId(candidate.id)));
        let all = all.filter(may);
        if self.params.temperature == 0.0 {
            return all
                .reduce(|best, next| if next.logit > best.logit { next } else { best })
                .map(|c| TokenId(c.id));
        }
        let candidates = self.candidates(all.collect());
        (!candidates.is_empty()).then(|| draw_one(&candidates, f64::from(self.params.temperature), draw))
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

    /// What remains of `all` after top-k, top-p and min-p, best first; one at the least, if there is any.
    fn candidates(&self, mut all: Vec<Candidate>) -> Vec<Candidate> {
        let params = &self.params;
        let by_logit = |a: &Candidate, b: &Candidate| b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id));
        if params.top_k > 0 && params.top_k < all.len() {
            all.select_nth_unstable_by(params.top_k - 1, by_logit);
            all.truncate(params.top_k);
        }
        all.sort_unstable_by(by_logit);
        if all.is_empty() {
            return all;
        }
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

/// How likely a token was, before anything of [`SamplingParams`] came in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logprob {
    /// The token.
    pub token: TokenId,
    /// The natural logarithm of its probability.
    pub logprob: f64,
}

/// How likely the chosen token was, and the most likely ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// The chosen token.
    pub chosen: Logprob,
    /// The most likely tokens, the likeliest first.
    pub top: Vec<Logprob>,
}

impl Logprobs {
    /// Of `chosen` and the `count` most likely tokens under the softmax of `logits`.
    #[must_use]
    pub fn of(logits: &[f32], chosen: TokenId, count: usize) -> Self {
        let max = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let sum: f64 = logits.iter().map(|&x| (f64::from(x) - f64::from(max)).exp()).sum();
        let of = |id: usize| Logprob {
            token: TokenId(id as u32),
            logprob: f64::from(logits[id]) - f64::from(max) - sum.ln(),
        };
        let by_logit = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
        let mut top: Vec<usize> = (0..logits.len()).collect();
        if count < top.len() {
            top.select_nth_unstable_by(count, by_logit);
            top.truncate(count);
        }
        top.sort_unstable_by(by_logit);
        Self { chosen: of(chosen.idx()), top: top.into_iter().map(of).collect() }
    }
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
            let token = sampler.sample(logits, &[], None).expect("one");
            counts[token.idx()] += 1.0 / 20_000.0;
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
        assert_eq!(Sampler::new(SamplingParams::greedy()).sample(&logits, &[], None), Some(TokenId(1)));
    }

    #[test]
    fn each_filter_keeps_what_it_says() {
        let logits = [8f32, 4.0, 2.0, 1.0].map(f32::ln);
        let kept = |params: SamplingParams| {
            let all = logits.iter().zip(0..).map(|(&logit, id)| Candidate { id, logit }).collect();
            Sampler::new(params).candidates(all).iter().map(|c| c.id).collect::<Vec<_>>()
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
            Sampler::new(params).sample(&logits, &so_far, None).expect("one").0
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

    #[test]
    fn logprobs_are_those_of_the_softmax() {
        let logits = [1f32.ln(), 2f32.ln(), f32::NEG_INFINITY, 5f32.ln()];
        let got = Logprobs::of(&logits, TokenId(0), 2);
        assert!((got.chosen.logprob - (1.0f64 / 8.0).ln()).abs() < 1e-6);
        let tops: Vec<u32> = got.top.iter().map(|top| top.token.0).collect();
        assert_eq!(tops, [3, 1]);
        assert!((got.top[0].logprob - (5.0f64 / 8.0).ln()).abs() < 1e-6);
        assert_eq!(Logprobs::of(&logits, TokenId(3), 0).top, []);
        assert_eq!(Logprobs::of(&logits, TokenId(3), 9).top.len(), 4);
    }

    proptest! {
        #[test]
        fn any_logits_give_a_token_of_the_vocabulary_and_a_seed_repeats(
            bits in prop::collection::vec(any::<u32>(), 1..40), seed in any::<u64>(), top_k in 0..5usize,
            set in any::<u32>(), is_greedy in any::<bool>(),
        ) {
            let logits: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            let temperature = if is_greedy { 0.0 } else { 0.8 };
            let params = SamplingParams { seed, top_k, temperature, ..SamplingParams::default() };
            let draw = |set| Sampler::new(params.clone()).sample(&logits, &[], set);
            prop_assert!(draw(None).is_some_and(|token| token.idx() < logits.len()));
            prop_assert_eq!(draw(None), draw(None));
            let set = TokenSet { bits: vec![set] };
            match draw(Some(&set)) {
                Some(token) => prop_assert!(set.contains(token) && token.idx() < logits.len()),
                None => prop_assert!((0..logits.len() as u32).all(|id| !set.contains(TokenId(id)))),
            }
        }
    }
}
