//! The checks that every change must pass, in the order in which they fail fastest.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::tidy;

/// Runs all checks and stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    step("format", &["fmt", "--all", "--check"])?;
    let started = Instant::now();
    tidy::run()?;
    done("tidy", started);
    step("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    step("tests", &["test", "--workspace", "--lib", "--bins", "--tests", "--examples"])?;
    step("doc tests", &["test", "--workspace", "--doc"])
}

/// Runs all tests and nothing else.
pub(crate) fn test() -> Result<()> {
    step("tests", &["test", "--workspace"])
}

fn step(name: &str, args: &[&str]) -> Result<()> {
    eprintln!("== {name}: cargo {}", args.join(" "));
    let started = Instant::now();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status =
        Command::new(cargo).args(args).current_dir(tidy::root()).status().context("cannot run cargo")?;
    ensure!(status.success(), "{name}: cargo {} ended with {status}", args.join(" "));
    done(name, started);
    Ok(())
}

fn done(name: &str, started: Instant) {
    eprintln!("== {name}: fine after {:.1} s", started.elapsed().as_secs_f64());
}
