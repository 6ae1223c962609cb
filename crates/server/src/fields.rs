//! The fields of a request, taken one by one: each is honoured or refused by its name, none is passed over.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// What has not been taken yet.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a body.
    ///
    /// # Errors
    /// If it is not a JSON object.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let bad = |message| ApiError::body(axum::http::StatusCode::BAD_REQUEST, message);
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(bad("the body is JSON, but not an object".to_owned())),
            Err(error) => Err(bad(format!("the body is not JSON: {error}"))),
        }
    }

    pub(crate) const fn of(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// Whether there is a field `name`, and it is not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.peek(name).is_some_and(|value| !value.is_null())
    }

    /// The field `name`, left where it is.
    pub(crate) fn peek(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// From now on the field `from` stands under the name of `to`, which this API does not know.
    ///
    /// # Errors
    /// Later, in [`Fields::finish`], if both are there.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        if !self.has(to)
            && let Some(value) = self.0.remove(from)
        {
            self.0.insert(to.to_owned(), value);
        }
    }

    /// The field `name`; `None` if it is not there, or null.
    ///
    /// # Errors
    /// If it is not `expected`.
    pub(crate) fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let found = excerpt(&value);
                serde_json::from_value(value).map(Some).map_err(|_| {
                    ApiError::invalid(name, format!("`{name}`: expected {expected}, found {found}"))
                })
            }
        }
    }

    /// Takes the field `name`, of which only some values mean what happens anyway.
    ///
    /// # Errors
    /// If it has another one.
    pub(crate) fn only(&mut self, name: &str, neutral: &[Value]) -> Result<(), ApiError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if neutral.contains(&value) => Ok(()),
            Some(value) => {
                let found = excerpt(&value);
                let message = format!("`{name}`: {found} is not supported by this server yet; leave it out");
                Err(ApiError::invalid(name, message))
            }
        }
    }

    /// Takes fields that say nothing about the answer.
    pub(crate) fn drop_labels(&mut self, names: &[&str]) {
        for name in names {
            self.0.remove(*name);
        }
    }

    /// Refuses what is left; `within` is where the fields stand.
    ///
    /// # Errors
    /// If anything is.
    pub(crate) fn finish(self, within: &str) -> Result<(), ApiError> {
        match self.0.into_iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => {
                let name = format!("{within}{}", excerpt(&Value::String(name)).trim_matches('"'));
                Err(ApiError::invalid(&name, format!("`{name}` is not a field that this server knows")))
            }
        }
    }
}

/// The beginning of a value, for an error.
fn excerpt(value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(error: &ApiError) -> String {
        error.to_json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_is_left_or_wrong_is_named() {
        let mut fields = Fields::parse(br#"{"a": 1, "b": "x", "c": null, "d": [1]}"#).expect("an object");
        assert_eq!(fields.take::<u32>("a", "a number").expect("it is"), Some(1));
        let error = fields.take::<u32>("b", "a number").expect_err("it is not");
        assert_eq!(message(&error), "`b`: expected a number, found \"x\"");
        assert_eq!(fields.take::<u32>("c", "a number").expect("null is nothing"), None);
        let error = fields.finish("").expect_err("one is left");
        assert_eq!(error.to_json()["error"]["param"], "d");
    }

    #[test]
    fn only_what_happens_anyway_may_be_asked() {
        let fields = || Fields::parse(br#"{"n": 2}"#).expect("an object");
        assert!(fields().only("n", &[json!(2)]).is_ok());
        assert!(fields().only("n", &[json!(1)]).is_err());
        assert!(fields().only("m", &[]).is_ok());
    }

    #[test]
    fn bodies_that_are_no_object_are_refused() {
        for body in [&b"["[..], b"[]", b"", b"\"x\"", b"{\"a\": \xff}"] {
            assert!(Fields::parse(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert!(Fields::parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let text = excerpt(&Value::String("ä".repeat(500)));
        assert!(text.chars().count() == 61 && text.ends_with('…'));
    }
}
