//! One step: the tokens that go through the model together.
//!
//! Any mix of sequences and of prompt and generated tokens makes a step. What a token yields does not depend on
//! its company: sums run per token, attention sees only the token's own sequence.

use std::ops::Range;

use shoal_base::{BlockId, TokenId};
use shoal_kernels::Act;
use shoal_kernels::attention::AttendSpan;
use shoal_kernels::rope::RopeTable;

/// Whether tokens belong to a prompt or were generated.
///
/// MLA attends in its expanded form in the first case and in its absorbed form in the second. The two are equal on
/// paper and differ in the last bits, so the choice follows the token's origin and never the size of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Tokens of a prompt, many at a time.
    Prefill,
    /// A generated token.
    Decode,
}

/// Consecutive tokens of one sequence within a step.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    /// Their rows in the step.
    pub rows: Range<usize>,
    /// Position of the first in its sequence.
    pub first_pos: usize,
    /// The sequence's blocks; they cover the position of the last.
    pub blocks: &'a [BlockId],
    /// Where the tokens come from.
    pub phase: Phase,
}

impl<'a> Span<'a> {
    /// The positions of its tokens.
    pub(crate) fn positions(&self) -> Range<usize> {
        self.first_pos..self.first_pos + self.rows.len()
    }

    pub(crate) fn attend(&self) -> AttendSpan<'a> {
        AttendSpan { rows: self.rows.clone(), first_pos: self.first_pos, blocks: self.blocks }
    }
}

/// Tokens that go through the model together.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// All tokens, span after span.
    pub tokens: &'a [TokenId],
    /// Which tokens belong to which sequence; they cover `tokens` without gap or overlap.
    pub spans: Vec<Span<'a>>,
    /// Rows whose logits are wanted, in the order they are wanted.
    pub logits: &'a [usize],
}

impl Step<'_> {
    /// The position of every token in its sequence.
    pub(crate) fn positions(&self) -> Vec<u32> {
        let positions = self.spans.iter().flat_map(Span::positions);
        positions.map(|position| position as u32).collect()
    }

    /// Panics where the spans do not tile the step: that is a mistake of the scheduler, not of its input.
    pub(crate) fn check(&self) {
        let mut next = 0;
        for span in &self.spans {
            assert_eq!(span.rows.start, next, "spans tile the step");
            next = span.rows.end;
        }
        assert_eq!(next, self.tokens.len(), "spans cover the step");
        assert!(self.logits.iter().all(|&row| row < next), "logits of rows of the step");
    }
}

/// What a step yields.
#[derive(Clone, Debug)]
pub struct Output {
    /// The wanted logits, `[wanted rows, vocabulary]`.
    pub logits: Act,
    /// What a draft layer goes on from, for all rows, if that was asked for: see [`crate::Hidden`].
    pub hidden: Option<Act>,
}

/// What every layer of a step shares.
pub(crate) struct StepContext<'a> {
    pub(crate) tokens: &'a [TokenId],
    pub(crate) spans: &'a [Span<'a>],
    pub(crate) positions: Vec<u32>,
    pub(crate) rope: RopeTable,
}
