//! One file over HTTP: redirects, resume, checksum.
//!
//! ```text
//! existing .part --hash--> GET, Range: bytes=<have>-
//!   206  goes on behind what is there        200  starts over (the server ignores Range)
//!   416  the part is no beginning of the file: starts over
//! bytes --> .part and hash --> length and SHA-256 right? --> final name
//! broken off: again from where it stands, as long as each attempt brings something
//! ```
//!
//! Redirects are followed here and not by the client, because what the hub knows of a file (`x-linked-etag`, its
//! SHA-256, and `x-linked-size`) stands in the redirecting answer, and because the token must not go to another host.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use crate::cache::io_error;
use crate::checksum::{BUFFER_BYTES, Checksum};
use crate::pull::{PullOptions, Source, Stop, Task, put_in_place};
use crate::{Error, Failure};

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 8;
/// Most attempts at one file from one source.
const ATTEMPTS_MAX: usize = 100;
/// Shortest time between two reports.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// A client for one source.
pub(crate) struct Http<'a> {
    agent: Agent,
    token: Option<&'a str>,
    retry_wait: Duration,
}

/// What servers said about the file on the way to it.
#[derive(Default)]
struct Linked {
    sha256: Option<String>,
    bytes: Option<u64>,
}

/// An answer that brings bytes of the file.
struct Answer {
    response: Response<Body>,
    /// Offset of its first byte in the file.
    start: u64,
    /// Length of the whole file.
    total: u64,
    /// The SHA-256 that the file must have, if anybody knows.
    sha256: Option<String>,
}

/// The part of the file that is here.
struct Part {
    file: File,
    len: u64,
    checksum: Checksum,
}

impl Part {
    /// Opens or creates the part at `path` and hashes what is there.
    fn open(path: &Path) -> Result<Self, Error> {
        let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = opened.map_err(io_error("open", path))?;
        let mut checksum = Checksum::default();
        checksum.update_from(&mut file).map_err(io_error("read", path))?;
        let len = file.metadata().map_err(io_error("read", path))?.len();
        Ok(Self { file, len, checksum })
    }

    fn clear(&mut self, path: &Path) -> Result<(), Error> {
        self.file.set_len(0).map_err(io_error("write", path))?;
        (self.len, self.checksum) = (0, Checksum::default());
        Ok(())
    }
}

impl<'a> Http<'a> {
    /// A client for the source at `base`, which alone gets the token.
    pub(crate) fn new(options: &PullOptions, token: Option<&'a str>, base: &str) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("shoal/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_recv_response(Some(options.silence_timeout))
            .timeout_per_read(Some(options.silence_timeout));
        if is_loopback(base) {
            config = config.proxy(None); // a proxy leads away from this computer
        }
        Self { agent: config.build().new_agent(), token, retry_wait: options.retry_wait }
    }

    /// Gets the file at `url` and puts it in place.
    pub(crate) fn fetch(&self, url: &str, source: &Source, task: &mut Task<'_, '_>) -> Result<(), Stop> {
        let part_path = task.part();
        let mut part = Part::open(&part_path)?;
        if task.file.bytes.is_some_and(|bytes| part.len > bytes) {
            part.clear(&part_path)?;
        }
        if task.file.bytes == Some(part.len) && task.file.sha256.is_some() {
            return finish(task.file.sha256, part, task); // all is here: nothing to ask for
        }
        for _ in 0..ATTEMPTS_MAX {
            let before = part.len;
            match self.attempt(url, source, task, &mut part) {
                Ok(sha256) => return finish(sha256.as_deref(), part, task),
                Err(Stop::Failed(Failure::Interrupted { .. })) if part.len > before => {
                    std::thread::sleep(self.retry_wait);
                }
                Err(stop) => return Err(stop),
            }
        }
        Err(protocol(format!("it broke off {ATTEMPTS_MAX} times")).into())
    }

    /// One request and its body. Returns the SHA-256 that the whole file must have.
    fn attempt(
        &self,
        url: &str,
        source: &Source,
        task: &mut Task<'_, '_>,
        part: &mut Part,
    ) -> Result<Option<String>, Stop> {
        let part_path = task.part();
        let mut answer = self.ask(url, task, part.len)?;
        if answer.start != part.len {
            part.clear(&part_path)?;
        } else if part.len > 0 && answer.sha256.is_none() {
            // What is here may be of another version of the file, and nothing could tell.
            part.clear(&part_path)?;
            answer = self.ask(url, task, 0)?;
        }
        let Answer { response, total, sha256, .. } = answer;
        receive(&mut response.into_body().into_reader(), total, source, task, part)?;
        Ok(sha256)
    }

