//! What a message has here and has no field for in the common model. It travels in `extras`, under one key, so that it
//! is in history, too: `{"realtimePubSub":{"id":"x","compress":true,"permissions":[…]}}`.

use fanfare_model::{Message, RawValue as ModelValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Clone, Copy, Default, Deserialize, Serialize)]
pub(crate) struct Extras<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) compress: bool,
    /// Of the client, as it may be shown to the app's own back end.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<&'a RawValue>,
}

#[derive(Deserialize, Serialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "realtimePubSub")]
    own: Extras<'a>,
}

impl<'a> Extras<'a> {
    /// Anyone may have written them: what is not right is not there.
    pub(crate) fn of(message: &'a Message) -> Self {
        match &message.extras {
            Some(ModelValue::Json(json)) => {
                serde_json::from_str::<Envelope<'_>>(json).map(|envelope| envelope.own).unwrap_or_default()
            }
            _ => Self::default(),
        }
    }

    /// Whether the publisher wanted it compressed. Most messages do not even have the word in them.
    pub(crate) fn compresses(message: &'a Message) -> bool {
        let named = matches!(&message.extras, Some(ModelValue::Json(json)) if json.contains("\"compress\""));
        named && Self::of(message).compress
    }

    pub(crate) fn to_model(self) -> Option<ModelValue> {
        if self.id.is_none() && !self.compress && self.permissions.is_none() {
            return None;
        }
        let json = serde_json::to_string(&Envelope { own: self }).ok()?;
        Some(ModelValue::Json(json.into()))
    }
}
