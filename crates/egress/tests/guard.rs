//! Where requests may not go, however that is spelled.

mod support;

use std::net::{IpAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::time::Duration;

use fanfare_egress::{Egress, GuardConfig, QueueLimits, Retry, WebhookConfig};
use secrecy::SecretString;
use support::*;

/// Tries the URL once; whether the destination was reached.
fn reaches(egress: &Egress, url: &str) -> bool {
    let before = counts(egress.webhook_counters());
    let config = WebhookConfig {
        name: "shop".into(),
        url: SecretString::from(url),
        secret: SecretString::from("secret"),
        queue: QueueLimits::default(),
        retry: Retry { tries: 1, backoff: Duration::ZERO },
    };
    let Ok(hook) = egress.webhook(config) else { return false };
    hook.send("{}".into()).unwrap();
    eventually(url, || counts(egress.webhook_counters()) != before);
    let [delivered, ..] = counts(egress.webhook_counters());
    delivered > before[0]
}

/// A double on all of the addresses at one port that any host may be asked on; the first that is free.
fn doubles<const N: usize>(addresses: [&str; N]) -> (u16, [Double; N]) {
    for port in [8080, 8443, 80, 443] {
        let bound: Result<Vec<_>, _> = addresses
            .iter()
            .map(|address| TcpListener::bind((address.parse::<IpAddr>().unwrap(), port)))
            .collect();
        if let Ok(bound) = bound {
            let reply = || Some(("200 OK", "connection: close\r\n".to_owned(), String::new()));
            let doubles = bound.into_iter().map(|listener| Double::on(listener, move |_| reply()));
            let doubles: Vec<_> = doubles.collect();
            return (port, doubles.try_into().unwrap_or_else(|_| unreachable!()));
        }
    }
    panic!("this test needs one of the ports 80, 443, 8080 and 8443 on {addresses:?}");
}

/// This machine, its neighbours, clouds' metadata: as numbers, as names, in disguise.
const SPELLINGS: &[&str] = &[
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "0177.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "127.255.255.254",
    "%31%32%37.0.0.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "0.0.0.0",
    "0",
    "0x0",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::1]",
    "[2001:db8::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[100::1]",
    "10.0.0.1",
    "10.255.255.255",
    "012.0.0.1",
    "0xa.1",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "169.254.169.254",
    "169.254.43518",
    "0xa9fea9fe",
    "2852039166",
    "[::ffff:169.254.169.254]",
    "168.63.129.16",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "ip6-localhost",
    "sub.localtest.example",
    "mapped.example",
    "metadata.example",
    "mixed.example",
    "unspecified.example",
];

#[test]
fn no_spelling_reaches_what_is_inside() {
    let (lookup, _) = names(&[
        ("localhost", &[&["127.0.0.1"]]),
        ("localhost.", &[&["127.0.0.1"]]),
        ("ip6-localhost", &[&["::1"]]),
        ("sub.localtest.example", &[&["127.0.0.1"]]),
        ("mapped.example", &[&["::ffff:127.0.0.1"]]),
        ("metadata.example", &[&["169.254.169.254"]]),
        ("mixed.example", &[&["127.0.0.1", "93.184.215.14"]]),
        ("unspecified.example", &[&["0.0.0.0"]]),
    ]);
    let (port, [double]) = doubles(["127.0.0.1"]);
    let egress = egress(&[], lookup.clone(), Time::default().clock());
    for host in SPELLINGS {
        let url = format!("http://{host}:{port}/");
        assert!(!reaches(&egress, &url), "{url}");
    }
    for url in ["http:127.0.0.1", "http:/127.0.0.1", "http:\\\\127.0.0.1", "http://example.com@127.0.0.1/"] {
        assert!(!reaches(&egress, url), "{url}");
    }
    assert_eq!(double.connections(), 0, "nobody ever connected");
    // The same double, for those whom the operator lets in.
    for (allowed, host) in [
        ("127.0.0.0/8", "0x7f.1"),
        ("127.0.0.1", "mapped.example"),
        ("SUB.localtest.example.", "sub.localtest.example"),
    ] {
        let egress = support::egress(&[allowed], lookup.clone(), Time::default().clock());
        assert!(reaches(&egress, &format!("http://{host}:{port}/")), "{allowed} allows {host}");
        assert!(!reaches(&egress, &format!("http://10.0.0.1:{port}/")), "and nothing else");
    }
    assert_eq!(double.connections(), 3);
}

#[test]
fn a_name_that_changes_its_mind_is_judged_where_it_is_connected_to() {
    let (port, [outside, inside]) = doubles(["127.81.22.5", "127.81.22.6"]);
    let url = format!("http://rebind.example:{port}/");
    let (lookup, asked) = names(&[("rebind.example", &[&["127.81.22.5"], &["127.81.22.6"]])]);
    // The one network stands for what is public.
    let egress = egress(&["127.81.22.5"], lookup, Time::default().clock());
    assert!(reaches(&egress, &url));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "what was judged is what was connected to");
    for _ in 0..3 {
        assert!(!reaches(&egress, &url));
    }
    assert_eq!((outside.connections(), inside.connections()), (1, 0));
}

#[test]
fn what_the_operator_allows() {
    for bad in ["", "10.0.0.0/33", "http://example.com", "a b", "host:80"] {
        assert!(GuardConfig::allowing(&[bad]).is_err(), "{bad:?}");
    }
    assert!(GuardConfig::allowing(&["10.0.0.0/8", "::1", "hooks.internal"]).is_ok());
}
