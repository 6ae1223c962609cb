//! Compares shoal with other engines on one file, so that a ratio of speeds can be believed and repeated.
//!
//! A machine does not run at one speed: it clocks down, its host serves others, somebody compiles. Two engines measured
//! one after the other are measured on two machines. So they alternate:
//!
//! ```text
//! round 1   shoal  peer A  peer B      each run: a process of its own, pinned to the same processors,
//! round 2   peer A  peer B  shoal      watched for time that its threads waited (see `noise`)
//! round 3   peer B  shoal  peer A      more than 2 % waited: repeated, at last left out
//! ```
//!
//! Whatever drifts from round to round meets all of them, and the order turns, so that nobody always follows the same
//! neighbour. Numbers are medians over the rounds, and ratios are of medians. shoal measures how fast memory can be
//! read in each of its runs: that is the roofline of the round. A record with every run, those left out too, is
//! written to `benches/records`, and no number is quoted without one.
//!
//! Reading order: [`engine`] (what is run), [`child`] and [`noise`] (how it is watched), [`summary`], [`record`].

mod args;
mod child;
mod cpus;
mod engine;
mod noise;
mod record;
mod stats;
mod summary;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::tidy;
use args::Options;
use engine::{Engine, Roofline, TESTS};
use record::{EngineInfo, Machine, ModelFile, Record, Run};
use stats::rounded;
use summary::Summary;

pub(crate) use args::USAGE;

/// How often a run that was disturbed is repeated before its engine goes without in this round.
const ATTEMPTS_MAX: usize = 4;
/// Pause before a repetition: what disturbed the run may end.
const RETRY_PAUSE: Duration = Duration::from_secs(3);

/// Runs the command with the arguments that follow its name.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("usage: {USAGE}");
        return Ok(());
    }
    let options = Options::parse(args)?;
    let model = ModelFile::of(&options.model)?;
    let cpus = cpus::choose(options.threads, cpus::physical_cores()?)?;
    let (shoal, build) = match &options.shoal {
        Some(path) => (path.clone(), None),
        None => build_shoal()?,
    };
    let version = shoal_version(&shoal, build.as_deref())?;
    let engines: Vec<Engine> = [Engine::shoal(shoal)].into_iter().chain(options.peers.clone()).collect();

    let mut comparison = Comparison::new(&options.model, cpus);
    for round in 1..=options.rounds {
        for engine in order(&engines, round) {
            comparison.run_until_quiet(engine, round)?;
        }
    }

    let record = comparison.record(&engines, model, options.rounds, &version);
    print(&record);
    let out = options.out.unwrap_or_else(|| default_out(&record));
    write(&record, &out)
}

/// The engines in the order of a round, counted from 1.
fn order<T>(engines: &[T], round: usize) -> impl Iterator<Item = &T> {
    let first = (round - 1) % engines.len().max(1);
    engines[first..].iter().chain(&engines[..first])
}

/// What has been measured so far.
struct Comparison<'a> {
    model: &'a Path,
    cpus: Vec<usize>,
    runs: Vec<Run>,
    /// By the name of the engine.
    versions: BTreeMap<String, String>,
    roofline: Roofline,
}

impl<'a> Comparison<'a> {
    fn new(model: &'a Path, cpus: Vec<usize>) -> Self {
        Self { model, cpus, runs: Vec::new(), versions: BTreeMap::new(), roofline: Roofline::default() }
    }

    /// Runs an engine until nothing disturbs it, or often enough. Every attempt is kept.
    fn run_until_quiet(&mut self, engine: &Engine, round: usize) -> Result<()> {
        for attempt in 1..=ATTEMPTS_MAX {
            if attempt > 1 {
                std::thread::sleep(RETRY_PAUSE);
            }
            let run = self.run_once(engine, round, attempt)?;
            eprintln!("{}", described(&run));
            let is_quiet = run.thrown_away.is_none();
            self.runs.push(run);
            if is_quiet {
                break;
            }
        }
        Ok(())
    }

    fn run_once(&mut self, engine: &Engine, round: usize, attempt: usize) -> Result<Run> {
        let finished = child::run(&mut engine.command(self.model, self.cpus.len()), &self.cpus)?;
        let output = engine.read(&finished.stdout)?;
        if let Some(version) = output.version {
            self.versions.insert(engine.name(), version);
        }
        let reads = output.roofline.as_ref().map(|roofline| rounded(roofline.read_gb_per_s));
        self.roofline = output.roofline.unwrap_or_else(|| self.roofline.clone());
        Ok(Run {
            round,
            engine: engine.name(),
            attempt,
            tokens_per_s: output
                .tokens_per_s
                .into_iter()
                .map(|(test, speed)| (test, rounded(speed)))
                .collect(),
            memory_reads_gb_per_s: reads,
            seconds: rounded(finished.seconds),
            noise: finished.noise,
            thrown_away: finished.noise.objection(),
        })
    }

    /// All of it, to be written down. `shoal` is what the binary says of itself.
    fn record(self, engines: &[Engine], model: ModelFile, rounds: usize, shoal: &str) -> Record {
        let names: Vec<String> = engines.iter().map(Engine::name).collect();
        let info = |engine: &Engine| {
            let name = engine.name();
            let told = self.versions.get(&name).map_or("unknown", String::as_str);
            let version = if engine.is_shoal() { format!("{shoal} {told}") } else { told.to_owned() };
            EngineInfo { name, version, command: engine.shown_command(self.model, self.cpus.len()) }
        };
        Record {
            date: record::date_now(),
            machine: Machine::here(),
            model,
            threads: self.cpus.len(),
            rounds,
            wait_share_max: noise::WAIT_SHARE_MAX,
            engines: engines.iter().map(info).collect(),
            summary: Summary::of(&self.runs, &names, &self.roofline.bytes_per_token),
            pinned_to: self.cpus,
            runs: self.runs,
        }
    }
}

