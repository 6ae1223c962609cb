//! Connections: taken in one by one, each with a limit to what it may cost.
//!
//! A client that connects and sends nothing, or half of a request's head, is let go after [`HEAD_TIME_MAX`]; the body has a limit of its
//! own (`answer`), and so has a client that does not take what it asked for ([`WRITE_TIME_MAX`]). No more than [`CONNECTIONS_MAX`] are open
//! at a time. When they are, the one that has been silent longest makes room for the next: who comes with a request is served, however many
//! come without one. Only if all have asked for something is the next one closed, before a byte of it is read.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);

/// Most bytes of a head, and of what is read or written at a time.
pub(crate) const HEAD_BYTES_MAX: usize = 32 << 10;

/// How long a client may take nothing of what is sent to it.
const WRITE_TIME_MAX: Duration = Duration::from_secs(60);

/// Connections at a time: below the 1,024 files that a process may usually have open.
pub(crate) const CONNECTIONS_MAX: usize = 900;

/// How long to wait when the system has no connection to give, such as when too many files are open, and for a connection that was
/// told to close.
const PAUSE: Duration = Duration::from_millis(50);

/// How long those that came last before the end have to ask.
const LAST_TIME: Duration = Duration::from_millis(200);

/// A connection that has asked for nothing yet.
#[derive(Default)]
struct Silence {
    is_over: AtomicBool,
    close: Notify,
}

/// Those that have asked for nothing yet, the oldest first, among others that have by now.
#[derive(Default)]
struct Silent(VecDeque<Arc<Silence>>);

impl Silent {
    fn push(&mut self, silence: Arc<Silence>) {
        // Most of them speak at once.
        if self.0.len() >= 2 * CONNECTIONS_MAX {
            self.0.retain(|silence| !silence.is_over.load(Ordering::Relaxed));
        }
        self.0.push_back(silence);
    }

    /// Closes the oldest; says whether there was one.
    fn close_one(&mut self) -> bool {
        while let Some(silence) = self.0.pop_front() {
            if !silence.is_over.swap(true, Ordering::Relaxed) {
                silence.close.notify_one();
                return true;
            }
        }
        false
    }
}

/// Serves until `ended`, then lets what is being answered come to its end.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    ended: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut silent = Silent::default();
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
        let Some(place) = place(&places, &mut silent).await else { continue };
        let silence = Arc::new(Silence::default());
        silent.push(Arc::clone(&silence));
        let connection =
            Connection { app: app.clone(), tls: tls.clone(), watcher: graceful.watcher(), silence };
        tokio::spawn(async move {
            connection.serve(stream).await;
            drop(place);
        });
    }
    drop(listener);
    // Who has just connected is about to ask, and would find a closed connection.
    tokio::time::sleep(LAST_TIME).await;
    graceful.shutdown().await;
}

/// A place for one more connection, if need be that of a silent one.
async fn place(places: &Arc<Semaphore>, silent: &mut Silent) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Some(place);
    }
    if !silent.close_one() {
        return None;
    }
    tokio::time::timeout(PAUSE, Arc::clone(places).acquire_owned()).await.ok()?.ok()
}

struct Connection {
    app: Router,
    tls: Option<TlsAcceptor>,
    watcher: Watcher,
    silence: Arc<Silence>,
}

impl Connection {
    /// Serves it to its end. A connection that breaks is its client's affair.
    async fn serve(self, stream: TcpStream) {
        // Parts of an answer are small; waiting to send several at once would make them late.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIME_MAX));
        let silence = Arc::clone(&self.silence);
        let served = async {
            match self.tls.clone() {
                None => self.speak(Box::pin(stream)).await,
                Some(tls) => {
                    let hello = tokio::time::timeout(HEAD_TIME_MAX, tls.accept(Box::pin(stream))).await;
                    if let Ok(Ok(stream)) = hello {
                        self.speak(Box::pin(stream)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = served => {}
            () = silence.close.notified() => {}
        }
        silence.is_over.store(true, Ordering::Relaxed);
    }

    async fn speak(self, stream: Pin<Box<impl AsyncRead + AsyncWrite + 'static>>) {
        let silence = self.silence;
        let heard = middleware::from_fn(move |request: Request, next: Next| {
            silence.is_over.store(true, Ordering::Relaxed);
            next.run(request)
        });
        let service = TowerToHyperService::new(self.app.layer(heard));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_buf_size(HEAD_BYTES_MAX);
        let _ = self.watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use axum::routing::get;
    use tokio::sync::oneshot;

    use super::*;

    const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    /// Whether a client is answered that connects before the end and asks after it.
    fn is_answered() -> bool {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a listener that does not wait");
        let (end, ended) = oneshot::channel::<()>();
        let server = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("the same listener");
                let app = Router::new().route("/", get(|| async { "here" }));
                serve(listener, None, app, async { drop(ended.await) }).await;
            });
        });
        let connect = || std::net::TcpStream::connect(address).expect("it listens");
        let ask = |mut stream: std::net::TcpStream| {
            let mut answer = String::new();
            let asked = stream.write_all(QUESTION).and_then(|()| stream.read_to_string(&mut answer));
            asked.is_ok() && answer.ends_with("here")
        };
        let client = connect();
        // Whoever came before one that was answered has been taken in.
        assert!(ask(connect()));
        drop(end);
        std::thread::sleep(LAST_TIME / 10);
        let is_answered = ask(client);
        server.join().expect("it ends");
        is_answered
    }

    #[test]
    fn who_has_just_connected_is_answered_although_the_end_has_come() {
        // A machine that is busy may let one come too late.
        assert!((0..5).any(|_| is_answered()));
    }
}