    /// Asks for the file from byte `have` on; if the server cannot give that, from the beginning.
    fn ask(&self, url: &str, task: &Task<'_, '_>, have: u64) -> Result<Answer, Stop> {
        let range = format!("{have}-");
        let (response, linked) = self.get(url, (have > 0).then_some(range.as_str()))?;
        let status = response.status().as_u16();
        let file = task.name().to_owned();
        let (start, total) = match status {
            416 if have > 0 => return self.ask(url, task, 0),
            200 => (0, content_length(&response)),
            206 => content_range(&response)?,
            _ => return Err(Failure::Status { status, file }.into()),
        };
        if start != 0 && start != have {
            return Err(protocol(format!("asked for bytes from {have}, it sends them from {start}")).into());
        }
        let Some(total) = total.or(linked.bytes) else {
            return Err(protocol(format!("it does not tell the length of {file}")).into());
        };
        if let Some(expected) = task.file.bytes.or(linked.bytes).filter(|&expected| expected != total) {
            return Err(Failure::WrongSize { file, expected, found: total }.into());
        }
        let sha256 = task.file.sha256.map(str::to_owned).or(linked.sha256);
        Ok(Answer { response, start, total, sha256 })
    }

    /// Sends the request, for a `range` of bytes if one is given, and follows redirects.
    fn get(&self, url: &str, range: Option<&str>) -> Result<(Response<Body>, Linked), Failure> {
        let mut linked = Linked::default();
        let parsed = url.parse().ok().filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")));
        let mut uri = parsed.ok_or_else(|| Failure::Unusable {
            reason: format!("`{}` is not an http or https address", url.escape_debug()),
        })?;
        let origin = uri.authority().cloned();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.agent.get(&uri);
            if let Some(range) = range {
                request = request.header("Range", format!("bytes={range}"));
            }
            if let Some(token) = self.token.filter(|_| uri.authority() == origin.as_ref()) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| failure(&error))?;
            let sha256 = header(&response, "x-linked-etag").map(|tag| tag.trim_matches('"'));
            linked.sha256 = linked.sha256.or_else(|| sha256.filter(|tag| is_sha256(tag)).map(str::to_owned));
            linked.bytes = linked.bytes.or_else(|| header(&response, "x-linked-size")?.parse().ok());
            if !response.status().is_redirection() {
                return Ok((response, linked));
            }
            let location = header(&response, "location").unwrap_or_default();
            uri = redirected(&uri, location)
                .ok_or_else(|| protocol(format!("it redirects to `{}`", location.escape_debug())))?;
        }
        Err(protocol(format!("more than {REDIRECTS_MAX} redirects")))
    }
}

impl Http<'_> {
    /// The first `len` bytes of the file at `url`, or all if it has no more, and how many it has.
    pub(crate) fn beginning(&self, url: &str, len: u64) -> Result<(Vec<u8>, u64), Failure> {
        let (response, linked) = self.get(url, Some(&format!("0-{}", len.max(1) - 1)))?;
        let status = response.status().as_u16();
        let of_range = || header(&response, "content-range")?.rsplit_once('/')?.1.parse().ok();
        let of_all = || header(&response, "content-length")?.parse().ok();
        let total = match status {
            206 => of_range().or(linked.bytes),
            200 => of_all().or(linked.bytes),
            _ => return Err(Failure::Status { status, file: url.to_owned() }),
        };
        let total = total.ok_or_else(|| protocol("it does not say how long the file is".to_owned()))?;
        // A server that knows no ranges sends all of it: what is not wanted is not taken.
        let mut bytes = Vec::new();
        let expected = len.min(total);
        let read = response.into_body().into_reader().take(expected).read_to_end(&mut bytes);
        let received = bytes.len() as u64;
        let broken = |reason| Failure::Interrupted { file: url.to_owned(), received, expected, reason };
        read.map_err(|error| broken(error.to_string()))?;
        if received < expected {
            return Err(broken("the connection was closed".to_owned()));
        }
        Ok((bytes, total))
    }
}

