//! Where requests may go. A URL comes from a customer: it must not reach what only the server can.
//!
//! A literal address is checked as the URL parser understood it, whatever its spelling. A name is
//! resolved once, all its addresses are checked, and to those the connection goes: nobody resolves a
//! second time, so an answer that changes changes nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::Url;

/// Ports that may be asked for, besides those of allowed hosts and networks.
const PORTS: [u16; 4] = [80, 443, 8080, 8443];

/// Never asked: this machine, its neighbours, and what is nobody's.
const DENIED_V4: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    // A cloud's metadata, on an address that looks public.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
];

/// Of IPv6 only what is routed is asked, and of that not what stands for something else.
const GLOBAL_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const DENIED_V6: [Ipv6Net; 4] = [
    // Teredo, benchmarks, ORCHID.
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4: an IPv4 address in disguise.
    Ipv6Net::new_assert(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    Ipv6Net::new_assert(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];
/// NAT64: how a machine without IPv4 sees an IPv4 address. Judged by that.
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// What the operator allows although it would be denied.
#[derive(Clone, Debug, Default)]
pub struct GuardConfig {
    networks: Vec<IpNet>,
    hosts: Vec<Box<str>>,
}

impl GuardConfig {
    /// From networks (`10.0.0.0/8`), addresses, and host names, which are allowed whatever they
    /// resolve to.
    pub fn allowing<S: AsRef<str>>(allowed: &[S]) -> Result<Self, String> {
        let mut config = Self::default();
        for text in allowed {
            let text = text.as_ref().trim();
            if let Ok(network) = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                config.networks.push(network);
            } else if is_host(text) {
                config.hosts.push(canonical(text));
            } else {
                return Err(format!(
                    "{text} is neither a network like 10.0.0.0/8, nor an address, nor a host"
                ));
            }
        }
        Ok(config)
    }
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
}

fn canonical(host: &str) -> Box<str> {
    host.trim_end_matches('.').to_ascii_lowercase().into()
}

/// Why a request may not be made. Without the URL: there may be a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("this is not a URL: http://host/path or https://host/path is")]
    NotAUrl,
    #[error("only http and https are spoken")]
    Scheme,
    #[error("a URL with a user or a password in it is not taken: use a header or a signature")]
    Credentials,
    #[error(
        "port {0} is not allowed: 80, 443, 8080 and 8443 are, and any on a host or address that the operator allows"
    )]
    Port(u16),
    #[error("the address is private, reserved or this machine's own, and the operator does not allow it")]
    Address,
}

/// Resolves names: the system does, and in tests a table.
pub type Lookup =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

pub fn system_lookup() -> Lookup {
    Arc::new(|host| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

pub(crate) struct Guard {
    allowed: GuardConfig,
    lookup: Lookup,
}

impl Guard {
    pub(crate) fn new(allowed: GuardConfig, lookup: Lookup) -> Self {
        Self { allowed, lookup }
    }

    /// A URL, as far as it can be judged before its host is resolved.
    pub(crate) fn admit(&self, url: &str) -> Result<Url, Denied> {
        let url = Url::parse(url).map_err(|_| Denied::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Denied::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::Credentials);
        }
        let host = url.host_str().ok_or(Denied::NotAUrl)?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let trusted = match address {
            Some(address) if !self.passes(address) => return Err(Denied::Address),
            Some(address) => self.is_allowed(address),
            None => self.is_allowed_host(host),
        };
        match url.port_or_known_default() {
            Some(port) if trusted || PORTS.contains(&port) => Ok(url),
            Some(port) => Err(Denied::Port(port)),
            None => Err(Denied::NotAUrl),
        }
    }

    fn is_allowed(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.networks.iter().any(|network| network.contains(&address))
    }

    fn is_allowed_host(&self, host: &str) -> bool {
        self.allowed.hosts.contains(&canonical(host))
    }

    fn passes(&self, address: IpAddr) -> bool {
        self.is_allowed(address) || is_public(address)
    }

    /// All addresses of a host, or nothing when one of them is denied: who answers with an inner
    /// address beside a public one means no good.
    async fn resolve(
        &self,
        host: String,
    ) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let allowed = self.is_allowed_host(&host);
        let found = (self.lookup)(host).await?;
        if !allowed && !found.iter().all(|address| self.passes(*address)) {
            return Err(Denied::Address.into());
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
    }
}

impl reqwest::dns::Resolve for GuardedDns {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (guard, host) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let addresses = guard.resolve(host).await?;
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// The guard in the place where connections get their addresses.
pub(crate) struct GuardedDns(pub(crate) Arc<Guard>);

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !DENIED_V4.iter().any(|(net, bits)| Ipv4Net::new_assert(*net, *bits).contains(&v4)),
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            is_public(Ipv4Addr::new(a, b, c, d).into())
        }
        IpAddr::V6(v6) => GLOBAL_V6.contains(&v6) && !DENIED_V6.iter().any(|net| net.contains(&v6)),
    }
}
