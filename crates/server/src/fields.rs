//! The fields of a request, taken one by one: each is honoured or refused by its name, none is passed over.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// What has not been taken yet.
pub(crate) struct Fields {
    map: Map<String, Value>,
    /// Where they stand in the request: nothing, or a path that ends in a point.
    within: String,
}

impl Fields {
    /// The fields of a body.
    ///
    /// # Errors
    /// If it is not a JSON object.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let bad = |message| ApiError::body(axum::http::StatusCode::BAD_REQUEST, message);
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self { map, within: String::new() }),
            Ok(_) => Err(bad("the body is JSON, but not an object".to_owned())),
            Err(error) => Err(bad(format!("the body is not JSON: {error}"))),
        }
    }

    /// The fields of an object that stands at `place` of the request.
    pub(crate) fn of(place: &str, map: Map<String, Value>) -> Self {
        Self { map, within: format!("{place}.") }
    }

    /// The path of the field `name`.
    pub(crate) fn place(&self, name: &str) -> String {
        format!("{}{name}", self.within)
    }

    /// The object `name`, as fields of their own.
    ///
    /// # Errors
    /// If it is something else.
    pub(crate) fn take_object(&mut self, name: &str) -> Result<Option<Self>, ApiError> {
        let place = self.place(name);
        Ok(self.take::<Map<String, Value>>(name, "an object")?.map(|map| Self::of(&place, map)))
    }

    /// The list of objects `name`, each as fields of its own.
    ///
    /// # Errors
    /// If it is something else.
    pub(crate) fn take_objects(&mut self, name: &str, expected: &str) -> Result<Vec<Self>, ApiError> {
        let place = self.place(name);
        let list = self.take::<Vec<Map<String, Value>>>(name, expected)?.unwrap_or_default();
        Ok(list.into_iter().enumerate().map(|(i, map)| Self::of(&format!("{place}[{i}]"), map)).collect())
    }

    /// Whether there is a field `name`, and it is not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.peek(name).is_some_and(|value| !value.is_null())
    }

    /// The field `name`, left where it is.
    pub(crate) fn peek(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
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
        match self.map.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let found = excerpt(&value);
                serde_json::from_value(whole(value)).map(Some).map_err(|_| {
                    let place = self.place(name);
                    ApiError::invalid(&place, format!("`{place}`: expected {expected}, found {found}"))
                })
            }
        }
    }

    /// Takes the field `name`, of which only some values mean what happens anyway.
    ///
    /// # Errors
    /// If it has another one.
    pub(crate) fn only(&mut self, name: &str, neutral: &[Value]) -> Result<(), ApiError> {
        match self.map.remove(name) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if neutral.contains(&value) => Ok(()),
            Some(value) => {
                let found = excerpt(&value);
                let place = self.place(name);
                let message = format!("`{place}`: {found} is not supported by this server; leave it out");
                Err(ApiError::invalid(&place, message))
            }
        }
    }

    /// Takes fields that say nothing about the answer.
    pub(crate) fn drop_labels(&mut self, names: &[&str]) {
        for name in names {
            self.map.remove(*name);
        }
    }

    /// The field `name`, which has to be there.
    ///
    /// # Errors
    /// If it is not, or is not `expected`.
    pub(crate) fn need<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Result<T, ApiError> {
        let place = self.place(name);
        let missing = || ApiError::invalid(&place, format!("`{place}`: expected {expected}, found none"));
        self.take(name, expected)?.ok_or_else(missing)
    }

    /// Refuses what is left.
    ///
    /// # Errors
    /// If anything is.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let within = self.within;
        match self.map.into_iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => {
                let name = format!("{within}{}", excerpt(&Value::String(name)).trim_matches('"'));
                Err(ApiError::invalid(&name, format!("`{name}` is not a field that this server knows")))
            }
        }
    }
}

/// Bytes that the values of a body take when they are understood, beside the bytes that it has.
pub(crate) fn bytes_of_values(body: &[u8]) -> usize {
    let (mut count, mut in_text, mut is_escaped) = (1usize, false, false);
    for byte in body {
        match (in_text, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b',' | b'[' | b'{') => count += 1,
            _ => {}
        }
    }
    // Lists grow by doubling; an entry of an object has a name as well.
    count.saturating_mul(2 * (size_of::<Value>() + size_of::<String>()))
}

/// A whole number that was written with a fraction of nothing, as JSON allows.
fn whole(value: Value) -> Value {
    const EXACT_MAX: f64 = (1u64 << 53) as f64;
    match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() < EXACT_MAX => {
            (number as i64).into()
        }
        _ => value,
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
        let error = fields.finish().expect_err("one is left");
        assert_eq!(error.to_json()["error"]["param"], "d");
    }

    #[test]
    fn fields_within_others_are_named_by_their_path() {
        let mut fields =
            Fields::parse(br#"{"a": {"b": "x", "c": 1}, "l": [{"d": 2.0}, {"d": 2.5}]}"#).expect("an object");
        let mut inner = fields.take_object("a").expect("an object").expect("it is there");
        let error = inner.take::<u32>("b", "a number").expect_err("a text");
        assert_eq!(message(&error), "`a.b`: expected a number, found \"x\"");
        assert_eq!(inner.finish().expect_err("one is left").to_json()["error"]["param"], "a.c");
        let mut list = fields.take_objects("l", "a list").expect("a list");
        assert_eq!(list[0].need::<u32>("d", "a number").expect("whole"), 2);
        let error = list[1].need::<u32>("d", "a number").expect_err("a fraction");
        assert_eq!(error.to_json()["error"]["param"], "l[1].d");
        assert!(message(&list[1].need::<u32>("e", "a number").expect_err("none")).contains("found none"));
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
    fn what_values_take_is_known_beforehand() {
        let one = bytes_of_values(b"1");
        assert_eq!(bytes_of_values(b"[1,2,3]"), 4 * one);
        assert_eq!(bytes_of_values(br#"{"a,[{": "x\",,,", "b": [{}]}"#), 5 * one, "texts are one value each");
        assert!(bytes_of_values("[0".repeat(100).as_bytes()) >= 100 * size_of::<Value>());
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let text = excerpt(&Value::String("ä".repeat(500)));
        assert!(text.chars().count() == 61 && text.ends_with('…'));
    }
}
