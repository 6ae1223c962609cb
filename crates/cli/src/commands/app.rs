//! `shoal app`: the chat in the browser. It serves as `shoal serve` does, and opens the page.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::args::ServeArgs;
use crate::commands::serve::{PORT, listen, serve_on};
use crate::environment::Environment;

/// What ran for as long has opened something, however it ends: some of the system's ways end only with the browser.
const OPENED_AFTER: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &ServeArgs, environment: &Environment) -> anyhow::Result<()> {
    serve_on(args, environment, || some_port(args), &open_browser)
}

/// The port that was asked for; else the usual one, or a free one if somebody has that.
fn some_port(args: &ServeArgs) -> anyhow::Result<TcpListener> {
    if let Some(port) = args.port {
        return listen(args.host, port);
    }
    match listen(args.host, PORT) {
        Err(error) if is_taken(&error) => listen(args.host, 0),
        other => other,
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::AddrInUse)
}

/// Opens `page` with the first of the system's ways that works. In a thread of its own, which may take as long as the browser is open.
fn open_browser(page: String) {
    std::thread::spawn(move || {
        if !open::commands(&page).iter_mut().any(opens) {
            eprintln!("no browser could be opened; the page is at {page}");
        }
    });
}

fn opens(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C ends the server, not a browser that was started for it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let start = Instant::now();
    command.status().is_ok_and(|status| status.success() || start.elapsed() > OPENED_AFTER)
}
