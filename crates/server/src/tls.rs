//! Certificates, read again on SIGHUP.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use anyhow::Context as _;
use fanfare_gateway::TlsSource;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) struct Certificates {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl Certificates {
    pub(crate) fn load(cert: PathBuf, key: PathBuf) -> anyhow::Result<Arc<Self>> {
        let current = RwLock::new(read(&cert, &key)?);
        Ok(Arc::new(Self { cert, key, current }))
    }

    /// Connections made from now on use what the files hold now. On a failure the old ones stay.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let new = read(&self.cert, &self.key)?;
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = new;
        Ok(())
    }

    pub(crate) fn source(self: &Arc<Self>) -> TlsSource {
        let this = self.clone();
        Arc::new(move || this.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone())
    }
}

fn read(cert: &PathBuf, key: &PathBuf) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("the certificate chain {} cannot be read", cert.display()))?;
    let key_der = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("the private key {} cannot be read", key.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .context("the certificate and the private key do not belong together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
