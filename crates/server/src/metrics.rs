//! What goes on here, in numbers, for those who watch: `/metrics`, in Prometheus' text format.
//!
//! What vLLM counts as well stands under vLLM's names, which dashboards, routers and autoscalers know; what only this engine has, such as
//! what goes between disk and memory, under `shoal_`. The engine's thread writes, the server's reads; every number is an atomic.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use shoal_engine::{Engine, StepReport};

use crate::Rates;
use crate::error::ApiError;
use crate::state;
use crate::worker::Done;

type Ratio = Gauge<f64, AtomicU64>;
type Seconds = Counter<f64, AtomicU64>;

/// Upper bounds of the ranges that times are counted in, in seconds: machines at hand take 5 ms to half an hour.
const TIMES: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ending {
    finished_reason: &'static str,
}

/// The numbers.
pub(crate) struct Metrics {
    registry: Registry,
    running: Gauge,
    waiting: Gauge,
    kv_usage: Ratio,
    kv_kept: Ratio,
    prompt_tokens: Counter,
    generation_tokens: Counter,
    prefix_queries: Counter,
    prefix_hits: Counter,
    ended: Family<Ending, Counter>,
    first_token: Histogram,
    next_token: Histogram,
    whole: Histogram,
    refused: Counter,
    weight_bytes: Counter,
    disk_bytes: Counter,
    disk_wait: Seconds,
    expert_hits: Counter,
    expert_misses: Counter,
    drafted: Counter,
    accepted: Counter,
}

impl Metrics {
    /// All at zero, for a model of this name.
    pub(crate) fn new(model: &str, rates: Option<Rates>, block_len: usize, block_count: usize) -> Self {
        let labels = [("model_name".into(), model.to_owned().into())];
        let metrics = Self {
            registry: Registry::with_labels(labels.into_iter()),
            running: Gauge::default(),
            waiting: Gauge::default(),
            kv_usage: Ratio::default(),
            kv_kept: Ratio::default(),
            prompt_tokens: Counter::default(),
            generation_tokens: Counter::default(),
            prefix_queries: Counter::default(),
            prefix_hits: Counter::default(),
            ended: Family::default(),
            first_token: Histogram::new(TIMES),
            next_token: Histogram::new(TIMES),
            whole: Histogram::new(TIMES),
            refused: Counter::default(),
            weight_bytes: Counter::default(),
            disk_bytes: Counter::default(),
            disk_wait: Seconds::default(),
            expert_hits: Counter::default(),
            expert_misses: Counter::default(),
            drafted: Counter::default(),
            accepted: Counter::default(),
        };
        metrics.registered(block_len, block_count).with_rates(rates)
    }

    /// What the machine gives stands beside what is taken of it: `rate(shoal_disk_read_bytes_total)` over
    /// `shoal_drive_bytes_per_second` is the duty of the drive, and likewise with weights and memory.
    fn with_rates(mut self, rates: Option<Rates>) -> Self {
        let Some(Rates { memory_bytes_per_s, drive_bytes_per_s }) = rates else { return self };
        let mut say = |name: &str, help: &str, rate: f64| {
            let gauge = Ratio::default();
            gauge.set(rate);
            self.registry.register(name, help, gauge);
        };
        say("shoal_memory_bytes_per_second", "What memory gives", memory_bytes_per_s);
        if let Some(rate) = drive_bytes_per_s {
            say("shoal_drive_bytes_per_second", "What the drive gives", rate);
        }
        self
    }

