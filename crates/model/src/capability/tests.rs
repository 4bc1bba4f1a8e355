use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

fn parse(json: &str) -> Capability {
    Capability::parse(json).unwrap_or_else(|e| panic!("{json}: {e}"))
}

#[test]
fn refusals() {
    let long = format!(r#"{{"{}":["publish"]}}"#, "x".repeat(CAPABILITY_BYTES_MAX));
    let many: String = (0..=CAPABILITY_RESOURCES_MAX).map(|i| format!(r#""c{i}":["publish"],"#)).collect();
    let many = format!(r#"{{{}}}"#, many.trim_end_matches(','));
    let deep = "[".repeat(10_000);
    for bad in [
        "",
        "nonsense",
        "null",
        "[]",
        "{}",
        r#"{"a":"publish"}"#,
        r#"{"a":["publish_"]}"#,
        r#"{"a":["Publish"]}"#,
        r#"{"a":["*","publish"]}"#,
        r#"{"a":["*","*"]}"#,
        r#"{"a":[]}"#,
        r#"{"a":[1]}"#,
        r#"{"a":["publish"],"a":["subscribe"]}"#,
        r#"{"a":["publish"]} {}"#,
        r#"{"":["publish"]}"#,
        r#"{"[meta":["publish"]}"#,
        r#"{"[]a":["publish"]}"#,
        r#"{"[meta]":["publish"]}"#,
        r#"{"[filter=x]a":["publish"]}"#,
        r#"{"[?rewind=1]a":["publish"]}"#,
        &long,
        &many,
        &deep,
    ] {
        let e = Capability::parse(bad).expect_err(&bad[..bad.len().min(60)]);
        assert_eq!((e.code, e.status), (40000, 400));
    }
}

#[test]
fn canonical_json() {
    for (given, canonical) in [
        (r#"{ "b" : ["subscribe", "publish"], "a":["*"] }"#, r#"{"a":["*"],"b":["publish","subscribe"]}"#),
        (r#"{"[*]*":["*"]}"#, r#"{"[*]*":["*"]}"#),
        (r#"{"*":["history"],"a:*":["stats"]}"#, r#"{"*":["history"],"a:*":["stats"]}"#),
        (r#"{"a":["publish","publish"]}"#, r#"{"a":["publish"]}"#),
        (r#"{"a\"b":["publish"]}"#, r#"{"a\"b":["publish"]}"#),
    ] {
        assert_eq!(parse(given).to_json(), canonical);
        assert_eq!(parse(canonical), parse(given));
    }
    let all: Vec<_> = Operation::all().map(Operation::as_str).collect();
    assert!(all.is_sorted() && all.len() == 17);
    let listed = serde_json::json!({ "a": all }).to_string();
    assert_eq!(parse(&listed).to_json(), listed, "a list of all is not '*': that would grant new ones too");
    assert_eq!(Capability::everything(), parse(r#"{"[*]*":["*"]}"#));
}

#[test]
fn matching() {
    let matches = |resource: &str, channel: &str| {
        let capability = parse(&format!(r#"{{"{resource}":["publish"]}}"#));
        assert!(!capability.allows(channel, Operation::Subscribe));
        let expected = capability.allows(channel, Operation::Publish);
        assert_eq!(Resource::parse(resource).unwrap().matches_channel(channel), expected);
        expected
    };
    for (resource, yes, no) in [
        ("a", &["a"][..], &["b", "a:b", "[meta]a", "A", ""][..]),
        ("*", &["a", "a:b", "foo*", "*"], &["[meta]a", "[queue]a", "[filter=x]a", "[?x=y]a", "[a"]),
        ("foo*", &["foo*"], &["foo", "foobar", "foo:a"]),
        ("a:*", &["a:b", "a:b:c", "a:"], &["a", "b:a", "[meta]a:b"]),
        ("*:b", &["a:b", "x:b"], &["b", "a:c", "a:x:b", "a:b:c"]),
        ("a:*:c", &["a:b:c", "a::c"], &["a:c", "a:b:b:c", "a:b"]),
        ("*:*", &["a:b", "a:b:c"], &["a"]),
        ("[meta]*", &["[meta]log", "[meta]a:b"], &["log", "[queue]log", "meta"]),
        ("[meta]log", &["[meta]log"], &["log", "[meta]log:x", "[meta]other"]),
        ("[queue]*", &["[queue]appid-q"], &["appid-q", "[meta]q"]),
        (
            "[filter]a:*",
            &["[filter=bmFtZQ==]a:b", "[filter=x?rewind=1]a:b"],
            &["a:b", "[filter=x]a", "[meta]a:b"],
        ),
        ("[*]*", &["a", "a:b", "[meta]a", "[queue]x", "[filter=x]a", "[?x=y]a", "[a"], &[]),
        ("[*]a", &["a", "[meta]a"], &["b", "[meta]b", "a:b"]),
    ] {
        for channel in yes {
            assert!(matches(resource, channel), "{resource} means {channel}");
        }
        for channel in no {
            assert!(!matches(resource, channel), "{resource} does not mean {channel}");
        }
    }
}

#[test]
fn operations_are_the_union_over_matching_resources() {
    let c = parse(r#"{"*":["subscribe"],"a:*":["publish"],"a:b":["presence"],"[meta]*":["history"]}"#);
    let names = |channel| c.operations(channel).names().collect::<Vec<_>>();
    assert_eq!(names("x"), ["subscribe"]);
    assert_eq!(names("a:x"), ["publish", "subscribe"]);
    assert_eq!(names("a:b"), ["presence", "publish", "subscribe"]);
    assert_eq!(names("[meta]a:b"), ["history"]);
}

/// The first eleven rows are what SDK tests assert of `ably-common`'s test app.
#[test]
fn intersections() {
    const KEY1: &str = r#"{"canpublish:*":["publish"],"canpublish:andpresence":["presence","publish"],"cansubscribe:*":["subscribe"],"pushenabled:*":["publish","push-subscribe","subscribe"],"pushenabled:admin:*":["publish","push-admin","subscribe"]}"#;
    const KEY2: &str = r#"{"channel0":["publish"],"channel1":["publish"],"channel2":["publish","subscribe"],"channel3":["subscribe"],"channel4":["presence","publish","subscribe"],"channel5":["presence"],"channel6":["*"]}"#;
    const KEY3: &str = r#"{"*":["subscribe"]}"#;
    const NOTHING: &str = "";
    for (a, b, both) in [
        (KEY1, KEY1, KEY1),
        (KEY1, r#"{"canpublish:test":["subscribe"]}"#, NOTHING),
        (KEY2, r#"{"channelx":["publish"]}"#, NOTHING),
        (KEY2, r#"{"channel2":["presence","subscribe"]}"#, r#"{"channel2":["subscribe"]}"#),
        (
            KEY2,
            r#"{"channel2":["presence","subscribe"],"channelx":["presence"]}"#,
            r#"{"channel2":["subscribe"]}"#,
        ),
        (KEY2, r#"{"channel2":["*"]}"#, r#"{"channel2":["publish","subscribe"]}"#),
        (KEY2, r#"{"channel6":["publish","subscribe"]}"#, r#"{"channel6":["publish","subscribe"]}"#),
        (KEY3, r#"{"cansubscribe":["subscribe"]}"#, r#"{"cansubscribe":["subscribe"]}"#),
        (KEY1, r#"{"canpublish:check":["publish"]}"#, r#"{"canpublish:check":["publish"]}"#),
        (KEY3, r#"{"cansubscribe:*":["subscribe"]}"#, r#"{"cansubscribe:*":["subscribe"]}"#),
        (r#"{"*":["*"]}"#, r#"{"onlythischannel":["subscribe"]}"#, r#"{"onlythischannel":["subscribe"]}"#),
        (r#"{"a:*":["*"]}"#, r#"{"*:b":["*"]}"#, r#"{"a:b":["*"]}"#),
        (r#"{"a:*":["*"]}"#, r#"{"*:b:*":["*"]}"#, r#"{"a:b:*":["*"]}"#),
        (r#"{"a:*:c":["*"]}"#, r#"{"*:b:*":["*"]}"#, r#"{"a:b:c":["*"]}"#),
        (r#"{"a:*:c":["*"]}"#, r#"{"a:*":["*"]}"#, r#"{"a:*:c":["*"]}"#),
        (r#"{"a:*":["*"]}"#, r#"{"a":["*"]}"#, NOTHING),
        (r#"{"*":["*"]}"#, r#"{"[meta]*":["*"]}"#, NOTHING),
        (r#"{"*":["*"]}"#, r#"{"[*]*":["publish"]}"#, r#"{"*":["publish"]}"#),
        (r#"{"[*]*":["*"]}"#, r#"{"[meta]*":["subscribe"]}"#, r#"{"[meta]*":["subscribe"]}"#),
        (
            r#"{"[*]a:*":["*"]}"#,
            r#"{"[queue]*:b":["*"],"*":["history"]}"#,
            r#"{"[queue]a:b":["*"],"a:*":["history"]}"#,
        ),
    ] {
        for (x, y) in [(a, b), (b, a)] {
            let got = parse(x).intersect(&parse(y)).map(|c| c.to_json()).unwrap_or_default();
            assert_eq!(got, both, "{x} and {y}");
        }
    }
}

/// The rules once more, written for being read: vectors and recursion, no shortcuts, nothing shared with
/// the code under test but the names of operations.
mod reference {
    pub(super) type Grants = Vec<(String, Vec<String>)>;

    fn split(text: &str) -> (String, Vec<&str>) {
        match text.strip_prefix('[').map(|t| t.split_once(']')) {
            None => ("none".into(), text.split(':').collect()),
            Some(None) => ("?".into(), text.split(':').collect()),
            Some(Some((q, name))) => {
                let word: String = q.chars().take_while(|c| *c != '=' && *c != '?').collect();
                (format!("[{word}"), name.split(':').collect())
            }
        }
    }

    fn segments_match(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (["*"], rest) => !rest.is_empty(),
            (["*", pattern @ ..], [_, name @ ..]) => segments_match(pattern, name),
            ([p, pattern @ ..], [n, name @ ..]) => p == n && segments_match(pattern, name),
            _ => false,
        }
    }

    fn resource_matches(resource: &str, channel: &str) -> bool {
        let (resource_kind, pattern) = split(resource);
        let (channel_kind, name) = split(channel);
        (resource_kind == "[*" || resource_kind == channel_kind) && segments_match(&pattern, &name)
    }

    pub(super) fn allows(grants: &Grants, channel: &str, operation: &str) -> bool {
        grants.iter().any(|(resource, operations)| {
            operations.iter().any(|o| o == "*" || o == operation) && resource_matches(resource, channel)
        })
    }
}

fn name(wild: bool) -> impl Strategy<Value = String> {
    let star = if wild { 3 } else { 1 };
    let segment =
        prop_oneof![star => Just("*"), 4 => Just("a"), 3 => Just("b"), 1 => Just("a*"), 1 => Just("")];
    prop::collection::vec(segment, 1..4).prop_map(|s| if s == [""] { "a".to_owned() } else { s.join(":") })
}

fn resource() -> impl Strategy<Value = String> {
    let kind = prop_oneof![6 => Just(""), 1 => Just("[*]"), 1 => Just("[meta]"), 1 => Just("[queue]"), 1 => Just("[filter]")];
    (kind, name(true)).prop_map(|(kind, name)| format!("{kind}{name}"))
}

fn channel() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        8 => Just(""), 1 => Just("[meta]"), 1 => Just("[queue]"), 1 => Just("[filter=abc]"), 1 => Just("[filter?x=y]"),
        1 => Just("[?x=y]"), 1 => Just("[other]"), 1 => Just("[")
    ];
    (kind, name(false)).prop_map(|(kind, name)| format!("{kind}{name}"))
}

fn grants() -> impl Strategy<Value = reference::Grants> {
    let all: Vec<String> = Operation::all().map(|o| o.as_str().to_owned()).collect();
    let operations = prop_oneof![1 => Just(vec!["*".to_owned()]), 2 => prop::sample::subsequence(all, 1..9)];
    prop::collection::btree_map(resource(), operations, 1..5).prop_map(|m| m.into_iter().collect())
}

fn capability(grants: &reference::Grants) -> Capability {
    let map: BTreeMap<_, _> = grants.iter().cloned().collect();
    parse(&serde_json::to_string(&map).unwrap())
}

/// `FANFARE_CASES=10000000` for the long run. A case is one pair of capabilities, one channel and all
/// operations, in both capabilities and in their intersection.
#[test]
fn agrees_with_the_reference_model() {
    let cases = std::env::var("FANFARE_CASES").map_or(100_000, |n| n.parse().unwrap());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let inputs = (grants(), grants(), channel());
    let check = |(ours, theirs, channel): (reference::Grants, reference::Grants, String)| {
        let (a, b) = (capability(&ours), capability(&theirs));
        let both = a.intersect(&b);
        if let Some(both) = &both {
            prop_assert_eq!(&parse(&both.to_json()), both, "canonical JSON says the same");
        }
        for operation in Operation::all() {
            let expected = reference::allows(&ours, &channel, operation.as_str());
            prop_assert_eq!(a.allows(&channel, operation), expected, "{} {:?}", channel, operation);
            let expected = expected && reference::allows(&theirs, &channel, operation.as_str());
            let got = both.as_ref().is_some_and(|c| c.allows(&channel, operation));
            prop_assert_eq!(got, expected, "intersection, {} {:?}", channel, operation);
        }
        Ok(())
    };
    TestRunner::new(config).run(&inputs, check).unwrap_or_else(|e| panic!("{e}"));
}
