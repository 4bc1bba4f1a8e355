//! Writes a country database, in the little of MaxMind's format (version 2.0) that one needs: a search
//! tree of 24-bit records, then the values, then a map of metadata.

use std::net::{IpAddr, Ipv6Addr};

const EMPTY: u32 = u32::MAX;
const SEPARATOR_BYTES: usize = 16;
const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

#[derive(Clone, Copy)]
enum Branch {
    Empty,
    Node(usize),
    /// Offset into the values.
    Value(u32),
}

/// `networks`, none inside another: an address, how many of its bits count, a country. IPv4 stands in
/// `::/96`.
pub(crate) fn database(networks: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut nodes = vec![[Branch::Empty; 2]];
    let mut values = Vec::new();
    for (address, bits, country) in networks {
        let offset = values.len() as u32;
        values.extend(map(&[("country", map(&[("iso_code", text(country))]))]));
        let (address, bits) = match address.parse().unwrap() {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), bits + 96),
            IpAddr::V6(v6) => (u128::from(Ipv6Addr::from(v6.octets())), *bits),
        };
        let mut at = 0;
        for depth in 0..bits {
            let side = (address >> (127 - depth) & 1) as usize;
            if depth + 1 == bits {
                nodes[at][side] = Branch::Value(offset);
            } else if let Branch::Node(next) = nodes[at][side] {
                at = next;
            } else {
                nodes.push([Branch::Empty; 2]);
                nodes[at][side] = Branch::Node(nodes.len() - 1);
                at = nodes.len() - 1;
            }
        }
    }
    let count = nodes.len() as u32;
    let mut out = Vec::new();
    for branch in nodes.iter().flatten() {
        let record = match branch {
            Branch::Empty => count,
            Branch::Node(next) => *next as u32,
            Branch::Value(offset) => count + SEPARATOR_BYTES as u32 + offset,
        };
        assert!(record != EMPTY && record < 1 << 24);
        out.extend(&record.to_be_bytes()[1..]);
    }
    out.extend([0; SEPARATOR_BYTES]);
    out.extend(values);
    out.extend(METADATA_MARKER);
    out.extend(map(&[
        ("node_count", number(6, count)),
        ("record_size", number(5, 24)),
        ("ip_version", number(5, 6)),
        ("database_type", text("Test-Country")),
        ("languages", vec![0, 4]),
        ("binary_format_major_version", number(5, 2)),
        ("binary_format_minor_version", number(5, 0)),
        // A 64-bit number: an extended type.
        ("build_epoch", vec![1, 2, 1]),
        ("description", map(&[])),
    ]));
    out
}

fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 29, "longer ones have another header");
    [&[2 << 5 | text.len() as u8], text.as_bytes()].concat()
}

/// An unsigned number of 16 bits (type 5) or 32 (type 6), in as few bytes as it needs.
fn number(kind: u8, number: u32) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let digits = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
    [&[kind << 5 | digits.len() as u8], digits].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![7 << 5 | entries.len() as u8];
    for (name, value) in entries {
        out.extend(text(name));
        out.extend(value);
    }
    out
}
