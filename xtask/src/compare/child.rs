//! One run of an engine: a pinned child process, watched until it ends.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::cpus::spawn_pinned;
use super::noise::{Noise, Ticks, Watch};

/// Time between two looks at the threads of a child.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// Longest run; one that takes longer is ended.
const RUN_MAX: Duration = Duration::from_secs(3600);
/// How much of the end of what a child says goes into the message if it fails, in bytes.
const COMPLAINT_BYTES_MAX: usize = 400;

/// What a run left.
pub(super) struct Finished {
    pub(super) stdout: String,
    pub(super) seconds: f64,
    pub(super) noise: Noise,
}

/// Runs `command` on `cpus` to its end.
pub(super) fn run(command: &mut Command, cpus: &[usize]) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (before, started) = (Ticks::now(cpus)?, Instant::now());
    let mut child = spawn_pinned(command, cpus)?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let mut watch = Watch::default();
    let status = loop {
        // First look, then ask: what has ended and been asked for has no accounts any more.
        watch.look(child.id());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > RUN_MAX {
            end(&mut child);
            bail!("{name}: expected to end within {} s, found it running", RUN_MAX.as_secs());
        }
        std::thread::sleep(LOOK_PERIOD);
    };
    let seconds = started.elapsed().as_secs_f64();
    let noise = Noise::between(before, Ticks::now(cpus)?, &watch, seconds, cpus.len());
    let [stdout, stderr] = [stdout, stderr].map(|text| text.join().unwrap_or_default());
    if !status.success() {
        bail!("{name}: expected success, found {status}; it said: {}", last_words(&stderr));
    }
    Ok(Finished { stdout, seconds, noise })
}

/// Reads a pipe to its end on a thread of its own: a child that finds a pipe full stands still.
fn collect<P: Read + Send + 'static>(pipe: Option<P>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is all there is to judge.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn end(child: &mut Child) {
    // It may have ended by itself in this moment, which is just as well.
    let _ = child.kill();
    let _ = child.wait();
}

fn last_words(text: &str) -> &str {
    let text = text.trim_end();
    let start = text.len().saturating_sub(COMPLAINT_BYTES_MAX);
    &text[text.ceil_char_boundary(start)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const BUSY: &str = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done";

    #[test]
    fn two_programs_on_one_processor_wait_for_each_other() {
        let cpus = &super::super::cpus::physical_cores().unwrap()[..1];
        let mut rival = spawn_pinned(&mut shell("while :; do :; done"), cpus).unwrap();
        let finished = run(&mut shell(BUSY), cpus);
        end(&mut rival);
        let finished = finished.unwrap();
        assert_eq!(finished.stdout, "done\n");
        assert!(finished.noise.wait_share > 0.2, "{:?}", finished.noise);
        assert!(finished.noise.objection().is_some());
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let cpus = &super::super::cpus::physical_cores().unwrap()[..1];
        let error = run(&mut shell("echo no such model >&2; exit 3"), cpus).err().unwrap().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("it said: no such model"), "{error}");
        assert!(run(&mut Command::new("no-such-program-anywhere"), cpus).is_err());
    }

    #[test]
    fn last_words_are_whole_letters() {
        let text = "é".repeat(COMPLAINT_BYTES_MAX);
        assert_eq!(last_words(&format!("x{text}\n")).chars().count(), COMPLAINT_BYTES_MAX / 2);
        assert_eq!(last_words("short\n"), "short");
    }
}
