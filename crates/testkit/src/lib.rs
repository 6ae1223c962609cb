//! For tests only: f64 oracles, golden-file reader, GGUF writer, seeded generators.
