//! What is asked of an engine.

use shoal_base::TokenId;

use crate::Error;

/// Names a request while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// Says which tokens may come next, as an answer is written.
pub trait Constraint: Send {
    /// The tokens that may follow; `None` for all. A token that ends the answer must be among them where it may end.
    ///
    /// # Errors
    /// If that cannot be said: in one sentence, why. The answer ends there.
    fn allowed(&mut self) -> Result<Option<TokenSet>, String>;

    /// Hears which token came.
    ///
    /// # Errors
    /// As [`Constraint::allowed`].
    fn accept(&mut self, token: TokenId) -> Result<(), String>;
}

/// A set of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSet {
    /// One bit for each id, the lowest first; what is beyond is not in the set.
    pub bits: Vec<u32>,
}

impl TokenSet {
    /// Adds `token`.
    pub fn insert(&mut self, token: TokenId) {
        let word = token.idx() / 32;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (token.0 % 32);
    }

    /// Whether `token` is in it.
    #[must_use]
    pub fn contains(&self, token: TokenId) -> bool {
        self.bits.get(token.idx() / 32).is_some_and(|word| word >> (token.0 % 32) & 1 == 1)
    }
}

/// One prompt and how to continue it.
pub struct Request {
    /// Token ids of the prompt.
    pub prompt: Vec<TokenId>,
    /// How the next token is chosen.
    pub sampling: SamplingParams,
    /// Most tokens to generate; the end of the context ends the answer as well.
    pub max_tokens: usize,
    /// Tokens that end the answer; they are not part of it.
    pub end_tokens: Vec<TokenId>,
    /// What the answer must look like, if anything.
    pub constraint: Option<Box<dyn Constraint>>,
    /// For each token of the answer, how likely it and this many others were; `None`: nothing is said of that.
    pub logprobs: Option<usize>,
    /// What was computed for a prompt is used again only for prompts of the same salt.
    pub cache_salt: Vec<u8>,
}

/// How the next token is chosen from the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// 0 takes the most likely token; above, logits are divided by it.
    pub temperature: f32,
    /// Only the `top_k` most likely tokens remain; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens that together reach this probability remain; 1 for all.
    pub top_p: f32,
    /// Only tokens with at least this share of the most likely one's probability remain; 0 for all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens seen lately; 1 for none.
    pub repeat_penalty: f32,
    /// How many of the last tokens count as lately.
    pub repeat_last_n: usize,
    /// Taken from a token's logit for each time it was seen lately.
    pub frequency_penalty: f32,
    /// Taken from a token's logit once if it was seen lately.
    pub presence_penalty: f32,
    /// Added to the logits of single tokens.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Start of the random sequence: the same seed gives the same answer.
    pub seed: u64,
}

impl Request {
    /// A request for `max_tokens` tokens after `prompt`, without further wishes.
    #[must_use]
    pub fn new(prompt: Vec<TokenId>, sampling: SamplingParams, max_tokens: usize) -> Self {
        let (end_tokens, cache_salt) = (Vec::new(), Vec::new());
        Self { prompt, sampling, max_tokens, end_tokens, constraint: None, logprobs: None, cache_salt }
    }
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl SamplingParams {
    /// Always the most likely token.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Checks every number against its range.
    ///
    /// # Errors
    /// If one lies outside.
    pub fn check(&self) -> Result<(), Error> {
        let check = |name, value: f32, low: f32, high: f32, expected| {
            let found = f64::from(value);
            if value >= low && value <= high {
                Ok(())
            } else {
                Err(Error::BadSampling { name, expected, found })
            }
        };
        check("temperature", self.temperature, 0.0, 100.0, "a number from 0 to 100")?;
        check("top_p", self.top_p, f32::MIN_POSITIVE, 1.0, "a number above 0, at most 1")?;
        check("min_p", self.min_p, 0.0, 1.0, "a number from 0 to 1")?;
        check(
            "repeat_penalty",
            self.repeat_penalty,
            f32::MIN_POSITIVE,
            100.0,
            "a number above 0, at most 100",
        )?;
        check("frequency_penalty", self.frequency_penalty, -100.0, 100.0, "a number from -100 to 100")?;
        check("presence_penalty", self.presence_penalty, -100.0, 100.0, "a number from -100 to 100")?;
        for (_, bias) in &self.logit_bias {
            check("logit_bias", *bias, -1000.0, 1000.0, "a number from -1000 to 1000")?;
        }
        Ok(())
    }
}
