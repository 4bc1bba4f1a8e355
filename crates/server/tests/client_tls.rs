//! The command line against a server with TLS: whom it trusts, and whom not.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fanfare");

/// A certificate authority and a server's certificate of it, as files.
fn authority(dir: &Path, name: &str) -> PathBuf {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    std::fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    let path = dir.join(name);
    std::fs::write(&path, authority.pem()).unwrap();
    path
}

struct Server {
    process: Child,
    port: u64,
    key: String,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let mut process = Command::new(PROGRAM)
            .args(["serve", "--dev", "--json", "--tls-listen", "127.0.0.1:0", "--workers", "1"])
            .args(["--tls-cert".as_ref(), dir.join("cert.pem").as_os_str()])
            .args(["--tls-key".as_ref(), dir.join("key.pem").as_os_str()])
            .args(["--data".as_ref(), dir.join("data").as_os_str()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["tls"], true);
        Self { process, port: ready["port"].as_u64().unwrap(), key: ready["key"].as_str().unwrap().into() }
    }

    fn command(&self, scheme: &str, host: &str, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).arg("--url").arg(format!("{scheme}://{host}:{}", self.port));
        command.env("FANFARE_KEY", &self.key).env_remove("FANFARE_CA_FILE");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(output: &Output) -> (bool, String, String) {
    let utf8 = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), utf8(&output.stdout), utf8(&output.stderr))
}

#[test]
fn it_speaks_tls_with_whom_it_trusts_and_with_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let other = authority(dir.path(), "other.pem");
    let ours = authority(dir.path(), "ours.pem");
    let server = Server::start(dir.path());
    let run = |scheme, host, args: &[&str], ca: Option<&Path>| {
        let mut command = server.command(scheme, host, args);
        if let Some(ca) = ca {
            command.arg("--ca-file").arg(ca);
        }
        text(&command.output().unwrap())
    };
    let publish = ["publish", "persisted:x", "hello"];

    let (done, _, errors) = run("https", "localhost", &publish, Some(&ours));
    assert!(done, "{errors}");
    assert!(run("wss", "127.0.0.1", &publish, Some(&ours)).0, "by address, and by the other scheme");
    let (done, history, errors) = run("https", "localhost", &["history", "persisted:x"], Some(&ours));
    assert!(done, "{errors}");
    assert_eq!(history.lines().count(), 2);
    let subscribe = ["subscribe", "persisted:x", "--rewind", "2", "--count", "2"];
    let (done, heard, errors) = run("wss", "localhost", &subscribe, Some(&ours));
    assert!(done, "{errors}");
    assert_eq!(heard, "hello\nhello\n");
    for args in [&["presence", "persisted:x"][..], &["channels"]] {
        assert!(run("https", "localhost", args, Some(&ours)).0, "{args:?}");
    }

    for (ca, host) in [(None, "localhost"), (Some(&*other), "localhost"), (Some(&*ours), "127.0.0.2")] {
        for args in [&publish[..], &subscribe] {
            let (done, _, errors) = run("https", host, args, ca);
            assert!(!done, "{args:?} at {host} with {ca:?}");
            assert!(!errors.contains(&server.key), "{errors}");
        }
    }
    let (_, _, errors) = run("https", "localhost", &publish, Some(&other));
    assert!(errors.contains("--ca-file"), "{errors}");
    let (done, _, errors) = run("https", "localhost", &publish, Some(&dir.path().join("none.pem")));
    assert!(!done && errors.contains("none.pem"), "{errors}");
    let (_, history, _) = run("https", "localhost", &["history", "persisted:x"], Some(&ours));
    assert_eq!(history.lines().count(), 2, "nothing was published to a server that is not trusted");
}
