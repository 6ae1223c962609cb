//! The mixture's sum, `y_t = sum_k g_tk E_k(x_t)`, whose experts may come in any order and in any company.
//!
//! An expert that is in memory computes while another is still read from disk. So that the answer does not depend on
//! who came first, every token's result of every expert is kept apart, in a row of its own, and only the end adds them up,
//! in the order of the token's routing.

use crate::act::Act;
use crate::elementwise::add_scaled;
use crate::matmul::{Input, Product};
use crate::ops::{Cpu, FeedForward};
use crate::route::Routing;

/// A sum some of whose experts may be missing still: [`Cpu::expert_sum`].
pub struct ExpertSum<'a> {
    cpu: &'a Cpu,
    input: Input<'a>,
    routing: &'a Routing,
    groups: ByExpert,
    /// `[T * K, D]`: the tokens of each expert, expert after expert.
    by_slot: Act,
    added: usize,
}

impl<'a> ExpertSum<'a> {
    pub(crate) fn new(cpu: &'a Cpu, x: &'a Act, routing: &'a Routing) -> Self {
        let by_slot = Act::zeros(routing.experts.len(), x.cols());
        Self { cpu, input: Input::new(x), routing, groups: group_by_expert(routing), by_slot, added: 0 }
    }

    /// The experts that the sum needs, ascending.
    #[must_use]
    pub fn needed(&self) -> &[u32] {
        &self.groups.ids
    }

    /// Runs the tokens of `experts` through them.
    ///
    /// # Panics
    /// If an expert is not one of those needed, or is given twice at once.
    pub fn add(&mut self, experts: &[(u32, FeedForward)]) {
        let Some((_, first)) = experts.first() else { return };
        let _time = self.cpu.time("experts");
        let groups = &self.groups;
        let places: Vec<usize> = experts
            .iter()
            .map(|(id, _)| groups.ids.binary_search(id).expect("an expert that some token chose"))
            .collect();
        let tokens: Vec<&[u32]> = places.iter().map(|&place| groups.tokens[place].as_slice()).collect();
        let lens: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
        let (rows, width) = (lens.iter().sum(), first.down.cols());

        let network = |weights: fn(&FeedForward) -> &crate::Matrix| {
            let products = experts.iter().zip(&tokens);
            products.map(move |((_, ffn), tokens)| Product { w: weights(ffn), x_rows: Some(tokens) })
        };
        let (mut gate, mut up) = (Act::zeros(rows, width), Act::zeros(rows, width));
        let mut outs = parts(&mut gate, &lens);
        outs.extend(parts(&mut up, &lens));
        let products: Vec<_> = network(|ffn| &ffn.gate).chain(network(|ffn| &ffn.up)).collect();
        self.cpu.products_into(&self.input, &products, outs);
        let hidden = self.cpu.swiglu(gate, &up, first.swiglu_limit);

        let hidden_rows = consecutive(&lens);
        let downs = experts.iter().zip(&hidden_rows);
        let downs: Vec<_> =
            downs.map(|((_, ffn), rows)| Product { w: &ffn.down, x_rows: Some(rows) }).collect();
        let all_lens: Vec<usize> = groups.tokens.iter().map(Vec::len).collect();
        let mut all: Vec<_> = parts(&mut self.by_slot, &all_lens).into_iter().map(Some).collect();
        let outs = places.iter().map(|&place| all[place].take().expect("each expert once")).collect();
        self.cpu.products_into(&Input::new(&hidden), &downs, outs);
        self.added += experts.len();
    }

    /// The sum: `[T, D]`.
    ///
    /// # Panics
    /// If an expert was not added, or one was added again.
    #[must_use]
    pub fn finish(self) -> Act {
        assert_eq!(self.added, self.groups.ids.len(), "every expert is added once");
        let _time = self.cpu.time("experts");
        let (per_token, cols) = (self.routing.per_token, self.by_slot.cols());
        let mut out = Act::zeros(self.routing.experts.len() / per_token.max(1), cols);
        self.cpu.in_parts(out.as_mut_slice(), cols, |first, out| {
            let first_slot = first / cols * per_token;
            for (token, out) in out.chunks_exact_mut(cols).enumerate() {
                for slot in first_slot + token * per_token..first_slot + (token + 1) * per_token {
                    let y = self.by_slot.row(self.groups.row_of_slot[slot]);
                    add_scaled(self.cpu.isa(), out, self.routing.weights[slot], y);
                }
            }
        });
        out
    }
}

