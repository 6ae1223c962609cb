//! One running request: its tokens, how far they are in the KV cache, its blocks.
//!
//! ```text
//! tokens   [ prompt ........ | generated ..... ]
//! KV       [ computed ............. )            computed <= tokens.len()
//! blocks   cover [0, computed) and what the next step adds
//! ```

use shoal_base::{BlockId, TokenId};
use shoal_model::Phase;

use crate::request::{Request, SequenceId};
use crate::sampler::Sampler;

pub(crate) struct Sequence {
    pub(crate) id: SequenceId,
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) prompt_len: usize,
    pub(crate) computed: usize,
    pub(crate) blocks: Vec<BlockId>,
    pub(crate) sampler: Sampler,
    pub(crate) max_tokens: usize,
    pub(crate) end_tokens: Vec<TokenId>,
}

impl Sequence {
    /// A sequence whose first `computed` tokens are in `blocks` already.
    pub(crate) fn new(id: SequenceId, request: Request, computed: usize, blocks: Vec<BlockId>) -> Self {
        Self {
            id,
            prompt_len: request.prompt.len(),
            tokens: request.prompt,
            computed,
            blocks,
            sampler: Sampler::new(request.sampling),
            max_tokens: request.max_tokens,
            end_tokens: request.end_tokens,
        }
    }

    /// What the scheduler sees.
    pub(crate) const fn state(&self) -> crate::scheduler::SequenceState {
        let prompt_left = self.prompt_len.saturating_sub(self.computed);
        crate::scheduler::SequenceState {
            prompt_left,
            decode_left: self.tokens.len() - self.computed - prompt_left,
        }
    }

    /// Where the next tokens to compute come from.
    pub(crate) const fn phase(&self) -> Phase {
        if self.computed < self.prompt_len { Phase::Prefill } else { Phase::Decode }
    }

    pub(crate) const fn generated_len(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }
}
