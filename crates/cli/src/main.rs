//! The `shoal` binary: arguments to options to wiring.
//!
//! It is the only crate that reads arguments and the environment, and the only one that prints. Answers go to standard
//! output; progress, the closing line and errors go to standard error, so that a pipe carries answers alone.
//!
//! Reading order: [`args`], [`environment`], [`resolve`] (a name to a file), [`loaded`] (a file to a model with its
//! tokenizer), then `commands`, one file each; `answer` is the loop from prompt to text that `run` is built on, `conversation` what
//! its chat remembers.

mod answer;
mod args;
mod commands;
mod conversation;
mod division;
mod drive;
mod environment;
mod loaded;
mod machine;
mod meter;
mod nearest;
mod planner;
mod profile_table;
mod resolve;
mod roofline;
mod screen;
mod shelf;
mod synthetic;
mod terminal;
mod text_file;
mod token_view;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use environment::Environment;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment = Environment::read();
    let result = match cli.command {
        Command::Run(args) => commands::run::run(&args, &environment),
        Command::Serve(args) => commands::serve::run(&args, &environment),
        Command::App(args) => commands::app::run(&args, &environment),
        Command::Pull(args) => commands::pull::run(&args, &environment),
        Command::List(args) => commands::list::run(&args, &environment),
        Command::Logits(args) => commands::logits::run(&args, &environment),
        Command::Perplexity(args) => commands::perplexity::run(&args, &environment),
        Command::Inspect(args) => commands::inspect::run(&args, &environment),
        Command::Plan(args) => commands::plan::run(&args, &environment),
        Command::Bench(args) => commands::bench::run(&args, &environment),
        Command::Completions(args) => commands::shell::completions(&args),
        Command::Man => commands::shell::man(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Files are named where they fail; what has no name is the stream that the answer goes to.
            let error = if error.chain().len() == 1 && error.is::<std::io::Error>() {
                error.context("cannot write to standard output")
            } else {
                error
            };
            eprintln!("shoal: {}", terminal::sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whoever read our output has gone, as `head` does: nothing is left to say.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io_errors = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io_errors.into_iter().any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
