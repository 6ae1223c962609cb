//! HTTP in, HTTP out: the API that existing clients speak, over an engine that runs in a thread of its own.
//!
//! ```text
//! request ──▶ guard (host, origin, key) ──▶ chat, … (fields to a prompt) ──▶ worker (the engine's thread)
//! response ◀── answer::whole or answer::stream (segments to JSON) ◀── updates ◀──────────┘
//! ```
//! A request takes a place first; when all are taken it is told to come back, never kept in an unbounded line. A client that
//! goes away drops its end of the updates, and the worker ends its sequence at the next step. Every field of a
//! request is honoured or refused by name (`fields`); every error is one sentence in the dialect of the API (`error`).
//!
//! Four APIs are spoken: OpenAI's `chat`, `text` and `responses`, Anthropic's `messages`. Each has a file that understands its fields and
//! one in `answer` that writes its answers; between them all are a `conversation` with `tools`, a `generation`, and what binds the answer
//! (`constraint`).
//!
//! Reading order: [`Service`] and [`serve`], `connections`, `worker`, `fields`, `generation`, `tools`, `conversation`, `constraint`, `chat`,
//! `text`, `messages`, `responses`, `answer`, `cache_miss`, `catalogue`, `guard`, `error`, `metrics`, `log`, `page`, `tls`.

mod answer;
mod cache_miss;
mod call_texts;
mod catalogue;
mod chat;
mod connections;
mod constraint;
mod conversation;
mod error;
mod fields;
mod generation;
mod guard;
mod log;
mod messages;
mod metrics;
mod models;
mod page;
mod plan;
mod responses;
mod responses_store;
mod state;
mod text;
mod tls;
mod tools;
mod worker;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post};
use shoal_base::TokenId;
use shoal_engine::kv_blocks::BLOCK_LEN;
use shoal_engine::{Engine, SamplingParams};
use shoal_text::{PromptStyle, Tokenizer};

pub use catalogue::{Catalogue, CatalogueEntry, CatalogueError, Holding};
pub use guard::ApiKey;
use guard::Caller;
use log::Log;
use metrics::Metrics;
pub use plan::{Planned, Planner};
use state::State;
pub use tls::{TlsError, TlsFiles};

/// Most bytes of a request.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Memory that a server takes beside its engine at the most: heads of requests, bodies and what is made of them, stored answers,
/// earlier prompts.
pub const MEMORY_MAX: u64 = (connections::CONNECTIONS_MAX * connections::HEAD_BYTES_MAX
    + state::BODIES_BYTES_MAX
    + responses_store::BYTES_MAX
    + call_texts::MEMORY_MAX
    + page::MEMORY_MAX
    + cache_miss::MEMORY_MAX) as u64;

/// What is served.
pub struct Service {
    /// What clients call the model.
    pub name: String,
    /// What else they may call it; `*` is any name.
    pub aliases: Vec<String>,
    /// Its vocabulary.
    pub tokenizer: Tokenizer,
    /// Its form of a conversation.
    pub style: PromptStyle,
    /// How tokens are chosen where a request does not say.
    pub sampling: SamplingParams,
    /// What the machine gives, if it was measured.
    pub rates: Option<Rates>,
    /// What else would run on it, if it was measured for that.
    pub planner: Option<Planner>,
    /// Models that may be fetched, for a server that is reached from its own machine alone.
    pub catalogue: Option<Arc<dyn Catalogue>>,
}

/// What a machine gives: what `/metrics` holds the engine's work against.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Bytes per second from memory.
    pub memory_bytes_per_s: f64,
    /// Bytes per second from the drive with the experts, if there is one.
    pub drive_bytes_per_s: Option<f64>,
}

/// To whom, and how many.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// What clients must show, any of these; without one everyone who reaches the address is served.
    pub keys: Vec<ApiKey>,
    /// Requests that may run or wait at a time with one key.
    pub places_per_key: usize,
    /// Requests that may run or wait at a time.
    pub places: usize,
    /// Encrypts connections; without it they are plain.
    pub tls: Option<TlsFiles>,
    /// Whether a line about each request goes to standard error.
    pub logs: bool,
}

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened to.
    #[error("cannot listen: {0}")]
    Listen(#[source] std::io::Error),
    /// Connections cannot be encrypted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gave no thread, or no way to wait.
    #[error("cannot start: {0}")]
    Start(#[source] std::io::Error),
}

/// Answers requests to `engine` that come to `listener` until the process is asked to end (SIGINT or SIGTERM), or another model is asked
/// for, whose name is given back; then lets the answers that are being written come to their end. A second request to end is obeyed
/// at once.
///
/// # Errors
/// If the address cannot be listened to.
pub fn serve(
    listener: TcpListener,
    engine: Engine,
    service: Service,
    options: &ServeOptions,
) -> Result<Option<String>, Error> {
    let tls = options.tls.as_ref().map(TlsFiles::acceptor).transpose()?;
    listener.set_nonblocking(true).map_err(Error::Listen)?;
    let address = listener.local_addr().map_err(Error::Listen)?;
    let context_len = engine.context_len();
    let metrics = Arc::new(Metrics::new(&service.name, service.rates, BLOCK_LEN, engine.blocks().total()));
    let log = Arc::new(Log::new(options.logs));
    let (jobs, worker) =
        worker::start(engine, service.tokenizer.clone(), Arc::clone(&metrics), Arc::clone(&log))
            .map_err(Error::Start)?;
    let state = Arc::new(State::new(service, jobs, metrics, context_len, options));
    let guard =
        Arc::new(guard::Guard { keys: options.keys.clone(), is_loopback: address.ip().is_loopback() });
    let app = router(Arc::clone(&state), guard, log);
    let asked = Arc::clone(&state);
    // One thread is enough: all it does is hand text about. The others compute.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(Error::Listen)?;
        let ended = async move {
            tokio::select! {
                () = asked_to_end() => {}
                () = asked.has_next() => {}
            }
            asked.is_ready.store(false, Ordering::SeqCst);
            tokio::spawn(async {
                asked_to_end().await;
                std::process::exit(130);
            });
        };
        connections::serve(listener, tls, app, ended).await;
        Ok::<(), Error>(())
    })?;
    drop(runtime);
    let next = state.next();
    drop(state);
    // All handles to it are gone now, so the engine's thread ends.
    let _ = worker.join();
    Ok(next)
}