/// Cuts rows into runs of the given lengths.
fn parts<'a>(act: &'a mut Act, lens: &[usize]) -> Vec<&'a mut [f32]> {
    let cols = act.cols();
    let mut rest = act.as_mut_slice();
    let cut = |&len: &usize| {
        let (part, behind) = std::mem::take(&mut rest).split_at_mut(len * cols);
        rest = behind;
        part
    };
    lens.iter().map(cut).collect()
}

/// Row numbers in runs of the given lengths.
fn consecutive(lens: &[usize]) -> Vec<Vec<u32>> {
    let mut next = 0;
    let run = |&len: &usize| {
        let first = next;
        next += len as u32;
        (first..next).collect()
    };
    lens.iter().map(run).collect()
}

/// The slots of a routing sorted by expert.
struct ByExpert {
    /// The experts, ascending.
    ids: Vec<u32>,
    /// For each of them the tokens it serves.
    tokens: Vec<Vec<u32>>,
    /// For each slot of the routing its row among all tokens of all experts.
    row_of_slot: Vec<usize>,
}

fn group_by_expert(routing: &Routing) -> ByExpert {
    let mut ids = routing.experts.clone();
    ids.sort_unstable();
    ids.dedup();
    let mut tokens: Vec<Vec<u32>> = vec![Vec::new(); ids.len()];
    let place = |(slot, expert): (usize, &u32)| {
        let group = ids.binary_search(expert).expect("all are among the ids");
        tokens[group].push((slot / routing.per_token) as u32);
        (group, tokens[group].len() - 1)
    };
    let places: Vec<(usize, usize)> = routing.experts.iter().enumerate().map(place).collect();
    let mut first_rows = vec![0; ids.len()];
    for group in 1..ids.len() {
        first_rows[group] = first_rows[group - 1] + tokens[group - 1].len();
    }
    let row_of_slot = places.iter().map(|&(group, i)| first_rows[group] + i).collect();
    ByExpert { ids, tokens, row_of_slot }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::ops::tests::{cpu, matrix};
    use shoal_testkit::seeded;

    fn network(seed: u64) -> FeedForward {
        FeedForward {
            gate: matrix(24, 16, seed),
            up: matrix(24, 16, seed + 1),
            down: matrix(16, 24, seed + 2),
            swiglu_limit: 1.5,
        }
    }

    #[test]
    fn the_sum_is_that_of_each_token_alone_whoever_comes_first() {
        let experts = [(1, network(10)), (4, network(20)), (5, network(30))];
        let x = Act::from_vec(3, 16, seeded::normal_f32(1, 48));
        let routing = Routing {
            per_token: 2,
            experts: vec![4, 1, 5, 4, 1, 4],
            weights: vec![0.5, 0.25, 1.0, 2.0, 0.1, 0.9],
        };
        for batches in [vec![vec![0, 1, 2]], vec![vec![2, 0], vec![1]], vec![vec![1], vec![2], vec![0]]] {
            let cpu = cpu(2);
            let mut sum = cpu.expert_sum(&x, &routing);
            assert_eq!(sum.needed(), [1, 4, 5]);
            for batch in &batches {
                sum.add(&batch.iter().map(|&i: &usize| experts[i].clone()).collect::<Vec<_>>());
            }
            let got = sum.finish();
            for t in 0..3 {
                let mut want = Act::zeros(1, 16);
                for slot in 2 * t..2 * t + 2 {
                    let (_, ffn) =
                        experts.iter().find(|(id, _)| *id == routing.experts[slot]).expect("given");
                    let y = cpu.feed_forward(&x.select_rows(&[t]), ffn);
                    add_scaled(Isa::best(), want.row_mut(0), routing.weights[slot], y.row(0));
                }
                assert_eq!(got.row(t), want.row(0), "token {t}, {batches:?}: bit for bit");
            }
        }
    }

    #[test]
    #[should_panic(expected = "every expert is added once")]
    fn a_missing_expert_is_not_forgotten() {
        let (x, cpu) = (Act::zeros(1, 16), cpu(1));
        let routing = Routing { per_token: 2, experts: vec![4, 1], weights: vec![1.0; 2] };
        let mut sum = cpu.expert_sum(&x, &routing);
        sum.add(&[(4, network(1))]);
        let _ = sum.finish();
    }
}
