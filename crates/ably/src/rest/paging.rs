//! Pages, and the links between them.

use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{Limits, Stamp};

use super::uri::{Query, encode};

const LIMIT_DEFAULT: usize = 100;
/// Every page is to look like the first.
const SHAPE: &[&str] = &["fields", "select", "flatten"];

/// How many items the caller wants.
pub(super) fn limit(query: &Query, limits: &Limits) -> Result<usize, ErrorInfo> {
    match query.integer("limit")? {
        None => Ok(LIMIT_DEFAULT.min(limits.page_max)),
        Some(limit) => match usize::try_from(limit) {
            Ok(limit @ 1..) if limit <= limits.page_max => Ok(limit),
            _ => Err(error::invalid_parameter(format!("limit is 1 to {}", limits.page_max))),
        },
    }
}

/// The place of one item in a channel's log: pages may end between two messages of one publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) stamp: Stamp,
    pub(super) index: usize,
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, ErrorInfo> {
        let parsed = text.split_once('-').and_then(|(stamp, index)| {
            let stamp = Stamp(stamp.parse().ok()?);
            Some(Self { stamp, index: index.parse().ok()? })
        });
        parsed.ok_or_else(|| error::invalid_parameter("cursor is not one of this server's"))
    }

    pub(super) fn to_text(self) -> String {
        format!("{}-{}", self.stamp.0, self.index)
    }
}

/// One page among others of the same list.
pub(super) struct Page<'a> {
    /// The path's last part: SDKs put the link in its place.
    pub(super) segment: &'static str,
    /// What was asked for, defaults included; never a credential.
    pub(super) params: Vec<(&'static str, String)>,
    pub(super) cursor: Option<&'a str>,
    /// Where the next page begins, if there is more.
    pub(super) next: Option<String>,
}

impl Page<'_> {
    /// Adds parameters that are passed on as they came.
    pub(super) fn keep(&mut self, query: &Query, names: &[&'static str]) {
        let given = |name: &&'static str| Some((*name, query.text(name)?.to_owned()));
        self.params.extend(names.iter().chain(SHAPE).filter_map(given));
    }

    pub(super) fn links(&self) -> Vec<String> {
        let mut links = vec![self.link("first", None), self.link("current", self.cursor)];
        if let Some(next) = &self.next {
            links.push(self.link("next", Some(next)));
        }
        links
    }

    fn link(&self, rel: &str, cursor: Option<&str>) -> String {
        let params = self.params.iter().map(|(name, value)| (*name, value.as_str()));
        let all = params.chain(cursor.map(|cursor| ("cursor", cursor)));
        let query: Vec<String> = all.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        format!("<./{}?{}>; rel=\"{rel}\"", self.segment, query.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limit = |text: &str| limit(&Query::parse(text).unwrap(), &Limits::default());
        for (text, wanted) in [("", 100), ("limit=", 100), ("limit=1", 1), ("limit=1000", 1000)] {
            assert_eq!(limit(text).unwrap(), wanted, "{text}");
        }
        for bad in ["limit=0", "limit=-1", "limit=1001", "limit=abc", "limit=1.5"] {
            assert_eq!(limit(bad).unwrap_err().code, 40003, "{bad}");
        }
    }

    #[test]
    fn places_round_trip_and_refuse_nonsense() {
        let place = Place { stamp: Stamp(1_726_585_978_590_001), index: 7 };
        assert_eq!(Place::parse(&place.to_text()).unwrap(), place);
        for bad in ["", "-", "1", "1-", "-1", "1-x", "99999999999999999999999-1"] {
            assert_eq!(Place::parse(bad).unwrap_err().code, 40003, "{bad}");
        }
    }

    #[test]
    fn links() {
        let mut page = Page {
            segment: "messages",
            params: vec![("limit", "2".into())],
            cursor: Some("5-0"),
            next: Some("9-1".into()),
        };
        page.keep(
            &Query::parse("start=1&clientId=a%2Cb&key=secret&end=").unwrap(),
            &["start", "end", "clientId"],
        );
        let same = "limit=2&start=1&clientId=a%2Cb";
        assert_eq!(
            page.links(),
            [
                format!("<./messages?{same}>; rel=\"first\""),
                format!("<./messages?{same}&cursor=5-0>; rel=\"current\""),
                format!("<./messages?{same}&cursor=9-1>; rel=\"next\""),
            ]
        );
        page.next = None;
        assert_eq!(page.links().len(), 2);
    }
}
