//! The way to a server: its address, taken apart, and a socket to it, plain or with TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::args::ServerArgs;

/// Where a server is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub(super) tls: bool,
    /// As it stands in the `Host` header.
    pub(super) authority: &'a str,
    /// Without a port, and without the brackets of an IPv6 address.
    host: &'a str,
    port: u16,
}

impl<'a> Address<'a> {
    pub(super) fn parse(url: &'a str) -> anyhow::Result<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let tls = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => bail!("--url must begin with https:// or http:// (wss:// and ws:// mean the same)"),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            bail!("--url must hold no name or key: the key is --key");
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((v6, "")) => (v6, None),
            Some((v6, port)) => (v6, port.strip_prefix(':')),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().with_context(|| format!("{port:?} in --url is no port"))?,
        };
        if host.is_empty() {
            bail!("--url names no host");
        }
        Ok(Self { tls, authority, host, port })
    }

    /// What its certificate must be for.
    fn name(&self) -> anyhow::Result<ServerName<'static>> {
        let name = ServerName::try_from(self.host.to_owned());
        name.with_context(|| format!("{:?} in --url is no host name", self.host))
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        TcpStream::connect((self.host, self.port))
            .with_context(|| format!("no server answers at {}:{}", self.host, self.port))
    }
}

/// Who may vouch for a server: the system's authorities, or those of `--ca-file` and no others.
fn trusted(server: &ServerArgs) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &server.ca_file else {
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() {
            bail!("the system has no certificate authorities: name one with --ca-file");
        }
        return Ok(roots);
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("--ca-file {} cannot be read", path.display()))?;
    for certificate in certificates {
        roots.add(certificate).with_context(|| format!("in --ca-file {}", path.display()))?;
    }
    if roots.is_empty() {
        bail!("--ca-file {} holds no certificate", path.display());
    }
    Ok(roots)
}

fn config(server: &ServerArgs) -> anyhow::Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder().with_root_certificates(trusted(server)?).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn no_tls(address: &Address<'_>) -> String {
    format!("no TLS with {} (an authority of your own is named with --ca-file)", address.authority)
}

/// A socket for HTTP.
pub(super) async fn open_async(server: &ServerArgs, address: &Address<'_>) -> anyhow::Result<Box<dyn Io>> {
    let socket = address.connect()?;
    socket.set_nonblocking(true)?;
    let socket = tokio::net::TcpStream::from_std(socket)?;
    if !address.tls {
        return Ok(Box::new(socket));
    }
    let connector = TlsConnector::from(config(server)?);
    Ok(Box::new(connector.connect(address.name()?, socket).await.with_context(|| no_tls(address))?))
}

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A socket that waits.
pub(super) enum Link {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    pub(super) fn open(server: &ServerArgs, address: &Address<'_>) -> anyhow::Result<Self> {
        let mut socket = address.connect()?;
        if !address.tls {
            return Ok(Self::Plain(socket));
        }
        let mut tls = ClientConnection::new(config(server)?, address.name()?)?;
        // Here, and not with the first byte: so that what is wrong with a certificate is told as that.
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).with_context(|| no_tls(address))?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, socket))))
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, tls, host, port) in [
            ("http://127.0.0.1:8080", false, "127.0.0.1", 8080),
            ("https://example.com", true, "example.com", 443),
            ("https://example.com/", true, "example.com", 443),
            ("wss://example.com:8443/path?query", true, "example.com", 8443),
            ("ws://localhost", false, "localhost", 80),
            ("https://[2001:db8::1]:9000/x", true, "2001:db8::1", 9000),
            ("http://[::1]", false, "::1", 80),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.tls, address.host, address.port), (tls, host, port), "{url}");
        }
        for bad in [
            "",
            "example.com",
            "ftp://x",
            "https://",
            "https://x:port",
            "https://a.b:secret@host",
            "http://:80",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
