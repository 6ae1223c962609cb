//! The command line of a comparison.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::engine::{Engine, Package};

/// How the command is used.
pub(crate) const USAGE: &str = "cargo xtask compare MODEL.gguf [OPTION...]

  --llama-bench PATH        a llama-bench binary to compare with
  --llama-bench-args TEXT   more arguments for the one named last, such as \"--repack 0 -fa 1\"
  --python PATH             the interpreter for the peers that follow; python3 if nothing is said
  --peer PACKAGE[:SETTINGS] a Python package: llama-cpp-python, ik-llama-cpp-python or mistralrs, and how to set it,
                            such as ik-llama-cpp-python:rtr=1,fmoe=1 (see xtask/src/compare/peers)
  --threads N               threads and pinned processors; by default one for each physical core
  --rounds N                runs of each engine that should count, in alternation; 3 if nothing is said
  --shoal PATH              a shoal binary, instead of building one in release mode
  --out FILE                the record, instead of benches/records/DATE-MODEL.json

Peers may be named more than once, with different settings.";

/// Most rounds of one comparison.
const ROUNDS_MAX: usize = 100;

/// What to compare, and how.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) model: PathBuf,
    pub(super) threads: Option<usize>,
    pub(super) rounds: usize,
    pub(super) shoal: Option<PathBuf>,
    pub(super) peers: Vec<Engine>,
    pub(super) out: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments that follow the name of the chore.
    pub(super) fn parse(args: &[String]) -> Result<Self> {
        let (mut models, mut peers) = (Vec::new(), Vec::new());
        let (mut threads, mut rounds, mut shoal, mut out) = (None, 3, None, None);
        let mut python = PathBuf::from("python3");
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} wants a value; usage: {USAGE}"));
            match arg.as_str() {
                "--threads" => threads = Some(count(arg, value()?)?),
                "--rounds" => rounds = count(arg, value()?)?,
                "--shoal" => shoal = Some(PathBuf::from(value()?)),
                "--out" => out = Some(PathBuf::from(value()?)),
                "--python" => python = PathBuf::from(value()?),
                "--peer" => peers.push(peer(&python, value()?)?),
                "--llama-bench" => peers.push(Engine::llama_bench(PathBuf::from(value()?))),
                "--llama-bench-args" => {
                    let last = peers.iter_mut().rev().find(|peer| peer.is_llama_bench());
                    let last =
                        last.context("--llama-bench-args: expected --llama-bench before it, found none")?;
                    last.set(value()?.split_whitespace().map(str::to_owned).collect());
                }
                flag if flag.starts_with('-') => bail!("no flag `{flag}`; usage: {USAGE}"),
                path => models.push(PathBuf::from(path)),
            }
        }
        let [model] = models.as_slice() else {
            bail!("expected one model, found {}; usage: {USAGE}", models.len())
        };
        ensure!(rounds <= ROUNDS_MAX, "--rounds: expected at most {ROUNDS_MAX}, found {rounds}");
        for (i, peer) in peers.iter().enumerate() {
            let twice = peers[..i].iter().any(|other| other.name() == peer.name());
            ensure!(!twice, "expected each peer once, found `{}` twice", peer.name());
        }
        Ok(Self { model: model.clone(), threads, rounds, shoal, peers, out })
    }
}

/// A number from 1.
fn count(flag: &str, text: &str) -> Result<usize> {
    let number = text.parse().ok().filter(|&number| number > 0);
    number.with_context(|| format!("{flag}: expected a number from 1, found `{text}`"))
}

/// `PACKAGE` or `PACKAGE:KEY=VALUE,...`.
fn peer(python: &std::path::Path, text: &str) -> Result<Engine> {
    let (package, settings) = text.split_once(':').unwrap_or((text, ""));
    let package: Package = package.parse()?;
    let settings: Vec<String> =
        settings.split(',').filter(|setting| !setting.is_empty()).map(str::to_owned).collect();
    if let Some(setting) = settings.iter().find(|setting| !setting.contains('=')) {
        bail!("--peer {text}: expected KEY=VALUE, found `{setting}`");
    }
    Ok(Engine::python(python.to_owned(), package, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn peers_are_read_with_their_settings() {
        let options = parse(&[
            "m.gguf",
            "--threads",
            "2",
            "--llama-bench",
            "bin/llama-bench",
            "--python",
            "venv/python",
            "--peer",
            "ik-llama-cpp-python:rtr=1,fmoe=1",
            "--llama-bench-args",
            "--repack 0",
            "--peer",
            "mistralrs",
        ])
        .unwrap();
        let names: Vec<String> = options.peers.iter().map(Engine::name).collect();
        assert_eq!(names, ["llama-bench --repack 0", "ik-llama-cpp-python rtr=1 fmoe=1", "mistralrs"]);
        assert_eq!((options.threads, options.rounds, options.out), (Some(2), 3, None));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &[][..],
            &["a", "b"],
            &["a", "--threads", "0"],
            &["a", "--rounds", "101"],
            &["a", "--fast"],
            &["a", "--peer"],
            &["a", "--peer", "vllm"],
            &["a", "--peer", "mistralrs:fast"],
            &["a", "--peer", "mistralrs", "--peer", "mistralrs"],
            &["a", "--llama-bench-args", "-fa 1"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
