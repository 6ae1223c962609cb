//! `shoal serve`: the model for programs, over HTTP.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use shoal_engine::kv_files::KvFiles;
use shoal_engine::{Engine, EngineOptions};
use shoal_server::{ApiKey, Catalogue, EndsWhenAsked, ServeOptions, Service, TlsFiles, serve};
use shoal_text::PromptStyle;

use crate::args::{SamplingArgs, ServeArgs};
use crate::commands::run::sampling;
use crate::environment::Environment;
use crate::loaded::{Loaded, Measure, Runtime, load};
use crate::planner::served::planner;
use crate::resolve::{MINNOW, open_with_draft};
use crate::shelf::{Shared, Shelf};
use crate::terminal::sentence;

/// Most bytes of a file with keys.
const KEYS_BYTES_MAX: u64 = 64 << 10;

/// Random bytes of a key that is made here.
const MADE_KEY_BYTES: usize = 24;

/// The usual port.
pub(crate) const PORT: u16 = 8080;

pub(crate) fn run(args: &ServeArgs, environment: &Environment) -> anyhow::Result<()> {
    serve_on(args, environment, || listen(args.host, args.port.unwrap_or(PORT)), &|_| {})
}

pub(crate) fn listen(host: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((host, port)).with_context(|| format!("cannot listen on {host}:{port}"))
}

/// Serves on what `listen` yields, until the process is asked to end. `on_ready` hears the address of the page as soon as that is served.
pub(crate) fn serve_on(
    args: &ServeArgs,
    environment: &Environment,
    listen: impl FnOnce() -> anyhow::Result<TcpListener>,
    on_ready: &dyn Fn(String),
) -> anyhow::Result<()> {
    let keys = keys(args, environment)?;
    // Before anything is loaded: who cannot listen need not wait to be told.
    let listener = listen()?;
    let shelf = args.host.is_loopback().then(|| Shelf::new(environment));
    let serving = Serving { args, environment, keys, listener, shelf, on_ready };
    let mut model = args.model.clone();
    let mut before = None;
    let mut is_first = true;
    loop {
        match serving.one(model.as_deref(), is_first) {
            Ok(None) => return Ok(()),
            Ok(Some(next)) => {
                eprintln!("changing to {next}");
                before = Some(model.replace(next));
                is_first = false;
            }
            // Better the one before than none.
            Err(error) => match before.take() {
                None => return Err(error),
                Some(previous) => {
                    eprintln!("{}", sentence(&error));
                    model = previous;
                }
            },
        }
    }
}

/// What stays the same when the model changes.
struct Serving<'a> {
    args: &'a ServeArgs,
    environment: &'a Environment,
    keys: Vec<ApiKey>,
    listener: TcpListener,
    shelf: Option<Arc<Shelf>>,
    on_ready: &'a dyn Fn(String),
}

impl Serving<'_> {
    /// Serves one model until the process is asked to end, or another model is to answer: then that one's name.
    fn one(&self, model: Option<&str>, is_first: bool) -> anyhow::Result<Option<String>> {
        let Self { args, environment, keys, listener, shelf, on_ready } = self;
        let ends_when_asked = if is_first { None } else { Some(EndsWhenAsked::new()?) };
        let address = listener.local_addr().context("the address that was taken")?;
        let listener = listener.try_clone().context("cannot share the address")?;
        let sequences = usize::from(args.parallel);
        let runtime = Runtime::new(&args.runtime, Measure::Known, environment)?
            .for_server(sequences, args.kv_dir.is_some())
            .with_drafts(&args.draft);
        // The draft layer is that of the model which was named with it.
        let draft_model = args.draft.draft_model.as_deref().filter(|_| model == args.model.as_deref());
        let checkpoint = open_with_draft(model, draft_model, environment)?;
        let planner = planner(&checkpoint, &runtime, environment);
        if let Some(shelf) = shelf {
            shelf.serves(&checkpoint);
        }
        let loaded = load(checkpoint, &runtime)?;
        let name = served_name(model, &loaded);
        eprintln!("{}", loaded.division.line());
        let mut options = EngineOptions::for_many(sequences, loaded.context_len);
        options.prefill_chunk = loaded.prefill_chunk;
        options.draft_len = loaded.draft_len;
        let service = Service {
            name: name.clone(),
            planner,
            catalogue: shelf.as_ref().map(|shelf| Arc::new(Shared(Arc::clone(shelf))) as Arc<dyn Catalogue>),
            aliases: args.alias.clone(),
            sampling: sampling(&SamplingArgs::default(), &loaded.style),
            rates: loaded.rates.as_ref().map(|rates| shoal_server::Rates {
                memory_bytes_per_s: rates.bounds.read_bytes_per_s,
                drive_bytes_per_s: rates.drive_bytes_per_s,
            }),
            // Minnow goes on with what it is given.
            style: if loaded.name == MINNOW { PromptStyle::plain(&loaded.tokenizer) } else { loaded.style },
            tokenizer: loaded.tokenizer,
        };
        let mut engine = Engine::new(loaded.model, options);
        if let (Some(folder), Some(identity)) = (&args.kv_dir, &loaded.identity) {
            let files = KvFiles::open(folder, identity, engine.block_bytes(), args.kv_quota)?;
            eprintln!("{} KV blocks of this model are known in {}", files.count(), folder.display());
            engine = engine.with_files(files);
        }
        let serve_options = serve_options(args, keys);
        let scheme = if serve_options.tls.is_some() { "https" } else { "http" };
        eprintln!(
            "serving {name} at {scheme}://{address}/v1, with a page at {scheme}://{address}/ (Ctrl-C ends it)"
        );
        if is_first {
            on_ready(format!("{scheme}://{}/", reachable(address)));
        }
        drop(ends_when_asked);
        Ok(serve(listener, engine, service, &serve_options)?)
    }
}

