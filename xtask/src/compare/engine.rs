//! The engines: how each is started, and how its speeds are read from what it prints.
//!
//! All run the same [`TESTS`], each once uncounted and once timed in a process of its own, and print JSON:
//!
//! ```text
//! shoal bench          a line for each test        {"name": "pp128", "tokens_per_s": {"median": ..}, ..}
//! llama-bench -o json  a list of tests             [{"n_prompt": 128, "n_gen": 0, "avg_ts": .., ..}, ..]
//! a Python package     a line for each test, by a script of `peers/`       {"test": "pp128", "tokens_per_s": ..}
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The tests of `shoal bench`: prompts of 128 and 512 tokens, 32 tokens one by one.
pub(super) const TESTS: [&str; 3] = ["pp128", "pp512", "tg32"];

const LLAMA_SCRIPT: &str = include_str!("peers/llama.py");
const MISTRAL_SCRIPT: &str = include_str!("peers/mistral_rs.py");

/// A program that runs models, with its settings.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    kind: Kind,
    program: PathBuf,
    settings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Shoal,
    LlamaBench,
    Python(Package),
}

/// A Python package that holds an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Package {
    LlamaCpp,
    IkLlamaCpp,
    Mistralrs,
}

impl Package {
    const ALL: [Self; 3] = [Self::LlamaCpp, Self::IkLlamaCpp, Self::Mistralrs];

    fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama-cpp-python",
            Self::IkLlamaCpp => "ik-llama-cpp-python",
            Self::Mistralrs => "mistralrs",
        }
    }
}

impl FromStr for Package {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name);
        let found = Self::ALL.into_iter().find(|package| package.name() == text);
        found.with_context(|| format!("--peer: expected one of {}, found `{text}`", names.join(", ")))
    }
}

/// What an engine printed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Output {
    /// Of shoal: the instructions it uses, its version is asked for separately.
    pub(super) version: Option<String>,
    /// Tokens per second of each test.
    pub(super) tokens_per_s: BTreeMap<String, f64>,
    /// Only from shoal.
    pub(super) roofline: Option<Roofline>,
}

/// What memory allows, as shoal measured it before its tests.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Roofline {
    /// Speed of reading memory, on all threads.
    pub(super) read_gb_per_s: f64,
    /// Bytes of weights that one token of each test takes.
    pub(super) bytes_per_token: BTreeMap<String, f64>,
}

impl Engine {
    pub(super) fn shoal(program: PathBuf) -> Self {
        Self { kind: Kind::Shoal, program, settings: Vec::new() }
    }

    pub(super) fn llama_bench(program: PathBuf) -> Self {
        Self { kind: Kind::LlamaBench, program, settings: Vec::new() }
    }

    pub(super) fn python(program: PathBuf, package: Package, settings: Vec<String>) -> Self {
        Self { kind: Kind::Python(package), program, settings }
    }

    pub(super) fn is_shoal(&self) -> bool {
        self.kind == Kind::Shoal
    }

    pub(super) fn is_llama_bench(&self) -> bool {
        self.kind == Kind::LlamaBench
    }

    /// Replaces the settings.
    pub(super) fn set(&mut self, settings: Vec<String>) {
        self.settings = settings;
    }

    /// What it is called in tables and records: the same engine with other settings is another one.
    pub(super) fn name(&self) -> String {
        let name = match self.kind {
            Kind::Shoal => "shoal",
            Kind::LlamaBench => "llama-bench",
            Kind::Python(package) => package.name(),
        };
        let settings = self.settings.iter().map(|setting| file_name(setting));
        [name.to_owned()].into_iter().chain(settings).collect::<Vec<_>>().join(" ")
    }

