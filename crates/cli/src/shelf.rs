//! The models of the catalogue for a server: what is here, and fetching in the background.
//!
//! Each model that is fetched has a thread, which ends when the file is whole, when it is told to leave off, or with the process; what has
//! come stays either way, and the next attempt goes on from there (`shoal_hub`).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shoal_base::Bytes;
use shoal_checkpoint::{Checkpoint, Source};
use shoal_hub::{Cache, Catalogue, Model, Progress, PullOptions, pull};
use shoal_server::{CatalogueEntry, CatalogueError, Holding};

use crate::environment::Environment;
use crate::machine::available_memory;
use crate::resolve::{cache, find, pull_options};
use crate::terminal::sentence;

/// The catalogue, the cache folder, and what is on its way between them.
pub(crate) struct Shelf {
    cache: Cache,
    options: PullOptions,
    /// The model that this machine should have first.
    proposed: Option<&'static str>,
    fetching: Mutex<HashMap<&'static str, Fetching>>,
    /// What answers now, if it is of the catalogue.
    served: Mutex<Option<&'static str>>,
}

/// One attempt at fetching.
struct Fetching {
    is_over: bool,
    leave_off: Arc<AtomicBool>,
    /// When, and how much there was.
    started: (Instant, u64),
    /// Bytes of all files, once that is known.
    total_bytes: Option<u64>,
    error: Option<String>,
}

impl Shelf {
    pub(crate) fn new(environment: &Environment) -> Arc<Self> {
        Arc::new(Self {
            cache: cache(environment),
            options: pull_options(environment),
            proposed: proposed(available_memory()),
            fetching: Mutex::default(),
            served: Mutex::default(),
        })
    }

    /// Hears what answers from now on. Whatever it was called, it is the model in whose folder its files are.
    pub(crate) fn serves(&self, checkpoint: &Checkpoint) {
        let folders = checkpoint.sources().iter().filter_map(|source| match source {
            Source::File { path, .. } => path.canonicalize().ok()?.parent().map(Path::to_owned),
            Source::Static(_) | Source::Computed(_) => None,
        });
        let folders: Vec<PathBuf> = folders.collect();
        let is_in = |model: &&Model| {
            self.cache.model_dir(model).canonicalize().is_ok_and(|folder| folders.contains(&folder))
        };
        let model = Catalogue::builtin().models().iter().find(is_in);
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = model.map(|model| model.name);
    }

    fn fetching(&self) -> MutexGuard<'_, HashMap<&'static str, Fetching>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_served(&self, model: &Model) -> bool {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) == Some(model.name)
    }

    fn entry(&self, model: &Model) -> CatalogueEntry {
        let here_bytes = self.cache.held_bytes(model);
        let fetching = self.fetching();
        let attempt = fetching.get(model.name);
        let is_coming = attempt.is_some_and(|attempt| !attempt.is_over);
        let known_bytes: Option<u64> = model.files.iter().map(|file| file.bytes).sum();
        let is_here = !is_coming && self.cache.locate(model).is_some();
        let state = match here_bytes {
            _ if is_here => Holding::Here,
            _ if is_coming => Holding::Fetching,
            0 => Holding::Absent,
            _ => Holding::Part,
        };
        let rate = |attempt: &Fetching| {
            let (since, there) = attempt.started;
            here_bytes.saturating_sub(there) as f64 / since.elapsed().as_secs_f64().max(1e-3)
        };
        CatalogueEntry {
            name: model.name.to_owned(),
            description: model.description.to_owned(),
            parameters: model.parameters.to_owned(),
            licence: model.licence.to_owned(),
            memory: model.memory.to_owned(),
            state,
            here_bytes,
            total_bytes: if is_here {
                Some(here_bytes)
            } else {
                known_bytes.or(attempt.and_then(|attempt| attempt.total_bytes))
            },
            bytes_per_s: attempt.filter(|_| is_coming).map(rate),
            error: attempt.filter(|_| !is_here).and_then(|attempt| attempt.error.clone()),
            served: self.is_served(model),
            proposed: self.proposed == Some(model.name),
        }
    }

    /// Fetches `model` to the end, or until it is told to leave off.
    fn run(&self, model: &'static Model, leave_off: &AtomicBool) {
        let mut report = |progress: Progress<'_>| {
            // The length of one file says nothing of several.
            if progress.file_count == 1
                && let Some(attempt) = self.fetching().get_mut(model.name)
            {
                attempt.total_bytes = progress.total_bytes;
            }
            if leave_off.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let result = pull(model, &self.cache, &self.options, &mut report);
        if let Some(attempt) = self.fetching().get_mut(model.name) {
            attempt.is_over = true;
            attempt.error = match result {
                Ok(_) | Err(shoal_hub::Error::Cancelled { .. }) => None,
                Err(error) => Some(sentence(&error.into())),
            };
        }
    }
}

