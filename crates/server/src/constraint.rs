//! What an answer must look like, told to the engine token by token.
//!
//! An answer may begin with reasoning, which nothing binds but its length: the grammar begins after the token that closes it. A reasoning
//! that has used up its tokens is closed: then that token is the only one that may come.

use shoal_base::TokenId;
use shoal_engine::{Constraint, TokenSet};
use shoal_text::{Grammar, THINK_CLOSE, THINK_OPEN, Tokenizer};

/// Whether an answer begins with reasoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reasoning {
    /// It does not.
    No,
    /// The prompt has opened it.
    Open,
    /// The model may open it with its first token.
    MayOpen,
}

/// Where an answer is, and what binds it there.
pub(crate) struct Bounds {
    /// The token that opens reasoning, before the first token if it may come.
    opening: Option<TokenId>,
    /// The token that closes reasoning, while it is open or may still be opened.
    closing: Option<TokenId>,
    /// Tokens that reasoning may still take.
    reasoning_left: Option<usize>,
    grammar: Option<Grammar>,
    /// All tokens but those that end an answer: an answer that has to look like something does not end while it reasons.
    going_on: TokenSet,
}

impl Bounds {
    /// The bounds of an answer; `None` if there are none.
    pub(crate) fn of(
        tokenizer: &Tokenizer,
        reasoning: Reasoning,
        reasoning_max: Option<usize>,
        grammar: Option<Grammar>,
    ) -> Option<Box<dyn Constraint>> {
        let (open, close) = (tokenizer.special(THINK_OPEN), tokenizer.special(THINK_CLOSE));
        let (opening, closing) = match reasoning {
            Reasoning::No => (None, None),
            Reasoning::Open => (None, close),
            Reasoning::MayOpen => open.zip(close).unzip(),
        };
        let reasoning_left = reasoning_max.filter(|_| closing.is_some());
        if grammar.is_none() && reasoning_left.is_none() {
            return None;
        }
        let mut going_on = TokenSet { bits: vec![u32::MAX; tokenizer.vocab_len().div_ceil(32)] };
        for id in (0..tokenizer.vocab_len() as u32).map(TokenId).filter(|&id| tokenizer.is_end(id)) {
            going_on.bits[id.idx() / 32] &= !(1 << (id.0 % 32));
        }
        Some(Box::new(Self { opening, closing, reasoning_left, grammar, going_on }))
    }
}

impl Constraint for Bounds {
    fn allowed(&mut self) -> Result<Option<TokenSet>, String> {
        if let (Some(opening), Some(grammar)) = (self.opening, &mut self.grammar) {
            let mut first = TokenSet { bits: grammar.allowed().map_err(cannot_be_kept)? };
            first.insert(opening);
            return Ok(Some(first));
        }
        if let Some(closing) = self.closing {
            return Ok(match (self.reasoning_left, &self.grammar) {
                (Some(0), _) => Some(only(closing)),
                (_, Some(_)) => Some(self.going_on.clone()),
                (_, None) => None,
            });
        }
        let Some(grammar) = &mut self.grammar else { return Ok(None) };
        let bits = grammar.allowed().map_err(cannot_be_kept)?;
        Ok(Some(TokenSet { bits }))
    }

    fn accept(&mut self, token: TokenId) -> Result<(), String> {
        if let Some(opening) = self.opening.take()
            && token != opening
        {
            self.closing = None;
        }
        if let Some(closing) = self.closing {
            if token == closing {
                self.closing = None;
            }
            self.reasoning_left = self.reasoning_left.map(|left| left.saturating_sub(1));
            return Ok(());
        }
        match &mut self.grammar {
            Some(grammar) => grammar.accept(token),
            None => Ok(()),
        }
    }
}

fn only(token: TokenId) -> TokenSet {
    let mut set = TokenSet::default();
    set.insert(token);
    set
}

fn cannot_be_kept(why: String) -> String {
    format!("the format that was asked for cannot be kept: {why}")
}
