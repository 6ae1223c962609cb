//! One running request: its tokens, how far they are in the KV cache, its blocks.
//!
//! ```text
//! tokens   [ prompt ........ | generated ..... ]
//! KV       [ computed ............. )            computed <= tokens.len()
//! blocks   cover [0, computed); the next step takes more
//! drafts   guesses of what follows `tokens`, to be checked in the next step
//! name     of the tokens before `published`, a whole number of blocks
//! ```

use shoal_base::{BlockId, TokenId};
use shoal_model::Phase;

use crate::prefix::PrefixName;
use crate::request::{Constraint, Request, SequenceId};
use crate::sampler::Sampler;

pub(crate) struct Sequence {
    pub(crate) id: SequenceId,
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) prompt_len: usize,
    pub(crate) drafts: Vec<TokenId>,
    /// Whether it takes part in speculation.
    pub(crate) speculates: bool,
    pub(crate) computed: usize,
    /// Of `computed`, tokens of the prompt that others had computed.
    pub(crate) cached: usize,
    pub(crate) blocks: Vec<BlockId>,
    /// The prefix that ends with the last published block.
    pub(crate) name: PrefixName,
    /// Tokens before the end of that prefix.
    pub(crate) published: usize,
    pub(crate) sampler: Sampler,
    pub(crate) max_tokens: usize,
    pub(crate) end_tokens: Vec<TokenId>,
    pub(crate) constraint: Option<Box<dyn Constraint>>,
    pub(crate) logprobs: Option<usize>,
}

impl Sequence {
    /// A sequence of which nothing is computed.
    pub(crate) fn new(id: SequenceId, request: Request) -> Self {
        Self {
            id,
            prompt_len: request.prompt.len(),
            tokens: request.prompt,
            drafts: Vec::new(),
            speculates: false,
            computed: 0,
            cached: 0,
            blocks: Vec::new(),
            name: PrefixName::root(&request.cache_salt),
            published: 0,
            sampler: Sampler::new(request.sampling),
            max_tokens: request.max_tokens,
            end_tokens: request.end_tokens,
            constraint: request.constraint,
            logprobs: request.logprobs,
        }
    }

    /// What the scheduler sees.
    pub(crate) const fn state(&self) -> crate::scheduler::SequenceState {
        let prompt_left = self.prompt_len.saturating_sub(self.computed);
        crate::scheduler::SequenceState {
            prompt_left,
            decode_left: self.tokens.len() - self.computed - prompt_left,
            drafts: self.drafts.len(),
        }
    }

    /// What there is to say while the prompt is read.
    pub(crate) fn progress(&self) -> crate::Event {
        let computed = self.computed.min(self.prompt_len);
        crate::Event::Prompt(self.id, crate::PromptProgress { computed, cached: self.cached })
    }

    /// Where the next tokens to compute come from.
    pub(crate) const fn phase(&self) -> Phase {
        if self.computed < self.prompt_len { Phase::Prefill } else { Phase::Decode }
    }

    /// What of the prompt may be taken from others: all but the last token, whose logits are wanted.
    pub(crate) fn wanted(&self) -> &[TokenId] {
        &self.tokens[self.computed.min(self.prompt_len - 1)..self.prompt_len - 1]
    }

    pub(crate) const fn generated_len(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }
}