/// Where a browser of this machine finds what listens on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn serve_options(args: &ServeArgs, keys: &[ApiKey]) -> ServeOptions {
    let files = args.tls_cert.clone().zip(args.tls_key.clone());
    let places = usize::from(args.parallel) + usize::from(args.queue);
    ServeOptions {
        keys: keys.to_vec(),
        places_per_key: args.key_limit.map_or(places, usize::from),
        places,
        tls: files.map(|(certificate, key)| TlsFiles { certificate, key }),
        logs: args.log,
    }
}

/// What clients call the model: as it was called here, or as the file or the folder is.
fn served_name(asked: Option<&str>, loaded: &Loaded) -> String {
    match asked {
        _ if loaded.name == MINNOW => MINNOW.to_owned(),
        None => shoal_hub::Catalogue::builtin().default_model().name.to_owned(),
        Some(asked) => {
            let path = Path::new(asked);
            match path.file_stem().filter(|_| path.extension().is_some_and(|ext| ext == "gguf")) {
                Some(stem) => stem.to_string_lossy().into_owned(),
                None if path.exists() => loaded.name.clone(),
                None => asked.to_owned(),
            }
        }
    }
}

/// The keys that clients must show: what was given, or for an address that others reach, one that is made.
fn keys(args: &ServeArgs, environment: &Environment) -> anyhow::Result<Vec<ApiKey>> {
    let given = match (&args.api_key, &args.api_key_file) {
        (Some(key), _) => Some(vec![key.clone()]),
        (None, Some(file)) => Some(read_keys(file)?),
        (None, None) => environment.api_key.clone().map(|key| vec![key]),
    };
    if let Some(keys) = given {
        let is_bad =
            |key: &String| key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control());
        if keys.is_empty() || keys.iter().any(is_bad) {
            bail!("the API key is empty or has spaces in it; expected one word");
        }
        return Ok(keys.into_iter().map(ApiKey::new).collect());
    }
    if args.host.is_loopback() {
        return Ok(Vec::new());
    }
    let mut bytes = [0; MADE_KEY_BYTES];
    let source = "/dev/urandom";
    std::fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).with_context(|| {
        format!("cannot make an API key from {source}; give one with --api-key-file or SHOAL_API_KEY")
    })?;
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    eprintln!(
        "others reach this address, so clients must show this API key, which is not shown again: {key}"
    );
    Ok(vec![ApiKey::new(key)])
}

fn read_keys(file: &Path) -> anyhow::Result<Vec<String>> {
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(KEYS_BYTES_MAX).read_to_string(&mut text))
        .with_context(|| format!("cannot read API keys from {}", file.display()))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_goes_to_an_address_that_can_be_reached() {
        for (listens, reached) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:1", "[::1]:1"),
            ("192.168.0.7:8080", "192.168.0.7:8080"),
        ] {
            let address = listens.parse().expect("an address");
            assert_eq!(reachable(address).to_string(), reached, "{listens}");
        }
    }
}
