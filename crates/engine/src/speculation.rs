//! The draft layer at work: what it runs over after a step, and what it guesses for the next. See `draft` for why nothing else changes.

use shoal_base::TokenId;
use shoal_model::{Hidden, Span, Step};

use crate::scheduler::Share;
use crate::{Engine, Error};

/// What the draft layer runs over in one sequence: `len` rows from `first_pos` on, and how many tokens are to be guessed then.
#[derive(Clone, Copy, Debug)]
struct Guess {
    sequence: usize,
    first_pos: usize,
    len: usize,
    wanted: usize,
}

impl Engine {
    /// Whether the draft layer runs over what a share computes: over prompts, and over answers while they are guessed at.
    pub(crate) fn guesses_after(&self, share: &Share) -> bool {
        let sequence = &self.sequences[share.sequence];
        sequence.speculates
            && !self.gate.is_resting()
            && (sequence.computed < sequence.prompt_len || self.gate.guesses())
    }

    /// Runs the draft layer over what a step computed and guesses what comes next, in sequences that go on.
    pub(crate) fn guess(&mut self, hidden: &Hidden, shares: &[Share], before: &[usize], ended: &[usize]) {
        let mut rows = Vec::new();
        let mut batch = Vec::new();
        let mut first_row = 0;
        for (share, &first_pos) in shares.iter().zip(before) {
            let sequence = &mut self.sequences[share.sequence];
            let len = sequence.computed - first_pos;
            if sequence.speculates && !ended.contains(&share.sequence) && len > 0 {
                let room = self.options.context_len - sequence.tokens.len();
                let is_answering = sequence.computed + 1 == sequence.tokens.len();
                let wanted =
                    if is_answering && self.gate.guesses() { self.options.draft_len.min(room) } else { 0 };
                self.kv.take_blocks(sequence, wanted);
                rows.extend(first_row..first_row + len);
                batch.push(Guess { sequence: share.sequence, first_pos, len, wanted });
            }
            first_row += share.tokens;
        }
        if !batch.is_empty() && self.run_drafts(hidden.select_rows(&rows), &batch).is_err() {
            // Guesses are not needed; what keeps them from being made will show where it matters.
            batch.iter().for_each(|guess| self.sequences[guess.sequence].speculates = false);
        }
    }

    fn run_drafts(&mut self, mut hidden: Hidden, batch: &[Guess]) -> Result<(), Error> {
        let mut samplers: Vec<_> = batch.iter().map(|g| self.sequences[g.sequence].sampler.clone()).collect();
        let mut ahead = 0;
        let mut running: Vec<Guess> = batch.to_vec();
        while !running.is_empty() {
            let (mut tokens, mut spans, mut last) = (Vec::new(), Vec::new(), Vec::new());
            for guess in &running {
                let sequence = &self.sequences[guess.sequence];
                let next = guess.first_pos + 1..guess.first_pos + 1 + guess.len;
                let known = sequence.tokens.iter().chain(&sequence.drafts);
                let first = tokens.len();
                tokens.extend(known.skip(next.start).take(next.len()));
                last.push(tokens.len() - 1);
                let (rows, first_pos, phase) = (first..tokens.len(), guess.first_pos, sequence.phase());
                spans.push(Span { rows, first_pos, blocks: &sequence.blocks, phase });
            }
            let step = Step { tokens: &tokens, spans, logits: &last };
            let output = self.model.draft(&step, &hidden, &mut self.kv.cache)?;
            let own = output.hidden.expect("a draft layer hands on what it ends with");
            let mut rows = Vec::new();
            let mut deeper = Vec::new();
            for (i, guess) in running.iter().enumerate() {
                if guess.wanted <= ahead {
                    continue;
                }
                let place = batch.iter().position(|g| g.sequence == guess.sequence).expect("of the batch");
                let sequence = &mut self.sequences[guess.sequence];
                let so_far: Vec<TokenId> = sequence.tokens.iter().chain(&sequence.drafts).copied().collect();
                let Some(token) = samplers[place].sample(output.logits.row(i), &so_far, None) else {
                    continue;
                };
                sequence.drafts.push(token);
                if guess.wanted > ahead + 1 {
                    rows.push(last[i]);
                    deeper.push(Guess { first_pos: guess.first_pos + guess.len, len: 1, ..*guess });
                }
            }
            hidden = own.select_rows(&rows);
            running = deeper;
            ahead += 1;
        }
        Ok(())
    }
}
