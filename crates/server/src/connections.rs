//! Connections: taken in one by one, each with a limit to what it may cost.
//!
//! A client that connects and sends nothing, or half of a request's head, is let go after [`HEAD_TIME_MAX`]; the body has a limit of its
//! own (`answer`), and so has a client that does not take what it asked for ([`WRITE_TIME_MAX`]). No more than [`CONNECTIONS_MAX`] are open at a time: those beyond are closed at once, before a byte of
//! theirs is read, so that those within are served.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a client may take nothing of what is sent to it.
const WRITE_TIME_MAX: Duration = Duration::from_secs(60);

/// Connections at a time: below the 1,024 files that a process may usually have open.
const CONNECTIONS_MAX: usize = 900;

/// How long to wait when the system has no connection to give, such as when too many files are open.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `ended`, then lets what is being answered come to its end.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    ended: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut ended = pin!(ended);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut ended => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else { continue };
        // Parts of an answer are small; waiting to send several at once would make them late.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIME_MAX));
        let service = TowerToHyperService::new(app.clone());
        let (http, watcher, tls) = (http.clone(), graceful.watcher(), tls.clone());
        tokio::spawn(async move {
            // A connection that breaks is its client's affair.
            match tls {
                None => {
                    let stream = TokioIo::new(Box::pin(stream));
                    let _ = watcher.watch(http.serve_connection(stream, service)).await;
                }
                Some(tls) => {
                    let hello = tokio::time::timeout(HEAD_TIME_MAX, tls.accept(Box::pin(stream))).await;
                    if let Ok(Ok(stream)) = hello {
                        let _ = watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
