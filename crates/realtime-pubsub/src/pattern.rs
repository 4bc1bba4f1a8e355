//! Topic patterns: `*` stands for any run of characters, `/` among them; everything else for itself.

/// Whether the whole topic is what the pattern says. Time is at most the product of the lengths, whatever the
/// pattern: after a star nothing before it is tried again.
pub fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, topic) = (pattern.as_bytes(), topic.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and up to where it has swallowed the topic.
    let mut star: Option<(usize, usize)> = None;
    while t < topic.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(byte), _) if *byte == topic[t] => {
                p += 1;
                t += 1;
            }
            (_, Some((at, swallowed))) => {
                star = Some((at, swallowed + 1));
                p = at + 1;
                t = swallowed + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        for (pattern, topic, expected) in [
            ("*", "", true),
            ("*", "secure/inbound", true),
            ("*", "priv/0a1b", true),
            ("priv/*", "priv/", true),
            ("priv/*", "priv/a/b", true),
            ("priv/*", "priv", false),
            ("secure/*", "Secure/a", false),
            ("secure/*", "insecure/a", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("a*b*c", "a-b-b-c", true),
            ("a:b", "a:b", true),
            ("a.c", "abc", false),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("**", "a", true),
            ("ü*", "über", true),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern:?} on {topic:?}");
        }
    }

    #[test]
    fn many_stars_take_no_longer() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!matches(&pattern, &"a".repeat(4_000)));
    }

    /// Slow and plainly right.
    fn reference(pattern: &[char], topic: &[char]) -> bool {
        match pattern.split_first() {
            None => topic.is_empty(),
            Some(('*', rest)) => (0..=topic.len()).any(|n| reference(rest, &topic[n..])),
            Some((c, rest)) => topic.first() == Some(c) && reference(rest, &topic[1..]),
        }
    }

    proptest! {
        #[test]
        fn as_the_reference_says(pattern in "[ab*/ü]{0,8}", topic in "[ab/ü]{0,10}") {
            let p: Vec<char> = pattern.chars().collect();
            let t: Vec<char> = topic.chars().collect();
            prop_assert_eq!(matches(&pattern, &topic), reference(&p, &t));
        }
    }
}
