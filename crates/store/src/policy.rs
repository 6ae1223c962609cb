//! Which expert gives way: the one that is expected to be needed last.
//!
//! The clairvoyant optimum (Belady 1966) evicts what is used furthest in the future. The future is half known here:
//! layers come round in a fixed order, so an expert of the layer that has just run is at least a whole round away, one
//! of the next layer may be needed at once. What is not known is in how many rounds its router will choose it; if it
//! does so with probability `p` each round, then after `1/p - 1` rounds more, on average. So
//!
//! ```text
//! expected wait = (layers until its layer runs) + (layers in a round) * (1/p - 1)
//! ```
//! and the longest wait goes. `p` is counted: of the rounds of its layer, in how many was the expert chosen? A round
//! counts [`FADE`] times the one after it, because texts change their subject, and one round more counts as if
//! it had chosen all experts of the layer evenly. The counts belong to experts, not to slots, so they outlive
//! an eviction: an expert that comes and goes is still known to be wanted.
//!
//! With many tokens at a time every expert is chosen every round; then `p` is 1 for all and the order of layers alone
//! decides: what was just used goes first and the rest of the cache survives the sweep, where "least recently used"
//! would throw away every expert just before its turn.
//!
//! Measured on a real routing trace (4 layers of 32 experts, 4 chosen; 3000 tokens; `cargo run --release -p shoal-store
//! --example hit_rate`), hit rates in per cent:
//!
//! | slots for | least recently used | this | clairvoyant |
//! |---|---|---|---|
//! | 1/8 of the experts | 30.7 | 32.6 | 50.3 |
//! | 1/4 | 47.4 | 56.2 | 72.9 |
//! | 1/2 | 78.6 | 82.4 | 91.3 |
//! | 3/4 | 94.5 | 95.0 | 97.9 |
//!
//! Routers that choose evenly, such as those of random weights, leave nothing to know: there every policy hits as often
//! as there are slots.

use crate::slots::Key;

/// What a round weighs against the next: the last twenty rounds or so are what counts.
const FADE: f64 = 0.95;

/// How often each expert was chosen.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    layers: Vec<LayerUsage>,
    layer_of_key: Vec<u32>,
    /// The layer that runs.
    current: usize,
}

#[derive(Debug)]
struct LayerUsage {
    first_key: Key,
    /// Faded count of the rounds in which each expert was chosen.
    chosen: Vec<f64>,
    /// Faded count of all rounds.
    rounds: f64,
    /// Sum of `chosen`.
    chosen_sum: f64,
}

impl Usage {
    /// One more layer of `expert_count` experts; its first key.
    pub(crate) fn add_layer(&mut self, expert_count: usize) -> Key {
        let first_key = self.layer_of_key.len() as Key;
        self.layer_of_key.extend(std::iter::repeat_n(self.layers.len() as u32, expert_count));
        self.layers.push(LayerUsage {
            first_key,
            chosen: vec![0.0; expert_count],
            rounds: 0.0,
            chosen_sum: 0.0,
        });
        first_key
    }

    /// The layer of `keys` runs, and its router chose those.
    pub(crate) fn round(&mut self, keys: &[Key]) {
        let Some(&first) = keys.first() else { return };
        self.current = self.layer_of_key[first as usize] as usize;
        let layer = &mut self.layers[self.current];
        layer.chosen.iter_mut().for_each(|count| *count *= FADE);
        layer.rounds = layer.rounds * FADE + 1.0;
        layer.chosen_sum = layer.chosen_sum * FADE + keys.len() as f64;
        for key in keys {
            layer.chosen[(key - layer.first_key) as usize] += 1.0;
        }
    }

    /// Layers that will run before that of `key` does.
    pub(crate) fn layers_until(&self, key: Key) -> f64 {
        let (layer, round) = (self.layer_of_key[key as usize] as usize, self.layers.len());
        ((layer + round - self.current - 1) % round + 1) as f64
    }

    /// Layers that will run before `key` is needed, on average.
    pub(crate) fn expected_wait(&self, key: Key) -> f64 {
        let layer = &self.layers[self.layer_of_key[key as usize] as usize];
        let round = self.layers.len() as f64;
        // A layer that never ran says nothing of its experts.
        let prior = if layer.rounds == 0.0 {
            0.5
        } else {
            layer.chosen_sum / layer.chosen.len() as f64 / layer.rounds
        };
        let chosen = layer.chosen[(key - layer.first_key) as usize];
        let p = (chosen + prior) / (layer.rounds + 1.0);
        self.layers_until(key) + round * (1.0 / p - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_used_by_all_waits_a_whole_round() {
        let mut usage = Usage::default();
        let firsts = [usage.add_layer(4), usage.add_layer(4), usage.add_layer(4)];
        let all = |first: Key| [first, first + 1, first + 2, first + 3];
        for _ in 0..3 {
            for first in firsts {
                usage.round(&all(first));
            }
        }
        usage.round(&all(firsts[0]));
        let waits = firsts.map(|first| usage.expected_wait(first).round());
        assert_eq!(waits, [3.0, 1.0, 2.0], "layer 0 has just run, layer 1 is next");
    }

    #[test]
    fn an_expert_chosen_more_often_is_expected_sooner_and_the_past_fades() {
        let mut usage = Usage::default();
        let first = usage.add_layer(3);
        for round in 0..60 {
            usage.round(&[first + u32::from(round % 4 == 0)]);
        }
        let wait = |usage: &Usage, expert| usage.expected_wait(first + expert);
        assert!(wait(&usage, 0) < wait(&usage, 1) && wait(&usage, 1) < wait(&usage, 2));
        for _ in 0..60 {
            usage.round(&[first + 2]);
        }
        assert!(wait(&usage, 2) < wait(&usage, 0), "the subject has changed");
    }
}
