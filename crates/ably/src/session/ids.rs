//! What a publish says of itself, over WebSocket and HTTP alike: its ids, and what it does.

use fanfare_model::Message;
use fanfare_model::error::{self, ErrorInfo};

use crate::wire::MessageAction;

/// The id under which a publish is recorded, if its publisher chose one: then a second one with the same id is no second
/// publish. The ids of several messages must be `<base>:<index>`; a single message may have any.
pub(crate) fn record_id(messages: &[Message]) -> Result<Option<Box<str>>, ErrorInfo> {
    let chosen = messages.iter().filter(|m| m.id.is_some()).count();
    let Some(first) = messages.first().filter(|_| chosen > 0) else { return Ok(None) };
    if chosen < messages.len() {
        return Err(error::invalid_message_ids("either all messages of a publish have an id, or none"));
    }
    let first_id = first.id.as_deref().unwrap_or_default();
    if first_id.is_empty() {
        return Err(error::invalid_message_ids("an id is not empty"));
    }
    let base = base_of(first_id, 0);
    if messages.len() == 1 {
        return Ok(Some(base.unwrap_or(first_id).into()));
    }
    let of_base = |(index, m): (usize, &Message)| m.id.as_deref().and_then(|id| base_of(id, index)) == base;
    match base {
        Some(base) if messages.iter().enumerate().all(of_base) => Ok(Some(base.into())),
        _ => Err(error::invalid_message_ids("those of several messages must be <base>:<index>")),
    }
}

fn base_of(id: &str, index: usize) -> Option<&str> {
    let (base, suffix) = id.rsplit_once(':')?;
    (!base.is_empty() && suffix == index.to_string()).then_some(base)
}

/// Refuses what is not a new message: the other actions are of features that do not exist yet.
pub(crate) fn only_create(action: Option<MessageAction>) -> Result<(), ErrorInfo> {
    match action {
        None | Some(MessageAction::Create) => Ok(()),
        Some(MessageAction::Update | MessageAction::Delete | MessageAction::Append) => {
            let why = "message updates, deletes and appends are not supported yet";
            Err(ErrorInfo::new(93002, 400, why))
        }
        Some(_) => Err(error::bad_request("clients may not publish messages with this action")),
    }
}
