//! HTTPS: what the system's roots vouch for is spoken to, and nothing else.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fanfare_egress::{QueueLimits, Retry, WebhookConfig};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::SecretString;
use support::*;

/// Where the child of this test sends its one delivery.
const URL: &str = "EGRESS_TEST_URL";
const CHILD: &str = "one_delivery_to_a_url_of_the_environment";

/// A server with a certificate of its own for `localhost`; says `204` to everything.
fn server() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream.unwrap());
            // A client that does not trust us is gone after the handshake.
            if tls.read(&mut [0; 4_096]).is_ok_and(|read| read > 0) {
                let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").and_then(|()| tls.flush());
            }
        }
    });
    (address, made.cert.pem())
}

/// Roots are read from the environment, once for a process: so each case is a process.
fn delivers(url: &str, roots: &std::path::Path) -> bool {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--ignored"])
        .env(URL, url)
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(said.contains("1 passed") || said.contains("not delivered"), "{said}");
    child.status.success()
}

#[test]
fn only_who_is_vouched_for_gets_a_delivery() {
    let (address, own) = server();
    let (_, anothers) = server();
    let roots = std::env::temp_dir().join(format!("egress-roots-{}.pem", std::process::id()));
    let (by_name, by_address) =
        (format!("https://localhost:{}/", address.port()), format!("https://{address}/"));
    std::fs::write(&roots, own).unwrap();
    assert!(delivers(&by_name, &roots));
    assert!(!delivers(&by_address, &roots), "the certificate is for a name");
    std::fs::write(&roots, anothers).unwrap();
    assert!(!delivers(&by_name, &roots), "nobody vouches for it");
    std::fs::remove_file(&roots).unwrap();
}

#[test]
#[ignore = "the test above runs it, with a URL in the environment"]
fn one_delivery_to_a_url_of_the_environment() {
    let (lookup, _) = names(&[("localhost", &[&["127.0.0.1"]])]);
    let egress = egress(&["localhost", "127.0.0.1"], lookup, Time::default().clock());
    let config = WebhookConfig {
        name: "shop".into(),
        url: SecretString::from(std::env::var(URL).unwrap()),
        secret: SecretString::from("secret"),
        queue: QueueLimits::default(),
        retry: Retry { tries: 1, backoff: Duration::ZERO },
    };
    egress.webhook(config).unwrap().send("{}".into()).unwrap();
    eventually("an end", || counts(egress.webhook_counters()) != [0; 4]);
    assert_eq!(counts(egress.webhook_counters()), [1, 0, 0, 0], "not delivered");
}
