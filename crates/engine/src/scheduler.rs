//! What runs in the next step: a pure function of what is waiting.
//!
//! Every sequence with a generated token to compute gets its one row; then prompts share the rows that remain, in
//! order of arrival. A prompt's chunk may end anywhere: no result depends on where (see `Phase` and `attention`).

/// What one sequence waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceState {
    /// Tokens of the prompt that are not in the KV cache yet.
    pub prompt_left: usize,
    /// Generated tokens that are not: 0 or 1.
    pub decode_left: usize,
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
}

/// Shares out `token_budget` rows.
#[must_use]
pub fn plan(sequences: &[SequenceState], token_budget: usize) -> Vec<Share> {
    let mut left = token_budget.max(1);
    let mut shares = Vec::new();
    for (sequence, state) in sequences.iter().enumerate() {
        if left > 0 && state.prompt_left == 0 && state.decode_left > 0 {
            shares.push(Share { sequence, tokens: state.decode_left, completes: true });
            left -= state.decode_left.min(left);
        }
    }
    for (sequence, state) in sequences.iter().enumerate() {
        let tokens = state.prompt_left.min(left);
        if tokens > 0 {
            shares.push(Share { sequence, tokens, completes: tokens == state.prompt_left });
            left -= tokens;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_goes_first_and_prompts_fill_the_rest_in_order() {
        let prompt = |prompt_left| SequenceState { prompt_left, decode_left: 0 };
        let decode = SequenceState { prompt_left: 0, decode_left: 1 };
        let got = plan(&[prompt(5), decode, prompt(100), prompt(3)], 12);
        let share = |sequence, tokens, completes| Share { sequence, tokens, completes };
        assert_eq!(got, [share(1, 1, true), share(0, 5, true), share(2, 6, false)]);
        assert_eq!(plan(&[prompt(0)], 8), []);
        assert_eq!(plan(&[prompt(3)], 0), [share(0, 1, false)], "a step always moves");
    }
}
