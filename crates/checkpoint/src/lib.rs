//! GGUF model files to validated, named views; no maths.
