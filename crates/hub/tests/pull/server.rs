//! A small HTTP server on this computer that serves one file, well or badly.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server does with a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    /// Answer 200 with the whole file, whatever was asked for.
    pub(crate) ignores_range: bool,
    /// Close the connection after so many bytes of a body, for the first so many requests.
    pub(crate) breaks_off: Option<(usize, usize)>,
    /// Answer with this status and no file.
    pub(crate) status: Option<u16>,
    /// Redirect requests for other paths than `/cdn/file` to this address, or to `/cdn/file` here if empty.
    pub(crate) redirect: Option<String>,
    /// What the redirecting answer says in `x-linked-etag`.
    pub(crate) linked_etag: Option<String>,
    /// Leave out `Content-Length`.
    pub(crate) hides_length: bool,
}

/// A running server. Its thread ends with the test's process.
pub(crate) struct Server {
    pub(crate) base: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(content: Vec<u8>, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that stops early resets the connection; that is its right.
                let _ = answer(stream.expect("a connection"), &content, &behaviour, &seen);
            }
        });
        Self { base, requests }
    }

    /// The requests so far: method, path and headers in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }
}

fn answer(
    mut stream: TcpStream,
    content: &[u8],
    behaviour: &Behaviour,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let count = {
        let mut seen = seen.lock().expect("no panic");
        seen.push(head.to_lowercase());
        seen.len()
    };
    if let Some(status) = behaviour.status {
        return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    if let Some(target) = behaviour.redirect.as_ref().filter(|_| !head.starts_with("GET /cdn/file")) {
        let target = if target.is_empty() { "/cdn/file" } else { target };
        let etag = behaviour
            .linked_etag
            .as_ref()
            .map_or(String::new(), |tag| format!("X-Linked-Etag: \"{tag}\"\r\n"));
        return write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {target}\r\n{etag}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let range =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let range = range.filter(|_| !behaviour.ignores_range);
    let (start, last) = range.as_deref().and_then(|range| range.split_once('-')).unwrap_or_default();
    let total = content.len();
    let (start, last) = (start.parse::<usize>().ok(), last.parse::<usize>().unwrap_or(total).min(total - 1));
    if start.is_some_and(|start| start >= total) {
        return write!(
            stream,
            "HTTP/1.1 416 Range\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let body = &content[start.unwrap_or(0)..=last];
    match start {
        None => write!(stream, "HTTP/1.1 200 OK\r\n")?,
        Some(start) => {
            write!(stream, "HTTP/1.1 206 Part\r\nContent-Range: bytes {start}-{last}/{total}\r\n")?;
        }
    }
    if !behaviour.hides_length {
        write!(stream, "Content-Length: {}\r\n", body.len())?;
    }
    write!(stream, "Connection: close\r\n\r\n")?;
    let sent = match behaviour.breaks_off {
        Some((bytes, times)) if count <= times => bytes.min(body.len()),
        _ => body.len(),
    };
    stream.write_all(&body[..sent])
}
