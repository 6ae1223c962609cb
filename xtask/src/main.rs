//! Project chores, run as `cargo xtask CHORE`: see [`USAGE`].

mod ci;
mod compare;
mod convert;
mod tidy;

use std::process::ExitCode;

/// What there is to do.
const USAGE: &str = "usage: cargo xtask CHORE

  ci       everything that must pass: format, tidy, clippy, tests, doc tests
  test     all tests
  tidy     the house rules: imports, unsafe code, lengths of files and functions, words
  convert  a small checkpoint in hub layout to GGUF
  compare  speeds beside other engines on one file, in alternation, with a record; --help says how";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (chore, rest) = args.split_first().map_or(("", &args[..]), |(chore, rest)| (chore.as_str(), rest));
    let result = match chore {
        "ci" if rest.is_empty() => ci::run(),
        "test" if rest.is_empty() => ci::test(),
        "tidy" if rest.is_empty() => tidy::run(),
        "compare" => compare::run(rest),
        "convert" => convert::run(rest),
        _ => Err(anyhow::anyhow!("{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
