//! From what a person types to a model: the path of a file or of a folder, `minnow`, or a name of the catalogue.
//!
//! A path is a path if it looks like one or is there. A name is looked up in the cache folder, then fetched. With no
//! name at all it is the small default model; where that one is neither here nor to be had, `minnow`, which is part
//! of this program, answers instead and says so.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use shoal_checkpoint::Checkpoint;
use shoal_hub::{Cache, Catalogue, Model, Progress, PullOptions, pull};

use crate::environment::Environment;
use crate::terminal::sentence;

/// Name of the model inside this program.
pub(crate) const MINNOW: &str = "minnow";

static MINNOW_GGUF: &[u8] = include_bytes!("../assets/minnow.gguf");

/// Opens the model that `name` means.
pub(crate) fn open_model(name: Option<&str>, environment: &Environment) -> anyhow::Result<Checkpoint> {
    let catalogue = Catalogue::builtin();
    match name {
        Some(MINNOW) => Ok(minnow()?),
        Some(name) if looks_like_path(name) => Ok(Checkpoint::open(Path::new(name))?),
        Some(name) => {
            let model = find(&catalogue, name)?;
            Ok(Checkpoint::open(&fetched(model, environment)?)?)
        }
        None => match fetched(catalogue.default_model(), environment) {
            Ok(path) => Ok(Checkpoint::open(&path)?),
            Err(error) => {
                eprintln!("{}", sentence(&error));
                eprintln!(
                    "answering with minnow instead, a tiny model inside this program: it tells little stories and \
                     knows nothing. For a real one, connect once and `shoal pull {}`, or give a GGUF file: \
                     `shoal run FILE`",
                    catalogue.default_model().name
                );
                Ok(minnow()?)
            }
        },
    }
}

/// The same with the draft layer in the file `draft_model`, if there is one.
pub(crate) fn open_with_draft(
    name: Option<&str>,
    draft_model: Option<&Path>,
    environment: &Environment,
) -> anyhow::Result<Checkpoint> {
    let model = open_model(name, environment)?;
    Ok(match draft_model {
        Some(path) => shoal_model::with_draft_layer(model, Checkpoint::open(path)?)?,
        None => model,
    })
}

fn minnow() -> Result<Checkpoint, shoal_checkpoint::Error> {
    Checkpoint::from_static(MINNOW, MINNOW_GGUF)
}

fn looks_like_path(name: &str) -> bool {
    name.contains(['/', '\\']) || name.ends_with(".gguf") || Path::new(name).exists()
}

/// The model called `name`.
pub(crate) fn find(catalogue: &Catalogue, name: &str) -> anyhow::Result<&'static Model> {
    if let Some(model) = catalogue.find(name) {
        return Ok(model);
    }
    match catalogue.suggest(name).as_slice() {
        [] => bail!("no file and no model called `{name}`; `shoal list` shows the names"),
        near => bail!("no file and no model called `{name}`; did you mean {}?", near.join(" or ")),
    }
}

/// Where fetched models are kept.
pub(crate) fn cache(environment: &Environment) -> Cache {
    Cache::new(&environment.cache_dir)
}

/// Where models are fetched from.
pub(crate) fn pull_options(environment: &Environment) -> PullOptions {
    let mut options = PullOptions::default();
    if let Some(endpoint) = &environment.hf_endpoint {
        options.hugging_face.clone_from(endpoint);
    }
    options.token.clone_from(&environment.hf_token);
    options
}

/// The first file of `model`, fetched if it is not here.
pub(crate) fn fetched(model: &Model, environment: &Environment) -> anyhow::Result<PathBuf> {
    let cache = cache(environment);
    if let Some(path) = cache.locate(model) {
        return Ok(path);
    }
    let options = pull_options(environment);
    eprintln!("fetching {} ({}, {})", model.name, model.parameters, model.licence);
    let mut bar = DownloadBar::default();
    let path = pull(model, &cache, &options, &mut |progress| bar.show(&progress));
    bar.end();
    Ok(path?)
}

/// One bar, started anew for each file and source.
#[derive(Default)]
struct DownloadBar {
    bar: Option<(String, ProgressBar)>,
}

impl DownloadBar {
    fn show(&mut self, progress: &Progress<'_>) -> ControlFlow<()> {
        let part = if progress.file_count > 1 {
            format!(" ({} of {})", progress.file_idx + 1, progress.file_count)
        } else {
            String::new()
        };
        let title = format!("{}{part} from {}", progress.file, progress.source);
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != title) {
            self.end();
            let bar = new_bar(&title);
            self.bar = Some((title, bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_length(progress.total_bytes.unwrap_or(progress.done_bytes));
            bar.set_position(progress.done_bytes);
        }
        ControlFlow::Continue(())
    }

    fn end(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(title: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0).with_message(title.to_owned());
    let style = "{msg}\n{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}
