//! Given tokens through the model, logits out: for perplexity, comparisons between engines, and speed.

use shoal_base::{BlockId, TokenId};
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::{Ignore, KvCache, Logits, Model, Observer, Phase, Span, Step};

use crate::Error;

/// One sequence whose tokens are given, not sampled.
pub struct Scorer<'a> {
    model: &'a Model,
    kv: KvCache,
    blocks: Vec<BlockId>,
    len: usize,
    context_len: usize,
}

/// Which rows of logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Those of every token.
    All,
    /// Those of the last token.
    Last,
    /// None.
    Nothing,
}

impl<'a> Scorer<'a> {
    /// An empty sequence of at most `context_len` tokens.
    #[must_use]
    pub fn new(model: &'a Model, context_len: usize) -> Self {
        let block_count = context_len.div_ceil(BLOCK_LEN);
        let sizes = KvSizes::for_sequences(1, context_len);
        let kv = KvCache::new(model.config(), sizes);
        Self { model, kv, blocks: (0..block_count as u32).map(BlockId).collect(), len: 0, context_len }
    }

    /// Forgets all tokens.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Runs `tokens` after those before as one step and yields the wanted logits.
    ///
    /// # Errors
    /// If they do not fit the context or the vocabulary, or the model cannot run.
    pub fn push(&mut self, tokens: &[TokenId], phase: Phase, want: Want) -> Result<Logits, Error> {
        self.push_observed(tokens, phase, want, &mut Ignore)
    }

    /// The same, with someone looking at the hidden states.
    ///
    /// # Errors
    /// As [`Scorer::push`].
    pub fn push_observed(
        &mut self,
        tokens: &[TokenId],
        phase: Phase,
        want: Want,
        observer: &mut dyn Observer,
    ) -> Result<Logits, Error> {
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if self.len + tokens.len() > self.context_len {
            return Err(Error::SequenceTooLong { found: self.len + tokens.len(), limit: self.context_len });
        }
        self.kv.hold_recent([(self.blocks.as_slice(), self.len)].into_iter());
        let vocab_size = self.model.config().common().vocab_size;
        if let Some(place) = tokens.iter().position(|token| token.idx() >= vocab_size) {
            return Err(Error::UnknownToken { found: tokens[place].0, place, vocab_size });
        }
        let rows: Vec<usize> = match want {
            Want::All => (0..tokens.len()).collect(),
            Want::Last => vec![tokens.len() - 1],
            Want::Nothing => Vec::new(),
        };
        let span = Span { rows: 0..tokens.len(), first_pos: self.len, blocks: &self.blocks, phase };
        let step = Step { tokens, spans: vec![span], logits: &rows };
        let logits = self.model.forward(&step, &mut self.kv, observer)?;
        self.len += tokens.len();
        Ok(logits)
    }
}

/// `-ln p(target)` under the softmax of `logits`, in f64.
#[must_use]
pub fn negative_log_likelihood(logits: &[f32], target: TokenId) -> f64 {
    let max = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let sum: f64 = logits.iter().map(|&x| (f64::from(x) - f64::from(max)).exp()).sum();
    sum.ln() + f64::from(max) - f64::from(logits[target.idx()])
}
