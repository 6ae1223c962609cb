//! Speculation: a draft layer guesses what comes next, and one step checks the guess and computes the token after it.
//!
//! ```text
//! step      rows:    last token | guess 1 | guess 2 ...            logits for every row
//! sampling  row 0 -> a token, as without guesses; if it is guess 1, row 1 -> the next, and so on
//! after     the draft layer runs over the rows that turned out right and guesses again
//! ```
//! Each token is drawn from the model's own logits with the draw that is due, so the answer is the one that there would be
//! without guesses, bit for bit; a guess that was wrong costs its row and nothing else. To be right more often, a guess is
//! drawn from the draft's logits with the very draw that the token will be drawn with.
//!
//! **Whether it pays** depends on the machine: a row more costs little where weights come from memory, much where arithmetic binds or
//! experts come from a drive. So the [`Gate`] compares: some steps without guesses, some with, and what a token took in either. Where it
//! does not pay, requests to come are left alone, and only once in a while one is tried again.

use std::collections::VecDeque;
use std::time::Duration;

/// Steps without guesses that are timed first, and again after every [`ROUND`].
const PLAIN_STEPS: u32 = 4;
/// Steps with guesses until there is a verdict.
const TRIAL_STEPS: u32 = 8;
/// Of those, the first, which are not timed.
const COLD_STEPS: u32 = 2;
/// Steps between two looks at what a step without guesses takes.
const ROUND: u32 = 256;
/// Requests that are left alone after the first verdict against guessing, and at the most.
const REST: [u32; 2] = [8, 256];
/// Guessing must be this much faster to go on: what it saves is then more than what looking costs.
const LEAST_GAIN: f64 = 1.03;

/// Decides whether guesses pay.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Until somebody tells how long steps take, nothing speaks against guessing.
    is_timed: bool,
    /// What is done now.
    mode: Mode,
    plain: Times,
    guessed: Times,
    /// Requests that are left alone after the next verdict against guessing.
    rest: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Steps without guesses, so many more.
    Plain(u32),
    /// Steps with guesses until the next look.
    Guess(u32),
    /// None, for so many more requests.
    Rest(u32),
}

/// Times and tokens of the last steps of one kind.
#[derive(Debug, Default)]
struct Times {
    seconds: VecDeque<f64>,
    tokens: VecDeque<f64>,
}

impl Times {
    /// Steps that are remembered.
    const LEN_MAX: usize = 64;

    fn add(&mut self, time: Duration, tokens: usize) {
        if self.seconds.len() == Self::LEN_MAX {
            self.seconds.pop_front();
            self.tokens.pop_front();
        }
        self.seconds.push_back(time.as_secs_f64());
        self.tokens.push_back(tokens as f64);
    }

    /// The median step over the mean of tokens: one step that something else delayed must not decide.
    fn per_token(&self) -> Option<f64> {
        let mut seconds: Vec<f64> = self.seconds.iter().copied().collect();
        seconds.sort_by(f64::total_cmp);
        let tokens = self.tokens.iter().sum::<f64>() / self.tokens.len().max(1) as f64;
        seconds.get(seconds.len() / 2).map(|median| median / tokens.max(1.0))
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            is_timed: false,
            mode: Mode::Plain(PLAIN_STEPS),
            plain: Times::default(),
            guessed: Times::default(),
            rest: REST[0],
        }
    }

    /// Whether a request that comes now takes part.
    pub(crate) fn admits(&mut self) -> bool {
        match &mut self.mode {
            Mode::Rest(0) => {
                self.mode = Mode::Plain(PLAIN_STEPS);
                self.plain = Times::default();
                true
            }
            Mode::Rest(left) => {
                *left -= 1;
                false
            }
            Mode::Plain(_) | Mode::Guess(_) => true,
        }
    }

    /// Whether the next step checks guesses.
    pub(crate) const fn guesses(&self) -> bool {
        !self.is_timed || matches!(self.mode, Mode::Guess(_))
    }

    /// Whether running requests keep their draft rows up to date.
    pub(crate) const fn is_resting(&self) -> bool {
        matches!(self.mode, Mode::Rest(_))
    }

    /// Hears what a step took that yielded `tokens` tokens of answers, read no prompt and checked guesses or did not.
    pub(crate) fn took(&mut self, time: Duration, tokens: usize, guessed: bool) {
        self.is_timed = true;
        match self.mode {
            Mode::Rest(_) => {}
            // Guesses from before.
            Mode::Plain(_) if guessed => {}
            Mode::Plain(left) => {
                self.plain.add(time, tokens);
                self.mode = if left > 1 {
                    Mode::Plain(left - 1)
                } else {
                    self.guessed = Times::default();
                    Mode::Guess(ROUND)
                };
            }
            Mode::Guess(left) => {
                let steps = ROUND + 1 - left;
                // The first find nothing guessed, and the draft layer cold.
                if steps > COLD_STEPS {
                    self.guessed.add(time, tokens);
                }
                if steps >= TRIAL_STEPS && self.gain().is_some_and(|gain| gain < LEAST_GAIN) {
                    self.mode = Mode::Rest(self.rest);
                    self.rest = (2 * self.rest).min(REST[1]);
                } else if left > 1 {
                    self.mode = Mode::Guess(left - 1);
                } else {
                    self.rest = REST[0];
                    self.plain = Times::default();
                    self.mode = Mode::Plain(PLAIN_STEPS);
                }
            }
        }
    }

    /// How much faster a token comes with guesses than without, once both were timed.
    pub(crate) fn gain(&self) -> Option<f64> {
        Some(self.plain.per_token()? / self.guessed.per_token()?.max(1e-12))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs requests of 400 steps on a machine where a step with guesses takes `cost` times as long and yields `tokens` tokens;
    /// the time per token over that without guesses.
    fn time_per_token(cost: f64, tokens: usize, requests: usize) -> f64 {
        let mut gate = Gate::new();
        let (mut time, mut count) = (0.0, 0);
        for _ in 0..requests {
            let admitted = gate.admits();
            for step in 0..400 {
                // The very first step comes before any time is known.
                let guesses = admitted && gate.guesses() && !(step == 0 && count == 0);
                let (seconds, yielded) = if guesses { (cost, tokens) } else { (1.0, 1) };
                time += seconds;
                count += yielded;
                if admitted {
                    gate.took(Duration::from_secs_f64(seconds), yielded, guesses);
                }
            }
        }
        time / count as f64
    }

    #[test]
    fn what_pays_goes_on_and_what_does_not_costs_next_to_nothing() {
        assert!(time_per_token(1.2, 2, 1) < 0.63, "nearly all of 0.6");
        for requests in [1, 4, 40] {
            assert!(time_per_token(1.6, 1, requests) < 1.02, "{requests} requests");
            assert!(time_per_token(3.0, 2, requests) < 1.02, "{requests} requests");
        }
    }

    #[test]
    fn a_verdict_against_is_looked_at_again() {
        let mut gate = Gate::new();
        while !gate.is_resting() {
            let guesses = gate.guesses();
            gate.took(Duration::from_secs(if guesses { 2 } else { 1 }), 1, guesses);
        }
        let waited = (0..).take_while(|_| !gate.admits()).count();
        assert_eq!(waited, REST[0] as usize);
        assert!(!gate.is_resting() && !gate.guesses(), "it begins with steps without guesses");
    }

    #[test]
    fn without_a_clock_nothing_speaks_against_it() {
        let mut gate = Gate::new();
        assert!(gate.admits() && gate.guesses());
    }
}
