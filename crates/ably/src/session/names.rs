//! Channel names as clients write them: with qualifiers.

use fanfare_model::ChannelName;
use fanfare_model::error::{self, ErrorInfo};

/// The channel that is meant, and what the qualifier says beside it, still encoded: `[?rewind=1]x` is the channel `x`,
/// `[meta?rewind=1]log` is `[meta]log`.
pub fn parse_name(requested: &str) -> Result<(ChannelName, &str), ErrorInfo> {
    let qualifier = requested.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let Some((qualifier, rest)) = qualifier else {
        return Ok((ChannelName::parse(requested)?, ""));
    };
    let (kind, params) = qualifier.split_once('?').unwrap_or((qualifier, ""));
    if kind.starts_with("filter=") || kind == "filter" {
        return Err(error::bad_request("filtered channels are not supported yet"));
    }
    let name = match kind {
        "" if qualifier.starts_with('?') => ChannelName::parse(rest)?,
        "meta" => ChannelName::parse(&format!("[meta]{rest}"))?,
        _ => ChannelName::parse(requested)?,
    };
    Ok((name, params))
}
