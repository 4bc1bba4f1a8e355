//! Where a request comes from. The raw address stays in here: what leaves is its network and, if the
//! operator gave a database, its country.

use std::net::IpAddr;

use fanfare_model::{AnonymisedAddress, CountryCode};
use http::HeaderMap;
use ipnet::IpNet;
use maxminddb::PathElement;

/// Headers by which proxies tell a client's address. Nobody behind the gateway gets to see them.
const TELLTALE: &[&str] = &[
    FORWARDED_FOR,
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Who may say in `X-Forwarded-For` for whom it asks. Nobody, unless the operator names them.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// From networks (`10.0.0.0/8`) and single addresses.
    pub fn parse<S: AsRef<str>>(networks: &[S]) -> Result<Self, String> {
        let parse = |text: &S| {
            let text = text.as_ref();
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| format!("{text} is neither a network like 10.0.0.0/8 nor an address"))
        };
        networks.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: the peer's own or, if the peer is trusted, the last one in the header that
    /// is not a trusted proxy's. What stands before that is the client's own word.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        while self.trusts(client) {
            match hops.next().and_then(hop) {
                Some(before) => client = before.to_canonical(),
                None => break,
            }
        }
        client
    }
}

/// An address as proxies write it: alone, in brackets, with a port.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(with_port) = text.parse::<std::net::SocketAddr>() {
        return Some(with_port.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// A country database in MaxMind's format, wherever the operator has it from.
pub struct Countries(maxminddb::Reader<Vec<u8>>);

impl Countries {
    pub fn from_bytes(database: Vec<u8>) -> Result<Self, String> {
        maxminddb::Reader::from_source(database).map(Self).map_err(|failure| failure.to_string())
    }

    /// Also `None` where the database is damaged: a connection does not fail for that.
    fn country(&self, address: IpAddr) -> Option<CountryCode> {
        let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
        let code: &str = self.0.lookup(address).ok()?.decode_path(&path).ok()??;
        code.parse().ok()
    }
}

impl std::fmt::Debug for Countries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Countries").field(&self.0.metadata().database_type).finish()
    }
}

/// What may be known of a request's origin.
pub(crate) struct Origin {
    pub(crate) address: AnonymisedAddress,
    pub(crate) country: Option<CountryCode>,
}

impl Origin {
    /// Also takes the headers away that would tell more.
    pub(crate) fn of(
        peer: IpAddr,
        headers: &mut HeaderMap,
        proxies: &TrustedProxies,
        countries: Option<&Countries>,
    ) -> Self {
        let client = proxies.client(peer, headers);
        for name in TELLTALE {
            headers.remove(*name);
        }
        let country = countries.and_then(|countries| countries.country(client));
        Self { address: AnonymisedAddress::of(client), country }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let proxies = TrustedProxies::parse(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]).unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let client = proxies.client(peer.parse().unwrap(), &headers).to_string();
        headers.insert("x-real-ip", "203.0.113.9".parse().unwrap());
        Origin::of(peer.parse().unwrap(), &mut headers, &proxies, None);
        assert!(headers.is_empty(), "what tells addresses goes");
        client
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        for (peer, lines, expected) in [
            ("203.0.113.7", &["198.51.100.1"][..], "203.0.113.7"),
            ("10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            ("192.0.2.1", &["198.51.100.1"], "198.51.100.1"),
            ("192.0.2.2", &["198.51.100.1"], "192.0.2.2"),
            // What the client itself wrote stands first, and is passed over.
            ("10.1.2.3", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            // Through two trusted proxies.
            ("10.1.2.3", &["1.1.1.1, 198.51.100.1,10.9.9.9"], "198.51.100.1"),
            ("10.1.2.3", &["198.51.100.1", "[2001:db8::1]:443"], "198.51.100.1"),
            ("10.1.2.3", &["198.51.100.1:5000"], "198.51.100.1"),
            ("10.1.2.3", &["[2001:4::1]"], "2001:4::1"),
            ("10.1.2.3", &["::ffff:198.51.100.1"], "198.51.100.1"),
            // Nothing that can be read: the last that is known.
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &[""], "10.1.2.3"),
            ("10.1.2.3", &["1.1.1.1, unknown"], "10.1.2.3"),
            ("10.1.2.3", &["10.4.4.4"], "10.4.4.4"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
        }
        assert!(TrustedProxies::parse(&["10.0.0.0/33"]).unwrap_err().contains("10.0.0.0/33"));
    }
}
