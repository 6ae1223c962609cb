//! `shoal app`: a server, and the page in a browser, which here is a script that writes down where it was sent.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Place;
use crate::serve::Server;

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_page_opens_in_the_browser_even_if_the_usual_port_is_taken() {
    // Whoever has it, now it is taken.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let place = Arc::new(Place::new());
    let (browser, seen) = (place.path("bin/xdg-open"), place.path("seen"));
    let script = format!("#!/bin/sh\necho \"$1\" > {0}.new\n/bin/mv {0}.new {0}\n", seen.display());
    place.file("bin/xdg-open", script.as_bytes());
    std::fs::set_permissions(browser, std::fs::Permissions::from_mode(0o755)).expect("an executable");
    let command = place.command(&["app", "minnow", "--threads", "1"]);
    let server = Server::start_command(Arc::clone(&place), command);
    let start = Instant::now();
    while !seen.exists() {
        assert!(start.elapsed() < PATIENCE, "no browser was opened");
        std::thread::sleep(Duration::from_millis(20));
    }
    let opened = std::fs::read_to_string(seen).expect("an address");
    assert_eq!(opened, format!("http://{}/\n", server.address));
    assert!(!server.address.ends_with(":8080"), "that one was taken");
    let page = server.ask("GET", "/", "", b"");
    assert!(page.status == 200 && page.body.contains("<html"), "{page:?}");
}

#[test]
fn without_a_browser_it_says_so_and_serves_on() {
    let place = Arc::new(Place::new());
    let command = place.command(&["app", "minnow", "--port", "0", "--threads", "1"]);
    let mut server = Server::start_command(place, command);
    let said = server.next_line();
    let page = format!("http://{}/", server.address);
    assert_eq!(said, format!("no browser could be opened; the page is at {page}\n"));
    assert_eq!(server.ask("GET", "/health", "", b"").status, 200);
}

#[test]
fn a_port_that_was_asked_for_is_that_port_or_none() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for command in ["app", "serve"] {
        let ran = crate::shoal(&[command, "minnow", "--port", &port]);
        ran.refused(&["cannot listen on 127.0.0.1:", &port]);
    }
}
