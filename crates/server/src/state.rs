//! What all requests share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{SystemTime, UNIX_EPOCH};

use shoal_base::TokenId;
use shoal_engine::SamplingParams;
use shoal_text::tools::CallFormat;
use shoal_text::{GrammarCompiler, PromptStyle, Tokenizer};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::call_texts::CallTexts;
use crate::error::ApiError;
use crate::guard::Caller;
use crate::metrics::Metrics;
use crate::responses_store::ResponseStore;
use crate::worker::{Job, Place};
use crate::{Catalogue, Planner, ServeOptions, Service};

/// Memory for the bodies of all requests together, until they are understood: of the longest ones, nearly four.
pub(crate) const BODIES_BYTES_MAX: usize = 32 << 20;

pub(crate) struct State {
    pub(crate) name: String,
    aliases: Vec<String>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) style: PromptStyle,
    /// How the model writes calls of functions.
    pub(crate) call_format: CallFormat,
    pub(crate) sampling: SamplingParams,
    pub(crate) end_tokens: Vec<TokenId>,
    /// Most tokens of a prompt and its answer.
    pub(crate) context_len: usize,
    pub(crate) is_ready: AtomicBool,
    /// When this began, in seconds since 1970: what a model's `created` says.
    pub(crate) started: u64,
    /// Answers that later requests go on from.
    pub(crate) responses: Arc<ResponseStore>,
    /// The letters in which calls were written, for clients that send them back as values.
    pub(crate) call_texts: Arc<CallTexts>,
    pub(crate) metrics: Arc<Metrics>,
    /// What would run here.
    pub(crate) planner: Option<Planner>,
    /// What may be fetched.
    pub(crate) catalogue: Option<Arc<dyn Catalogue>>,
    /// The model that is to answer instead, and who waits for it.
    next: Mutex<Option<String>>,
    has_next: Notify,
    jobs: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
    places_per_key: usize,
    places_by_key: Mutex<HashMap<Caller, Arc<Semaphore>>>,
    /// Kibibytes that bodies may still take.
    bodies: Arc<Semaphore>,
    requests: AtomicU64,
    /// Made when the first answer has to look like something: it takes a moment.
    grammars: OnceLock<Option<GrammarCompiler>>,
}

impl State {
    pub(crate) fn new(
        service: Service,
        jobs: mpsc::Sender<Job>,
        metrics: Arc<Metrics>,
        context_len: usize,
        options: &ServeOptions,
    ) -> Self {
        let Service { name, aliases, tokenizer, style, sampling, planner, catalogue, .. } = service;
        let ids = (0..tokenizer.vocab_len() as u32).map(TokenId);
        let call_format = style.call_format(&tokenizer);
        let end_tokens = ids.filter(|&id| tokenizer.is_end(id)).collect();
        Self {
            name,
            aliases,
            tokenizer,
            style,
            call_format,
            sampling,
            end_tokens,
            context_len,
            is_ready: AtomicBool::new(true),
            started: now(),
            responses: Arc::default(),
            call_texts: Arc::default(),
            metrics,
            planner,
            catalogue,
            next: Mutex::default(),
            has_next: Notify::new(),
            jobs,
            places: Arc::new(Semaphore::new(options.places)),
            places_per_key: options.places_per_key,
            places_by_key: Mutex::default(),
            bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX >> 10)),
            requests: AtomicU64::new(0),
            grammars: OnceLock::new(),
        }
    }

    /// Whether `asked` is this model.
    pub(crate) fn is_called(&self, asked: &str) -> bool {
        asked == self.name || self.aliases.iter().any(|alias| alias == asked || alias == "*")
    }

    /// A place among those who run or wait, and among those of the same caller.
    ///
    /// # Errors
    /// If all are taken.
    pub(crate) fn take_place(&self, caller: &Caller) -> Result<Place, ApiError> {
        let own = {
            let mut by_key = self.places_by_key.lock().unwrap_or_else(PoisonError::into_inner);
            // There are no more callers than keys.
            let own = || Arc::new(Semaphore::new(self.places_per_key));
            Arc::clone(by_key.entry(caller.clone()).or_insert_with(own))
        };
        let own = own.try_acquire_owned().map_err(|_| ());
        let place = own.and_then(|own| {
            let all = Arc::clone(&self.places).try_acquire_owned().map_err(|_| ())?;
            Ok(Place::new(all, own))
        });
        place.map_err(|()| {
            self.metrics.refused();
            ApiError::busy()
        })
    }

    /// Room for a body of `bytes` among all that are being read and understood.
    ///
    /// # Errors
    /// If others have it.
    pub(crate) fn take_body_share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let kibibytes = (bytes >> 10) as u32 + 1;
        Arc::clone(&self.bodies).try_acquire_many_owned(kibibytes).map_err(|_| ApiError::busy())
    }

    pub(crate) fn submit(&self, job: Job) -> Result<(), ApiError> {
        self.jobs.send(job).map_err(|_| {
            // Whoever asks whether this server is ready is told the truth from now on.
            self.is_ready.store(false, Ordering::SeqCst);
            ApiError::internal("the engine has ended".to_owned())
        })
    }

    /// Lets the model called `name` answer, after what runs.
    pub(crate) fn change_to(&self, name: String) {
        self.is_ready.store(false, Ordering::SeqCst);
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
        self.has_next.notify_one();
    }

    /// Waits until another model is to answer.
    pub(crate) async fn has_next(&self) {
        self.has_next.notified().await;
    }

    /// The model that is to answer instead.
    pub(crate) fn next(&self) -> Option<String> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What makes grammars for this model.
    ///
    /// # Errors
    /// If its vocabulary has no token that ends an answer.
    pub(crate) fn grammars(&self) -> Result<&GrammarCompiler, ApiError> {
        let made = self.grammars.get_or_init(|| GrammarCompiler::new(&self.tokenizer).ok());
        let missing = "this model's answers cannot be given a format: it has no token that ends them";
        made.as_ref().ok_or_else(|| ApiError::internal(missing.to_owned()))
    }

    /// Whether answers are split into reasoning and what is said.
    pub(crate) const fn splits_reasoning(&self) -> bool {
        !matches!(self.style, PromptStyle::Plain { .. })
    }

    /// A name for a request that no other has while the server runs.
    pub(crate) fn next_id(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
