use super::*;

fn parse(
    authorization: Option<&str>,
    client_id: Option<&str>,
    query: &[(&str, &str)],
) -> Result<Credentials, ErrorInfo> {
    Credentials::parse(AuthHeaders { authorization, client_id }, query.iter().copied())
}

/// What was presented, in the clear.
fn shown(credentials: &Credentials) -> String {
    match &credentials.presented {
        Presented::Nothing => "nothing".to_owned(),
        Presented::Key(key) => format!("key {}", key.expose_secret()),
        Presented::Token(token) => format!("token {}", token.expose_secret()),
    }
}

#[test]
fn where_credentials_are_found() {
    let basic = format!("Basic {}", STANDARD.encode("a.b:c"));
    let unpadded = format!("basic {}", STANDARD.encode("a.b:c").trim_end_matches('='));
    let bearer = format!("Bearer {}", STANDARD.encode("app.token"));
    for (authorization, query, expected) in [
        (None, &[][..], "nothing"),
        (None, &[("format", "json"), ("v", "3")], "nothing"),
        (None, &[("key", "")], "nothing"),
        (None, &[("key", "a.b:c")], "key a.b:c"),
        (None, &[("access_token", "t")], "token t"),
        (None, &[("accessToken", "t")], "token t"),
        (None, &[("key", "a.b:c"), ("accessToken", "t")], "token t"),
        (Some(&*basic), &[("accessToken", "t")], "key a.b:c"),
        (Some(&unpadded), &[], "key a.b:c"),
        (Some(&bearer), &[("key", "a.b:c")], "token app.token"),
        (Some("Bearer app.token"), &[], "token app.token"),
        (Some("bearer  eyJh.eyJp.c2ln "), &[], "token eyJh.eyJp.c2ln"),
        (Some("Bearer not-base64!"), &[], "token not-base64!"),
    ] {
        assert_eq!(shown(&parse(authorization, None, query).unwrap()), expected);
    }
    for bad in ["", "Basic", "Basic ", "Basic %%%", "Digest abc", "Bearer", "Basic /w=="] {
        assert_eq!(refusal(parse(Some(bad), None, &[])), (40101, 401), "{bad:?}");
    }
    let long = "x".repeat(CREDENTIAL_BYTES_MAX + 1);
    assert_eq!(refusal(parse(None, None, &[("key", &long)])), (40005, 400));
    assert_eq!(refusal(Credentials::token(&long, None)), (40005, 400));
}

#[test]
fn where_client_ids_are_found() {
    for (header, query, expected) in [
        (None, &[][..], None),
        (None, &[("clientId", "x")], Some("x")),
        (None, &[("clientId", "")], Some("")),
        (Some("w6Q="), &[("clientId", "x")], Some("ä")),
    ] {
        assert_eq!(parse(None, header, query).unwrap().client_id(), expected);
    }
    for bad in ["not base64", "/w=="] {
        assert_eq!(refusal(parse(None, Some(bad), &[])), (40012, 400));
    }
}

/// A15: nothing of a secret or of a client id gets into a log by way of `{:?}`.
#[test]
fn secrets_are_not_printed() {
    let world = World::new();
    let auth = authenticator();
    let details = token(&auth, &world, "app.full", json!({"clientId": "someone"}));
    let literal = details.token.expose_secret();
    let credentials = Credentials::token(literal, Some("someone")).unwrap();
    let identity = auth.authenticate(&world, &credentials, TLS, now()).unwrap();
    let printed = format!("{details:?} {identity:?} {auth:?} {:?}", identity.app);
    assert!(!printed.contains(SECRET) && !printed.contains(literal));
    for key in ["a.b:my-secret", "app.full:my-secret"] {
        let credentials = Credentials::key(key, Some("someone")).unwrap();
        let refusal = auth.authenticate(&world, &credentials, TLS, now()).unwrap_err();
        let printed = format!("{credentials:?} {refusal:?} {refusal}");
        assert!(!printed.contains("my-secret") && !printed.contains("someone"), "{printed}");
    }
}
