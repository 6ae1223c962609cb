//! Tokenizer, prompt rendering per model generation, reasoning and stop parsing.
