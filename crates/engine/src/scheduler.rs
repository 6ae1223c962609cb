//! What runs in the next step: a pure function of what is waiting.
//!
//! Every sequence with a generated token to compute gets its one row. The rows that remain go to prompts: a quarter of them to the one
//! that came first, so that it ends, and the rest to the one with the least left to read, so that a short question does not
//! wait for a long document; equals in the order they came. While others write their answers, a step takes in no more than a quarter of
//! the usual: they wait for it. A prompt's chunk may end anywhere: no result depends on where (see `Phase` and
//! `attention`).

/// What one sequence waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceState {
    /// Tokens of the prompt that are not in the KV cache yet.
    pub prompt_left: usize,
    /// Generated tokens that are not: 0 or 1.
    pub decode_left: usize,
    /// Guesses of what follows them.
    pub drafts: usize,
}

/// Rows for one sequence in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Index of the sequence.
    pub sequence: usize,
    /// How many of its tokens run.
    pub tokens: usize,
    /// Whether these are its last waiting tokens, so that logits are wanted after them.
    pub completes: bool,
    /// How many of them are guesses.
    pub drafts: usize,
}

/// Part of a step's rows that goes to the oldest prompt, and part that is left to prompts while answers are written.
const SLICE: usize = 4;

/// Shares out `token_budget` rows among sequences in the order they came.
#[must_use]
pub fn plan(sequences: &[SequenceState], token_budget: usize) -> Vec<Share> {
    let budget = token_budget.max(1);
    let is_decoding = |state: &SequenceState| state.prompt_left == 0 && state.decode_left > 0;
    let decoding = sequences.iter().enumerate().filter(|(_, state)| is_decoding(state)).take(budget);
    let mut shares: Vec<Share> = decoding
        .map(|(sequence, state)| Share { sequence, tokens: state.decode_left, completes: true, drafts: 0 })
        .collect();
    // Guesses come after every answer has its row.
    let mut spare = budget - shares.len();
    for share in &mut shares {
        share.drafts = sequences[share.sequence].drafts.min(spare);
        share.tokens += share.drafts;
        spare -= share.drafts;
    }
    let taken: usize = shares.iter().map(|share| share.tokens).sum();
    let for_prompts = if shares.is_empty() { budget } else { (budget / SLICE).max(1) };
    let mut left = for_prompts.min(budget - taken);
    let mut prompts: Vec<usize> =
        (0..sequences.len()).filter(|&sequence| sequences[sequence].prompt_left > 0).collect();
    let mut rows = vec![0; sequences.len()];
    if let Some(&oldest) = prompts.first() {
        rows[oldest] = left.div_ceil(SLICE).min(sequences[oldest].prompt_left);
        left -= rows[oldest];
    }
    prompts.sort_by_key(|&sequence| sequences[sequence].prompt_left);
    for &sequence in &prompts {
        let more = (sequences[sequence].prompt_left - rows[sequence]).min(left);
        rows[sequence] += more;
        left -= more;
    }
    let with_rows = prompts.into_iter().filter(|&sequence| rows[sequence] > 0);
    shares.extend(with_rows.map(|sequence| {
        let tokens = rows[sequence];
        Share { sequence, tokens, completes: tokens == sequences[sequence].prompt_left, drafts: 0 }
    }));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECODE: SequenceState = SequenceState { prompt_left: 0, decode_left: 1, drafts: 0 };

    const fn prompt(prompt_left: usize) -> SequenceState {
        SequenceState { prompt_left, decode_left: 0, drafts: 0 }
    }

    const fn share(sequence: usize, tokens: usize, completes: bool) -> Share {
        Share { sequence, tokens, completes, drafts: 0 }
    }

    #[test]
    fn answers_go_first_and_make_prompts_wait() {
        let got = plan(&[prompt(5), DECODE, prompt(100), DECODE], 40);
        assert_eq!(got, [share(1, 1, true), share(3, 1, true), share(0, 5, true), share(2, 5, false)]);
        assert_eq!(plan(&[DECODE, prompt(9)], 3), [share(0, 1, true), share(1, 1, false)]);
        assert_eq!(plan(&[DECODE, prompt(9)], 1), [share(0, 1, true)]);
    }

    #[test]
    fn the_oldest_prompt_moves_and_the_shortest_ends() {
        let got = plan(&[prompt(1000), prompt(90), prompt(10)], 80);
        assert_eq!(got, [share(2, 10, true), share(1, 50, false), share(0, 20, false)]);
        let equals = plan(&[prompt(30), prompt(30), prompt(30)], 40);
        assert_eq!(equals, [share(0, 30, true), share(1, 10, false)]);
        assert_eq!(plan(&[prompt(8)], 80), [share(0, 8, true)]);
    }

    #[test]
    fn guesses_take_what_answers_leave() {
        let guessing = SequenceState { drafts: 3, ..DECODE };
        let with = |sequence, drafts| Share { drafts, ..share(sequence, 1 + drafts, true) };
        assert_eq!(plan(&[guessing, DECODE, guessing], 10), [with(0, 3), with(1, 0), with(2, 3)]);
        assert_eq!(plan(&[guessing, DECODE, guessing], 7), [with(0, 3), with(1, 0), with(2, 1)]);
        assert_eq!(plan(&[guessing, prompt(5)], 3), [with(0, 2)]);
        assert_eq!(plan(&[guessing, prompt(5)], 20), [with(0, 3), share(1, 5, true)]);
    }

    #[test]
    fn a_step_always_moves_and_never_exceeds_its_budget() {
        assert_eq!(plan(&[prompt(0)], 8), []);
        assert_eq!(plan(&[prompt(3)], 0), [share(0, 1, false)]);
        for budget in 1..20 {
            let guessing = SequenceState { drafts: 2, ..DECODE };
            for states in
                [&[prompt(7), guessing, prompt(2)][..], &[DECODE; 30], &[guessing; 9], &[prompt(4); 9]]
            {
                let rows: usize = plan(states, budget).iter().map(|share| share.tokens).sum();
                assert!((1..=budget).contains(&rows), "{rows} of {budget}");
            }
        }
    }
}
