//! The built program as a person or a script meets it: arguments in; standard output, standard error and exit code out.
//!
//! Every run gets a home and a cache folder of its own, an environment with nothing else in it, and no network: the
//! hubs are a loopback port that refuses, and the `python3` that would fetch packages fails. So what is tested is the
//! model inside the program and files that the tests write.
//!
//! Reading order: this file (how a run is made), `answers`, `chat`, `refusals`, `safetensors`, `serve`, `tools`.

mod answers;
mod app;
mod chat;
mod plan;
mod refusals;
mod safetensors;
mod serve;
mod serve_catalogue;
mod serve_dialects;
mod serve_dsml;
mod serve_kv;
mod serve_shapes;
mod serve_tls;
mod tools;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A port of this computer on which nothing listens.
const REFUSED: &str = "http://127.0.0.1:1";

/// A place to run the program in.
struct Place {
    dir: TempDir,
}

/// What a run left.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let place = Self { dir };
        std::fs::create_dir(place.path("bin")).expect("a folder for programs");
        let python = place.file("bin/python3", b"#!/bin/sh\nexit 1\n");
        std::fs::set_permissions(python, std::fs::Permissions::from_mode(0o755)).expect("an executable");
        place
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file in the temporary folder");
        path
    }

    /// The program with these arguments, all streams piped, not yet started.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
        command.args(args).env_clear().current_dir(self.dir.path());
        command.env("HOME", self.path("home")).env("SHOAL_CACHE", self.path("cache"));
        command.env("PATH", self.path("bin")).env("HF_ENDPOINT", REFUSED).env("ALL_PROXY", REFUSED);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end with nothing on standard input.
    fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().expect("the program starts"))
    }

    /// Runs to the end with `input` on standard input.
    fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("the program starts");
        let written = child.stdin.take().expect("a pipe").write_all(input);
        // A program that ends without reading its input is judged by what it leaves.
        drop(written);
        Ran::from(child.wait_with_output().expect("the program ends"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
    }
}

impl Ran {
    /// Standard output of a run that went well.
    #[track_caller]
    fn text(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Standard output of a run that went well, as one JSON value.
    #[track_caller]
    fn json(self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in: {text}"))
    }

    /// Asserts one sentence on standard error that contains `parts`, nothing on standard output, and exit code 1.
    #[track_caller]
    fn refused(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(self.stderr.starts_with("shoal: ") && self.stderr.ends_with('\n'), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "expected `{part}` in: {}", self.stderr);
        }
    }
}

/// Runs in a fresh place.
fn shoal(args: &[&str]) -> Ran {
    Place::new().run(args)
}

/// The path as an argument.
fn arg(path: &Path) -> &str {
    path.to_str().expect("temporary folders have names in UTF-8")
}
