use super::*;

#[test]
fn accept_key_of_the_rfc() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(verify_accept("dGhlIHNhbXBsZSBub25jZQ==", " s3pPLMBiTxaQ9kYGzzhZRbK+xOo= "));
    assert!(!verify_accept("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="));
    assert!(!verify_accept("dGhlIHNhbXBsZSBub25jZQ==", ""));
}

#[test]
fn keys_are_sixteen_bytes() {
    assert!(is_valid_key(client_key([7; 16])));
    assert!(is_valid_key("dGhlIHNhbXBsZSBub25jZQ=="));
    for wrong in
        ["", "AAAA", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZWU=", "not base64 at all!!!!!!!!"]
    {
        assert!(!is_valid_key(wrong), "{wrong}");
    }
}

const BARE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn offers_and_answers() {
    let window = |bits: u8| Some(format!("{BARE}; server_max_window_bits={bits}"));
    let bare = || Some(BARE.to_owned());
    let table: [(&[&str], Option<String>); 34] = [
        (&[], None),
        (&[""], None),
        (&["x-webkit-deflate-frame"], None),
        (&["permessage-deflate"], bare()),
        (&["Permessage-Deflate"], bare()),
        (&["permessage-deflate; client_max_window_bits"], bare()),
        (&["permessage-deflate; client_max_window_bits=8"], bare()),
        (&["permessage-deflate; client_max_window_bits=15"], bare()),
        (&["permessage-deflate; client_max_window_bits=7"], None),
        (&["permessage-deflate; client_max_window_bits=16"], None),
        (&["permessage-deflate; client_max_window_bits="], None),
        (&["permessage-deflate; server_max_window_bits"], None),
        (&["permessage-deflate; server_max_window_bits=7"], None),
        // In the RFC, and not in zlib.
        (&["permessage-deflate; server_max_window_bits=8"], None),
        (&["permessage-deflate; server_max_window_bits=9"], window(9)),
        (&["permessage-deflate; server_max_window_bits=10"], window(10)),
        (&["permessage-deflate; server_max_window_bits=15"], window(15)),
        (&["permessage-deflate; server_max_window_bits=16"], None),
        (&["permessage-deflate; server_max_window_bits=010"], None),
        (&["permessage-deflate; server_max_window_bits=+9"], None),
        (&["permessage-deflate; server_max_window_bits=\"10\""], window(10)),
        (&["permessage-deflate; server_max_window_bits=\"10"], None),
        (&["permessage-deflate ;server_max_window_bits = 12 ; client_max_window_bits"], window(12)),
        (&["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], bare()),
        (&["permessage-deflate; server_no_context_takeover=1"], None),
        (&["permessage-deflate; client_no_context_takeover=true"], None),
        (&["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], None),
        (&["permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"], None),
        (&["permessage-deflate; future=1"], None),
        (&["permessage-deflate;"], None),
        // The next offer, in the same line and in another line.
        (&["permessage-deflate; server_max_window_bits=8, permessage-deflate"], bare()),
        (&["other; a=\"x, permessage-deflate\", permessage-deflate; server_max_window_bits=11"], window(11)),
        (&["other", "permessage-deflate; server_max_window_bits=12"], window(12)),
        // Ours is the first that we can keep to, not the best.
        (&["permessage-deflate; server_max_window_bits=9, permessage-deflate"], window(9)),
    ];
    for (values, expected) in table {
        let answer = negotiate_deflate(values.iter().copied(), true).map(|params| params.to_header());
        assert_eq!(answer, expected, "{values:?}");
        assert_eq!(negotiate_deflate(values.iter().copied(), false), None);
    }
}

#[test]
fn the_number_of_offers_looked_at_is_bounded() {
    let bad = "permessage-deflate; nonsense, ";
    let at_limit = bad.repeat(15) + "permessage-deflate";
    let past_limit = bad.repeat(16) + "permessage-deflate";
    assert!(negotiate_deflate([&*at_limit].into_iter(), true).is_some());
    assert!(negotiate_deflate([&*past_limit].into_iter(), true).is_none());
}

#[test]
fn answers_that_a_client_takes() {
    use DeflateAnswerError::{ContextTakeover, NotOffered};
    let deflate = Ok(Some(DeflateParams::DEFAULT));
    let table = [
        (vec![], Ok(None)),
        (vec![BARE], deflate),
        (vec!["permessage-deflate; server_no_context_takeover"], deflate),
        (vec!["permessage-deflate; server_no_context_takeover; server_max_window_bits=8"], deflate),
        (vec!["permessage-deflate"], Err(ContextTakeover)),
        (vec!["permessage-deflate; server_no_context_takeover; client_max_window_bits=9"], Err(NotOffered)),
        (vec!["permessage-deflate; server_no_context_takeover; client_max_window_bits"], Err(NotOffered)),
        (vec!["permessage-deflate; x"], Err(NotOffered)),
        (vec!["permessage-bzip2"], Err(NotOffered)),
        (vec![BARE, BARE], Err(NotOffered)),
    ];
    for (values, expected) in table {
        assert_eq!(accept_deflate(values.iter().copied()), expected, "{values:?}");
    }
}

#[test]
fn a_server_takes_our_own_offer() {
    let params = negotiate_deflate([client_offer()].into_iter(), true).unwrap();
    assert_eq!(accept_deflate([&*params.to_header()].into_iter()), Ok(Some(DeflateParams::DEFAULT)));
}
