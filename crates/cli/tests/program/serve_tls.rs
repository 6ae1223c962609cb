//! Encrypted connections. Certificate and key beside this file are for tests alone: everybody has the key.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::serve::Server;

const CERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/tls/cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/tls/key.pem");

#[test]
fn who_trusts_the_certificate_is_served_and_others_stop_nobody() {
    let server = Server::start(&["--tls-cert", CERT, "--tls-key", KEY]);
    let connect = || {
        let stream = TcpStream::connect(&server.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        stream
    };
    // One that says nothing, one that does not know of encryption.
    let _silent = connect();
    let mut plain = connect();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is taken");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "nothing is said in the open");

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(CERT).expect("a certificate")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("protocols").with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(client, connect());
    stream
        .write_all(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it is taken");
    let mut answer = String::new();
    // The end of the connection may come without the farewell of the protocol.
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("minnow"), "{answer}");
}

#[test]
fn files_that_hold_something_else_are_named() {
    let serve = |cert: &str, key: &str| {
        let ran = crate::shoal(&["serve", "minnow", "--port", "0", "--tls-cert", cert, "--tls-key", key]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        ran.stderr
    };
    let said = serve(KEY, KEY);
    assert!(said.contains("key.pem: expected a certificate in PEM"), "{said}");
    let said = serve(CERT, CERT);
    assert!(said.contains("cert.pem: expected a private key in PEM"), "{said}");
    let said = serve("no-such-file", KEY);
    assert!(said.contains("no-such-file"), "{said}");
}
