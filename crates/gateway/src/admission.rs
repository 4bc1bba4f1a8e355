//! Who may have a connection: so many for each address, so many of them in their handshake, so many in
//! all. Asked before a byte is read, so that a flood costs next to nothing.
//!
//! Invariants: addresses are kept only while they have a connection, and are never logged.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::TransportLimits;

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The address has as many connections as it may have.
    AddressConnections,
    /// Too many of the address's connections have not said what they want yet.
    AddressHandshakes,
    /// The server has as many connections as it may have.
    ServerFull,
}

impl Refused {
    pub(crate) const ALL: [Self; 3] = [Self::AddressConnections, Self::AddressHandshakes, Self::ServerFull];

    /// As metrics call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AddressConnections => "address_connections",
            Self::AddressHandshakes => "address_handshakes",
            Self::ServerFull => "server_full",
        }
    }
}

/// A machine, as far as one can tell: an IPv4 address, or the half of an IPv6 address that a network is
/// given; a customer has the other half to himself. An IPv4 address becomes a network that IPv6 has
/// reserved, so the two never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address(u64);

impl Address {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self(v4.to_bits().into()),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Admission {
    connections_max: u32,
    per_address_max: u32,
    handshakes_max: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    total: u32,
    addresses: HashMap<Address, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: u32,
    handshakes: u32,
}

impl Admission {
    pub(crate) fn new(limits: &TransportLimits) -> Arc<Self> {
        Arc::new(Self {
            connections_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            handshakes_max: limits.handshakes_per_address_max,
            state: Mutex::default(),
        })
    }

    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<(Seat, Handshake), Refused> {
        let address = Address::of(ip);
        let mut state = self.state.lock();
        if state.total >= self.connections_max {
            return Err(Refused::ServerFull);
        }
        let counts = state.addresses.entry(address).or_default();
        // A new entry is refused only where a limit is 0, which the configuration does not allow.
        if counts.connections >= self.per_address_max {
            return Err(Refused::AddressConnections);
        }
        if counts.handshakes >= self.handshakes_max {
            return Err(Refused::AddressHandshakes);
        }
        counts.connections += 1;
        counts.handshakes += 1;
        state.total += 1;
        Ok((Seat { admission: self.clone(), address }, Handshake { admission: self.clone(), address }))
    }
}

/// Held as long as the socket is open.
#[derive(Debug)]
pub(crate) struct Seat {
    admission: Arc<Admission>,
    address: Address,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        state.total -= 1;
        if let Some(counts) = state.addresses.get_mut(&self.address) {
            counts.connections -= 1;
            if counts.connections == 0 && counts.handshakes == 0 {
                state.addresses.remove(&self.address);
            }
        }
    }
}

/// Held until the first request's head has been read.
#[derive(Debug)]
pub(crate) struct Handshake {
    admission: Arc<Admission>,
    address: Address,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        if let Some(counts) = state.addresses.get_mut(&self.address) {
            counts.handshakes -= 1;
            if counts.connections == 0 && counts.handshakes == 0 {
                state.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(total: u32, per_address: u32, handshakes: u32) -> Arc<Admission> {
        Admission::new(&TransportLimits {
            connections_max: total,
            connections_per_address_max: per_address,
            handshakes_per_address_max: handshakes,
            ..TransportLimits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_holds_and_gives_back() {
        let admission = admission(5, 3, 2);
        let one = ip("192.0.2.1");
        let (first, shaking) = admission.admit(one).unwrap();
        let (_second, _shaking) = admission.admit(one).unwrap();
        assert_eq!(admission.admit(one).unwrap_err(), Refused::AddressHandshakes);
        drop(shaking);
        let (_third, shaking) = admission.admit(one).unwrap();
        drop(shaking);
        assert_eq!(admission.admit(one).unwrap_err(), Refused::AddressConnections);
        let _others: Vec<_> = ["192.0.2.2", "192.0.2.3"].map(|o| admission.admit(ip(o)).unwrap()).into();
        assert_eq!(admission.admit(ip("192.0.2.4")).unwrap_err(), Refused::ServerFull);
        drop(first);
        admission.admit(one).unwrap();
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_one_is_ipv4() {
        let admission = admission(100, 1, 1);
        let _a = admission.admit(ip("2001:db8::1")).unwrap();
        assert_eq!(admission.admit(ip("2001:db8::ffff:2")).unwrap_err(), Refused::AddressConnections);
        let _b = admission.admit(ip("2001:db8:0:1::1")).unwrap();
        let _c = admission.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(admission.admit(ip("::ffff:192.0.2.1")).unwrap_err(), Refused::AddressConnections);
    }

    #[test]
    fn nothing_is_kept_of_who_left() {
        let admission = admission(100, 10, 10);
        for last in 0..50 {
            let (seat, handshake) = admission.admit(IpAddr::from([192, 0, 2, last])).unwrap();
            // Either may go first.
            if last % 2 == 0 {
                drop(seat);
                drop(handshake);
            } else {
                drop(handshake);
                drop(seat);
            }
        }
        let state = admission.state.lock();
        assert_eq!((state.total, state.addresses.len()), (0, 0));
    }
}