    /// The command of one run.
    pub(super) fn command(&self, model: &Path, threads: usize) -> Command {
        let threads = threads.to_string();
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Shoal => {
                command.arg("bench").arg(model).args(["--runs", "1", "--json", "--threads", &threads]);
            }
            Kind::LlamaBench => {
                command.arg("-m").arg(model).args(["-t", &threads, "-p", "128,512", "-n", "32", "-r", "1"]);
                command.args(["-o", "json"]).args(&self.settings);
            }
            Kind::Python(package) => {
                match package {
                    Package::LlamaCpp => command.args(["-c", LLAMA_SCRIPT, "llama_cpp"]),
                    Package::IkLlamaCpp => command.args(["-c", LLAMA_SCRIPT, "ik_llama_cpp"]),
                    Package::Mistralrs => command.args(["-c", MISTRAL_SCRIPT]),
                };
                command.arg(model).arg(threads).args(TESTS).arg("--").args(&self.settings);
            }
        }
        command
    }

    /// The command as a record states it: files without their folders, scripts by name.
    pub(super) fn shown_command(&self, model: &Path, threads: usize) -> String {
        let command = self.command(model, threads);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let shown = words.map(|word| match word.to_string_lossy().as_ref() {
            LLAMA_SCRIPT => "peers/llama.py".to_owned(),
            MISTRAL_SCRIPT => "peers/mistral_rs.py".to_owned(),
            word => file_name(word),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// The speeds in what it printed.
    pub(super) fn read(&self, stdout: &str) -> Result<Output> {
        let output = match self.kind {
            Kind::Shoal => read_shoal(stdout),
            Kind::LlamaBench => read_llama_bench(stdout),
            Kind::Python(_) => read_script(stdout),
        };
        let output =
            output.with_context(|| format!("{}: its output is not what it should be", self.name()))?;
        for test in TESTS {
            let speed = output.tokens_per_s.get(test).copied();
            let found: Vec<&str> = output.tokens_per_s.keys().map(String::as_str).collect();
            let speed = speed.with_context(|| {
                format!("{}: expected a speed for {test}, found {found:?} in its output", self.name())
            })?;
            ensure!(
                speed.is_finite() && speed > 0.0,
                "{}: expected a speed above 0 for {test}, found {speed} in its output",
                self.name()
            );
        }
        Ok(output)
    }
}

/// The last part of a path, also behind `KEY=`; anything else as it is.
fn file_name(word: &str) -> String {
    let (key, value) = word.split_once('=').map_or(("", word), |(key, value)| (key, value));
    let name = Path::new(value).file_name().map_or(value.into(), |name| name.to_string_lossy());
    if key.is_empty() { name.into_owned() } else { format!("{}={name}", file_name(key)) }
}

/// The lines that are JSON objects; engines print other things between them.
fn json_lines(stdout: &str) -> impl Iterator<Item = &str> {
    stdout.lines().map(str::trim).filter(|line| line.starts_with('{'))
}

#[derive(Deserialize)]
struct ShoalTest {
    name: String,
    isa: String,
    tokens_per_s: ShoalSpread,
    bytes_per_token: f64,
    bandwidth_gb_per_s: f64,
}

#[derive(Deserialize)]
struct ShoalSpread {
    median: f64,
}

fn read_shoal(stdout: &str) -> Result<Output> {
    let mut output = Output::default();
    let mut roofline = Roofline::default();
    for line in json_lines(stdout) {
        let test: ShoalTest = serde_json::from_str(line)?;
        output.version = Some(test.isa);
        output.tokens_per_s.insert(test.name.clone(), test.tokens_per_s.median);
        roofline.read_gb_per_s = test.bandwidth_gb_per_s;
        roofline.bytes_per_token.insert(test.name, test.bytes_per_token);
    }
    output.roofline = Some(roofline);
    Ok(output)
}

#[derive(Deserialize)]
struct LlamaBenchTest {
    build_commit: String,
    n_prompt: u64,
    n_gen: u64,
    avg_ts: f64,
}

fn read_llama_bench(stdout: &str) -> Result<Output> {
    let mut output = Output::default();
    let list = stdout.find('[').map_or("", |start| &stdout[start..]);
    for test in serde_json::from_str::<Vec<LlamaBenchTest>>(list)? {
        let name = match (test.n_prompt, test.n_gen) {
            (prompt, 0) => format!("pp{prompt}"),
            (0, generated) => format!("tg{generated}"),
            both => bail!("expected a prompt or generated tokens, found {both:?} in one test"),
        };
        output.version = Some(test.build_commit);
        output.tokens_per_s.insert(name, test.avg_ts);
    }
    Ok(output)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ScriptLine {
    Version { version: String },
    Test { test: String, tokens_per_s: f64 },
}

fn read_script(stdout: &str) -> Result<Output> {
    let mut output = Output::default();
    for line in json_lines(stdout) {
        match serde_json::from_str(line)? {
            ScriptLine::Version { version } => output.version = Some(version),
            ScriptLine::Test { test, tokens_per_s } => {
                output.tokens_per_s.insert(test, tokens_per_s);
            }
        }
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speeds(output: &Output) -> Vec<f64> {
        TESTS.iter().map(|&test| output.tokens_per_s[test]).collect()
    }

    #[test]
    fn shoal_is_read_with_its_roofline() {
        let line = |name: &str, speed: f64| {
            format!(
                "{{\"name\":\"{name}\",\"model\":\"M\",\"isa\":\"avx2\",\"tokens_per_s\":{{\"median\":{speed},\
                 \"min\":1,\"max\":9}},\"bytes_per_token\":1e6,\"bandwidth_gb_per_s\":22.5}}\n"
            )
        };
        let text = line("pp128", 600.0) + &line("pp512", 500.0) + &line("tg32", 100.0);
        let output = Engine::shoal("shoal".into()).read(&text).unwrap();
        assert_eq!(speeds(&output), [600.0, 500.0, 100.0]);
        let roofline = output.roofline.unwrap();
        assert_eq!((roofline.read_gb_per_s, roofline.bytes_per_token["tg32"]), (22.5, 1e6));
    }

    #[test]
    fn llama_bench_is_read_by_the_kind_of_its_tests() {
        let test = |prompt: u32, generated: u32, speed: f64| {
            format!(
                "{{\"build_commit\": \"0c1e570\", \"n_prompt\": {prompt}, \"n_gen\": {generated}, \"avg_ts\": {speed}}}"
            )
        };
        let tests = [test(128, 0, 3.5), test(512, 0, 4.5), test(0, 32, 5.5)];
        let engine = Engine::llama_bench("llama-bench".into());
        let output = engine.read(&format!("warning\n[\n{}\n]\n", tests.join(",\n"))).unwrap();
        assert_eq!((speeds(&output), output.version.as_deref()), (vec![3.5, 4.5, 5.5], Some("0c1e570")));

        let error = engine.read(&format!("[{}]", tests[..2].join(","))).unwrap_err().to_string();
        assert!(error.contains("expected a speed for tg32, found [\"pp128\", \"pp512\"]"), "{error}");
        assert!(engine.read("").is_err());
        assert!(engine.read(&format!("[{}]", test(128, 32, 1.0))).is_err());
    }

    #[test]
    fn scripts_are_read_and_a_standstill_is_no_speed() {
        let engine = Engine::python("python3".into(), Package::Mistralrs, Vec::new());
        let text = "loading\n{\"version\": \"0.9\"}\n{\"test\": \"pp128\", \"tokens_per_s\": 1.5}\n\
                    {\"test\": \"pp512\", \"tokens_per_s\": 2.5}\n{\"test\": \"tg32\", \"tokens_per_s\": 3.5}\n";
        let output = engine.read(text).unwrap();
        assert_eq!((speeds(&output), output.version.as_deref()), (vec![1.5, 2.5, 3.5], Some("0.9")));
        assert!(engine.read(&text.replace("2.5", "0.0")).unwrap_err().to_string().contains("above 0"));
        assert!(engine.read(&text.replace("2.5", "null")).is_err());
    }

    #[test]
    fn a_record_shows_no_folders() {
        let settings = vec!["gguf.tok_model_id=/somewhere/else/tok".to_owned(), "fa=1".to_owned()];
        let engine = Engine::python("/a/venv/bin/python".into(), Package::Mistralrs, settings);
        assert_eq!(
            engine.shown_command(Path::new("/models/m.gguf"), 2),
            "python -c peers/mistral_rs.py m.gguf 2 pp128 pp512 tg32 -- gguf.tok_model_id=tok fa=1"
        );
        assert_eq!(engine.name(), "mistralrs gguf.tok_model_id=tok fa=1");
        let mut engine = Engine::llama_bench("../llama-bench".into());
        engine.set(vec!["-fa".to_owned(), "1".to_owned()]);
        assert_eq!(
            engine.shown_command(Path::new("m.gguf"), 2),
            "llama-bench -m m.gguf -t 2 -p 128,512 -n 32 -r 1 -o json -fa 1"
        );
    }
}