    fn registered(mut self, block_len: usize, block_count: usize) -> Self {
        let registry = &mut self.registry;
        registry.register("vllm:num_requests_running", "Requests being answered", self.running.clone());
        registry.register("vllm:num_requests_waiting", "Requests waiting for room", self.waiting.clone());
        registry.register("vllm:kv_cache_usage_perc", "Share of KV blocks in use", self.kv_usage.clone());
        registry.register("vllm:prompt_tokens", "Tokens of prompts read", self.prompt_tokens.clone());
        registry.register("vllm:generation_tokens", "Tokens generated", self.generation_tokens.clone());
        registry.register(
            "vllm:prefix_cache_queries",
            "Tokens of prompts looked up",
            self.prefix_queries.clone(),
        );
        registry.register(
            "vllm:prefix_cache_hits",
            "Of those, tokens that were known",
            self.prefix_hits.clone(),
        );
        registry.register("vllm:request_success", "Requests ended, by why", self.ended.clone());
        registry.register(
            "vllm:time_to_first_token_seconds",
            "Until the first token",
            self.first_token.clone(),
        );
        registry.register("vllm:inter_token_latency_seconds", "From token to token", self.next_token.clone());
        registry.register("vllm:e2e_request_latency_seconds", "Until the last token", self.whole.clone());
        let sizes = Family::<Vec<(&'static str, String)>, Gauge>::default();
        let labels = vec![("block_size", block_len.to_string()), ("num_gpu_blocks", block_count.to_string())];
        sizes.get_or_create(&labels).set(1);
        registry.register("vllm:cache_config_info", "Sizes of the KV cache", sizes);
        registry.register(
            "shoal_kv_kept_ratio",
            "Share of KV blocks kept of ended requests",
            self.kv_kept.clone(),
        );
        registry.register("shoal_requests_refused", "Requests told to come back", self.refused.clone());
        registry.register("shoal_weight_read_bytes", "Weights read from memory", self.weight_bytes.clone());
        registry.register("shoal_disk_read_bytes", "Experts read from disk", self.disk_bytes.clone());
        registry.register("shoal_disk_wait_seconds", "Time waited for the disk", self.disk_wait.clone());
        registry.register("shoal_expert_hits", "Experts found in memory", self.expert_hits.clone());
        registry.register("shoal_expert_misses", "Experts not found there", self.expert_misses.clone());
        registry.register("vllm:spec_decode_num_draft_tokens", "Tokens guessed ahead", self.drafted.clone());
        registry.register(
            "vllm:spec_decode_num_accepted_tokens",
            "Of those, tokens that came",
            self.accepted.clone(),
        );
        self
    }

    /// After a step of the engine.
    pub(crate) fn stepped(&self, report: &StepReport, engine: &Engine, running: usize, waiting: usize) {
        self.running.set(running as i64);
        self.waiting.set(waiting as i64);
        let blocks = engine.blocks();
        let share = |count: usize| count as f64 / blocks.total().max(1) as f64;
        self.kv_usage.set(share(blocks.total() - blocks.free_count() - blocks.kept_count()));
        self.kv_kept.set(share(blocks.kept_count()));
        self.weight_bytes.inc_by(report.work.weight_bytes);
        self.disk_bytes.inc_by(report.traffic.read_bytes);
        self.disk_wait.inc_by(report.traffic.waited.as_secs_f64());
        self.expert_hits.inc_by(report.traffic.hits);
        self.expert_misses.inc_by(report.traffic.misses);
        self.drafted.inc_by(report.drafted as u64);
        self.accepted.inc_by(report.accepted as u64);
    }

    /// A request's first token, so long after it was taken up.
    pub(crate) fn first_token(&self, after: Duration) {
        self.first_token.observe(after.as_secs_f64());
    }

    /// Another token, so long after the last.
    pub(crate) fn next_token(&self, after: Duration) {
        self.next_token.observe(after.as_secs_f64());
    }

    /// A request has ended.
    pub(crate) fn ended(&self, why: &'static str, done: &Done, after: Duration) {
        self.ended.get_or_create(&Ending { finished_reason: why }).inc();
        self.whole.observe(after.as_secs_f64());
        self.prompt_tokens.inc_by(done.prompt_tokens as u64);
        self.generation_tokens.inc_by(done.completion_tokens as u64);
        self.prefix_queries.inc_by(done.prompt_tokens as u64);
        self.prefix_hits.inc_by(done.cached_tokens as u64);
    }

    /// A request found no place.
    pub(crate) fn refused(&self) {
        self.refused.inc();
    }
}

/// `/metrics`.
pub(crate) async fn show(
    State(state): State<Arc<state::State>>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let mut text = String::new();
    encode(&mut text, &state.metrics.registry).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