/// Moves the body into the part until the file has `total` bytes.
fn receive(
    body: &mut impl Read,
    total: u64,
    source: &Source,
    task: &mut Task<'_, '_>,
    part: &mut Part,
) -> Result<(), Stop> {
    let path = task.part();
    let mut buffer = vec![0; BUFFER_BYTES];
    task.tell(source, part.len, Some(total))?;
    let mut told = Instant::now();
    loop {
        let interrupted = |reason: String, received| Failure::Interrupted {
            file: task.name().to_owned(),
            received,
            expected: total,
            reason,
        };
        let len = match body.read(&mut buffer) {
            Ok(0) if part.len < total => {
                return Err(interrupted("the connection was closed".into(), part.len).into());
            }
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) => return Err(interrupted(error.to_string(), part.len).into()),
        };
        let found = part.len + len as u64;
        if found > total {
            return Err(Failure::WrongSize { file: task.name().to_owned(), expected: total, found }.into());
        }
        part.file.write_all(&buffer[..len]).map_err(io_error("write", &path))?;
        part.checksum.update(&buffer[..len]);
        part.len = found;
        if told.elapsed() >= REPORT_INTERVAL || found == total {
            told = Instant::now();
            task.tell(source, found, Some(total))?;
        }
    }
}

/// Checks the whole part and gives it its final name.
fn finish(sha256: Option<&str>, part: Part, task: &Task<'_, '_>) -> Result<(), Stop> {
    let (path, found) = (task.part(), part.checksum.hex());
    if let Some(expected) = sha256.filter(|expected| *expected != found) {
        std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
        let (file, expected) = (task.name().to_owned(), expected.to_owned());
        return Err(Failure::WrongChecksum { file, expected, found }.into());
    }
    Ok(put_in_place(&path, &task.path)?)
}

fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

fn content_length(response: &Response<Body>) -> Option<u64> {
    header(response, "content-length")?.parse().ok()
}

/// First byte and length of the whole from `bytes FIRST-LAST/LENGTH`; the length may be `*`.
fn content_range(response: &Response<Body>) -> Result<(u64, Option<u64>), Failure> {
    let text = header(response, "content-range").unwrap_or_default();
    let parse = || {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
    };
    parse().ok_or_else(|| protocol(format!("the Content-Range is `{}`", text.escape_debug())))
}

/// The address that `location` means at `from`. From https only to https.
fn redirected(from: &Uri, location: &str) -> Option<Uri> {
    let target: Uri = if location.starts_with('/') && !location.starts_with("//") {
        format!("{}://{}{location}", from.scheme_str()?, from.authority()?).parse().ok()?
    } else {
        location.parse().ok()?
    };
    let scheme = target.scheme_str()?;
    (scheme == "https" || (scheme == "http" && from.scheme_str() == Some("http"))).then_some(target)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_loopback(base: &str) -> bool {
    let host = base.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    host.is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
}

fn protocol(reason: String) -> Failure {
    Failure::Protocol { reason }
}

/// Tells "not reached" from "reached, but".
fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::HostNotFound => {
            Failure::NoConnection { reason: "its name cannot be resolved".to_owned() }
        }
        ureq::Error::Io(error) => Failure::NoConnection { reason: error.to_string() },
        ureq::Error::ConnectionFailed | ureq::Error::Timeout(_) => {
            Failure::NoConnection { reason: error.to_string() }
        }
        _ => protocol(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_goes_on_but_never_from_https_to_http() {
        let to = |from: &'static str, location| {
            redirected(&Uri::from_static(from), location).map(|uri| uri.to_string())
        };
        assert_eq!(to("https://a.b/x", "/y?z").as_deref(), Some("https://a.b/y?z"));
        assert_eq!(to("https://a.b/x", "https://c.d/y").as_deref(), Some("https://c.d/y"));
        assert_eq!(to("http://a.b/x", "http://c.d/y").as_deref(), Some("http://c.d/y"));
        for bad in ["http://a.b/y", "//c.d/y", "file:///etc/passwd", "y", ""] {
            assert_eq!(to("https://a.b/x", bad), None, "{bad}");
        }
    }

    #[test]
    fn only_this_computer_is_loopback() {
        assert!(
            is_loopback("http://127.0.0.1:80")
                && is_loopback("http://localhost")
                && is_loopback("http://[::1]:1")
        );
        assert!(!is_loopback("https://example.com") && !is_loopback("http://localhost.example.com"));
    }
}
