//! Config to weights to forward: one file per model family, reads like the paper.