/// The model called `name`, by this name alone: no alias, so that each has one address.
fn named(name: &str) -> Result<&'static Model, CatalogueError> {
    let found = find(&Catalogue::builtin(), name).ok().filter(|model| model.name == name);
    found.ok_or_else(|| CatalogueError::Unknown(format!("there is no model `{name}` in the catalogue")))
}

/// The largest model that `memory` holds with a third to spare. Those that need experts from a drive are for people who know that.
fn proposed(memory: Option<Bytes>) -> Option<&'static str> {
    let catalogue = Catalogue::builtin();
    let needs = |model: &Model| model.memory.parse::<Bytes>().ok().map(|bytes| bytes.0 / 2 * 3);
    let fits = |model: &&Model| needs(model).zip(memory).is_some_and(|(needs, memory)| needs <= memory.0);
    catalogue.models().iter().filter(fits).max_by_key(|model| needs(model)).map(|model| model.name)
}

/// What a [`Shelf`] is for a server: it has to be shared with the threads that fetch.
pub(crate) struct Shared(pub(crate) Arc<Shelf>);

impl shoal_server::Catalogue for Shared {
    fn entries(&self) -> Vec<CatalogueEntry> {
        Catalogue::builtin().models().iter().map(|model| self.0.entry(model)).collect()
    }

    fn fetch(&self, name: &str) -> Result<(), CatalogueError> {
        let model = named(name)?;
        let leave_off = Arc::new(AtomicBool::new(false));
        let attempt = Fetching {
            is_over: false,
            leave_off: Arc::clone(&leave_off),
            started: (Instant::now(), self.0.cache.held_bytes(model)),
            total_bytes: None,
            error: None,
        };
        let mut fetching = self.0.fetching();
        if fetching.get(model.name).is_some_and(|attempt| !attempt.is_over) {
            return Err(CatalogueError::Refused(format!("`{name}` is being fetched already")));
        }
        fetching.insert(model.name, attempt);
        let shelf = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("shoal-fetch".to_owned());
        if let Err(error) = thread.spawn(move || shelf.run(model, &leave_off)) {
            fetching.remove(model.name);
            return Err(CatalogueError::Failed(format!("cannot fetch `{name}`: {error}")));
        }
        Ok(())
    }

    fn pause(&self, name: &str) -> Result<(), CatalogueError> {
        let model = named(name)?;
        match self.0.fetching().get(model.name) {
            Some(attempt) if !attempt.is_over => {
                attempt.leave_off.store(true, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(CatalogueError::Refused(format!("`{name}` is not being fetched"))),
        }
    }

    fn remove(&self, name: &str) -> Result<(), CatalogueError> {
        let model = named(name)?;
        if self.0.is_served(model) {
            return Err(CatalogueError::Refused(format!(
                "`{name}` answers here; let another model answer first"
            )));
        }
        if self.0.fetching().get(model.name).is_some_and(|attempt| !attempt.is_over) {
            return Err(CatalogueError::Refused(format!("`{name}` is being fetched; leave off first")));
        }
        self.0.cache.remove(model).map_err(|error| CatalogueError::Failed(sentence(&error.into())))?;
        self.0.fetching().remove(model.name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proposed_fits_with_room_to_spare() {
        let of = |gib: u64| proposed(Some(Bytes(gib << 30)));
        assert_eq!(of(0), None);
        assert_eq!(of(1), Some("smollm2-135m"));
        assert_eq!(of(9), Some("r1-distill-llama-8b"));
        assert_eq!(of(2000), Some("r1-distill-llama-70b"));
        assert_eq!(proposed(None), None);
    }
}
