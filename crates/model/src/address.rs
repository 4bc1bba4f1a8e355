//! Where a client is, as far as anyone may know: its network, not its address, and its country.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::error::{self, ErrorInfo};

/// An address with the part cut off that would name one machine or household: IPv4 keeps 24 bits and
/// IPv6 keeps 48. There is no way back, and no other way to make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnonymisedAddress(IpAddr);

const V4_KEPT: u32 = 0xffff_ff00;
const V6_KEPT: u128 = !0 << 80;
/// 2002::/16 carries a whole IPv4 address in bits 16 to 48: of that, too, 24 bits stay.
const V6_TO_V4: u16 = 0x2002;
const V6_TO_V4_KEPT: u128 = !0 << 88;

impl AnonymisedAddress {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(Ipv4Addr::from(u32::from(v4) & V4_KEPT).into()),
            IpAddr::V6(v6) => {
                let kept = if v6.segments()[0] == V6_TO_V4 { V6_TO_V4_KEPT } else { V6_KEPT };
                Self(Ipv6Addr::from(u128::from(v6) & kept).into())
            }
        }
    }

    pub fn network(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for AnonymisedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// ISO 3166-1 alpha-2, in capitals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountryCode([u8; 2]);

impl CountryCode {
    pub fn as_str(&self) -> &str {
        // Two ASCII letters, by `from_str`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for CountryCode {
    type Err = ErrorInfo;

    fn from_str(s: &str) -> Result<Self, ErrorInfo> {
        match *s.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(error::invalid_parameter("a country code is two letters")),
        }
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountryCode({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_an_address() {
        for (raw, kept) in [
            ("203.0.113.77", "203.0.113.0"),
            ("127.0.0.1", "127.0.0.0"),
            ("255.255.255.255", "255.255.255.0"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8:1234::"),
            ("fe80::1", "fe80::"),
            ("::1", "::"),
            ("64:ff9b::203.0.113.77", "64:ff9b::"),
            // 203.0.113.77 by way of 6to4.
            ("2002:cb00:714d:1::1", "2002:cb00:7100::"),
        ] {
            let anonymised = AnonymisedAddress::of(raw.parse().unwrap());
            assert_eq!(anonymised.to_string(), kept, "{raw}");
            assert!(!format!("{anonymised:?}").contains(raw), "{raw}");
        }
    }

    #[test]
    fn country_codes() {
        assert_eq!("de".parse::<CountryCode>().unwrap().as_str(), "DE");
        for bad in ["", "D", "DEU", "D1", "ä"] {
            assert!(bad.parse::<CountryCode>().is_err(), "{bad:?}");
        }
    }
}
