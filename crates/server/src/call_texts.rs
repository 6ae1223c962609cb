//! The letters in which the model wrote the arguments of its calls.
//!
//! Anthropic's clients get arguments as a JSON value and send the value back, and a value has no spaces and no escapes. Written anew it may be
//! other tokens, and what is known of the conversation would end there. So the letters of the last calls are remembered, and stand again
//! where a value comes back that is the same.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Most calls, and most bytes of one.
const CALLS_MAX: usize = 512;
const BYTES_MAX: usize = 8 << 10;

/// Memory that they take at most.
pub(crate) const MEMORY_MAX: usize = CALLS_MAX * (BYTES_MAX + 256);

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<String, String>,
    order: VecDeque<String>,
}

/// The last calls.
#[derive(Debug, Default)]
pub(crate) struct CallTexts(Mutex<Inner>);

impl CallTexts {
    /// Remembers the arguments of a call.
    pub(crate) fn put(&self, id: String, arguments: String) {
        if arguments.len() > BYTES_MAX {
            return;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.by_id.insert(id.clone(), arguments).is_none() {
            inner.order.push_back(id);
        }
        while inner.order.len() > CALLS_MAX {
            if let Some(oldest) = inner.order.pop_front() {
                inner.by_id.remove(&oldest);
            }
        }
    }

    /// The letters of the call `id`, if its arguments were `value`.
    pub(crate) fn get(&self, id: &str, value: &Value) -> Option<String> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = inner.by_id.get(id)?;
        (serde_json::from_str::<Value>(text).ok()? == *value).then(|| text.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_letters_come_back_for_the_same_value_alone() {
        let texts = CallTexts::default();
        for id in 0..=CALLS_MAX {
            texts.put(id.to_string(), format!("{{\"a\":  {id}}}"));
        }
        assert_eq!(texts.get("0", &json!({"a": 0})), None, "forgotten");
        assert_eq!(texts.get("7", &json!({"a": 7})).as_deref(), Some("{\"a\":  7}"));
        assert_eq!(texts.get("7", &json!({"a": 8})), None, "another value");
        texts.put("long".to_owned(), "x".repeat(BYTES_MAX + 1));
        assert_eq!(texts.get("long", &json!(0)), None);
    }
}
