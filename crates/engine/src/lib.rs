//! Token ids only: requests, step plans, KV blocks, sampler.