/// One line about a run, for whoever waits.
fn described(run: &Run) -> String {
    let speeds: Vec<String> =
        TESTS.iter().map(|&test| format!("{test} {:.1}", run.tokens_per_s[test])).collect();
    let noise = run.noise;
    let fate = if run.thrown_away.is_some() { ": thrown away" } else { "" };
    format!(
        "round {} · {}: {} ({:.1} s; waited {:.1} %, steal {:.1} %, others {:.1} %){fate}",
        run.round,
        run.engine,
        speeds.join(" · "),
        run.seconds,
        100.0 * noise.wait_share,
        100.0 * noise.steal_share,
        100.0 * noise.others_share
    )
}

fn print(record: &Record) {
    let reads = record.summary.memory_reads_gb_per_s;
    println!(
        "{} · {} · {} threads on processors {:?} · memory reads {} GB/s",
        record.model.name,
        record.machine.cpu,
        record.threads,
        record.pinned_to,
        reads.map_or_else(|| "unknown".to_owned(), |reads| format!("{reads:.1}"))
    );
    print!("{}", record.summary.table());
    let thrown_away = record.runs.iter().filter(|run| run.thrown_away.is_some()).count();
    println!("{thrown_away} of {} runs thrown away", record.runs.len());
}

fn default_out(record: &Record) -> PathBuf {
    // A colon is not for names of files.
    let date = record.date.replace(':', "");
    let stem = Path::new(&record.model.name).file_stem().unwrap_or_default().to_string_lossy();
    tidy::root().join("benches/records").join(format!("{date}-{stem}.json"))
}

fn write(record: &Record, out: &Path) -> Result<()> {
    let cannot = || format!("cannot write the record {}", out.display());
    if let Some(dir) = out.parent() {
        std::fs::create_dir_all(dir).with_context(cannot)?;
    }
    let text = serde_json::to_string_pretty(record)? + "\n";
    std::fs::write(out, text).with_context(cannot)?;
    println!("{}", out.display());
    Ok(())
}

/// Builds shoal as a user would, and says from which commit.
fn build_shoal() -> Result<(PathBuf, Option<String>)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["build", "--release", "-p", "shoal", "--message-format", "json-render-diagnostics"];
    let mut command = Command::new(cargo);
    let output = command.args(args).current_dir(tidy::root()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot run cargo build")?;
    ensure!(output.status.success(), "cargo build: expected success, found {}", output.status);
    let program = executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo build: expected an executable `shoal` among its products, found none")?;
    let git =
        Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(tidy::root()).output();
    // A source archive has no commits; then the version must do.
    let commit = git.ok().filter(|output| output.status.success());
    Ok((program, commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())))
}

/// The binary among the messages of cargo.
fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == "shoal";
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    })
}

fn shoal_version(program: &Path, commit: Option<&str>) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(commit.map_or(version.clone(), |commit| format!("{version} ({commit})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_turns_with_the_round() {
        let names = |round| order(&["a", "b", "c"], round).copied().collect::<String>();
        assert_eq!([1, 2, 3, 4].map(names), ["abc", "bca", "cab", "abc"]);
    }

    #[test]
    fn the_binary_is_found_among_the_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"shoal\"},\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"x/other\"}\n\
                        {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"shoal\"},\"executable\":\"x/shoal\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("x/shoal")));
        assert_eq!(executable("warning\n"), None);
    }

    /// A comparison from end to end, with a script in the place of every engine.
    #[test]
    fn a_record_holds_every_run() {
        let cores = cpus::physical_cores().unwrap();
        let engines = [Engine::llama_bench("false".into())];
        let mut comparison = Comparison::new(Path::new("dir/m.gguf"), cores[..1].to_vec());
        let error = comparison.run_until_quiet(&engines[0], 1).unwrap_err().to_string();
        assert!(error.starts_with("false: expected success, found exit status: 1"), "{error}");

        let noise = noise::Noise { wait_share: 0.031, steal_share: 0.0, others_share: 0.02 };
        comparison.runs.push(Run {
            round: 1,
            engine: "llama-bench".to_owned(),
            attempt: 1,
            tokens_per_s: TESTS.iter().map(|&test| (test.to_owned(), 2.5)).collect(),
            memory_reads_gb_per_s: None,
            seconds: 1.0,
            noise,
            thrown_away: noise.objection(),
        });
        let told = described(&comparison.runs[0]);
        assert!(
            told.contains("tg32 2.5")
                && told.contains("(1.0 s; waited 3.1 %, steal 0.0 %, others 2.0 %): thrown away"),
            "{told}"
        );
        let model = ModelFile { name: "m.gguf".to_owned(), bytes: 5, hash_of_first_mib: "0".to_owned() };
        let record = comparison.record(&engines, model, 1, "shoal 0");
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["runs"][0]["noise"]["wait_share"], 0.031);
        assert_eq!(json["summary"]["results"][0]["runs_counted"], 0);
        assert_eq!(json["engines"][0]["command"], "false -m m.gguf -t 1 -p 128,512 -n 32 -r 1 -o json");
        assert!(default_out(&record).to_string_lossy().ends_with("Z-m.json"));
    }
}