/// Ends the process if it is asked to end, until this is dropped: for the time in which a model is loaded after another has answered, when
/// signals are not the system's any more.
pub struct EndsWhenAsked {
    _until: tokio::sync::oneshot::Sender<()>,
}

impl EndsWhenAsked {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system gave no thread, or no way to wait.
    pub fn new() -> Result<Self, Error> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        let (until, dropped) = tokio::sync::oneshot::channel::<()>();
        let wait = async {
            tokio::select! {
                () = asked_to_end() => std::process::exit(130),
                _ = dropped => {}
            }
        };
        let thread = std::thread::Builder::new().name("shoal-signals".to_owned());
        thread.spawn(move || runtime.block_on(wait)).map_err(Error::Start)?;
        Ok(Self { _until: until })
    }
}

/// Understands requests and answers none: for fuzzing, and for who wants to know what a request comes to.
pub struct Reader(Arc<State>);

impl Reader {
    /// A reader for a model whose context has `context_len` tokens.
    #[must_use]
    pub fn new(service: Service, context_len: usize) -> Self {
        let metrics = Arc::new(Metrics::new(&service.name, None, BLOCK_LEN, 0));
        let (jobs, _) = std::sync::mpsc::channel();
        let options = ServeOptions { keys: Vec::new(), places_per_key: 0, places: 0, tls: None, logs: false };
        Self(Arc::new(State::new(service, jobs, metrics, context_len, &options)))
    }

    /// The tokens of the prompts that a body to `path` asks to be continued.
    ///
    /// # Errors
    /// In one sentence, what is wrong with it.
    pub fn prompt(&self, path: &str, body: &[u8]) -> Result<Vec<TokenId>, String> {
        let ask = match path {
            "/v1/chat/completions" => chat::ask,
            "/v1/completions" => text::ask,
            "/v1/messages" => messages::ask,
            "/v1/responses" => responses::ask,
            _ => return Err(format!("nothing is asked at `{path}`")),
        };
        let asked = fields::Fields::parse(body).and_then(|fields| ask(&self.0, fields, &Caller::default()));
        asked.map(|ask| ask.prompts.concat()).map_err(|error| error.message().to_owned())
    }
}

fn router(state: Arc<State>, guard: Arc<guard::Guard>, log: Arc<Log>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/assets/{*name}", get(page::asset))
        .route("/openapi.json", get(page::openapi))
        .route("/v1/chat/completions", post(chat::completions))
        .route("/chat/completions", post(chat::completions))
        .route("/v1/completions", post(text::completions))
        .route("/completions", post(text::completions))
        // DeepSeek's own addresses.
        .route("/beta/chat/completions", post(chat::completions))
        .route("/beta/completions", post(text::completions))
        .route("/anthropic/v1/messages", post(messages::create))
        .route("/anthropic/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/responses", post(responses::create))
        .route("/v1/responses/{id}", get(responses::get).delete(responses::delete))
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/metrics", get(metrics::show))
        .route("/tokenize", post(text::tokenize))
        .route("/detokenize", post(text::detokenize))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::one))
        .route("/models", get(models::list))
        .route("/v1/plan", get(plan::show))
        .route("/v1/catalogue", get(catalogue::list))
        .route("/v1/catalogue/{name}", delete(catalogue::remove))
        .route("/v1/catalogue/{name}/fetch", post(catalogue::fetch))
        .route("/v1/catalogue/{name}/pause", post(catalogue::pause))
        .route("/v1/catalogue/{name}/serve", post(catalogue::serve))
        .route("/v1/embeddings", post(models::no_embeddings))
        .route("/health", get(models::health))
        .route("/ready", get(models::ready))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .layer(middleware::from_fn_with_state(log, log::requests))
        .with_state(state)
}

/// Returns when the process is asked to end.
async fn asked_to_end() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}
