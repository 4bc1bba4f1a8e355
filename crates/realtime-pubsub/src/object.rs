//! JSON objects, where the derived readers of structs would take an array of the fields in their order as well.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Deserialize)]
    struct Pair<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        value: &'a RawValue,
    }

    #[test]
    fn objects_only_and_borrowed() {
        let Object(pair) = serde_json::from_str::<Object<Pair<'_>>>(r#"{"value":[1],"name":"a"}"#).unwrap();
        assert!(matches!(pair.name, Cow::Borrowed("a")) && pair.value.get() == "[1]");
        assert!(serde_json::from_str::<Pair<'_>>(r#"["a",[1]]"#).is_ok(), "what this is for");
        for text in
            [r#"["a",[1]]"#, "null", r#""a""#, r#"{"name":"a","name":"b","value":1}"#, r#"{"name":"a"}"#]
        {
            let failure = serde_json::from_str::<Object<Pair<'_>>>(text).err().unwrap();
            assert_eq!(failure.classify(), serde_json::error::Category::Data, "{text}");
        }
    }
}
