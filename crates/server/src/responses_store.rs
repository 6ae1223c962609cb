//! Answers that a later request may go on from: `previous_response_id`, `GET /v1/responses/{id}`.
//!
//! They lie in memory and nowhere else, within bounds: when there are too many, or they are too long together, the ones that were stored
//! first are forgotten, and who asks for them is told so. Each belongs to the key that it was asked with; to another it does not exist.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shoal_text::Message;
use shoal_text::tools::ToolCall;

/// Most answers, and most bytes of them together.
const COUNT_MAX: usize = 256;
pub(crate) const BYTES_MAX: usize = 16 << 20;

/// An answer, and the conversation up to its end.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) owner: Vec<u8>,
    pub(crate) messages: Vec<Message>,
    /// The response as JSON.
    pub(crate) response: String,
}

impl Stored {
    fn bytes(&self) -> usize {
        let of = |message: &Message| {
            let calls = message.calls.iter();
            let calls = calls
                .map(|call| call.id.len() + call.name.len() + call.arguments.len() + size_of::<ToolCall>());
            message.content.len()
                + message.reasoning.as_ref().map_or(0, String::len)
                + calls.sum::<usize>()
                + 64
        };
        self.messages.iter().map(of).sum::<usize>() + self.response.len()
    }
}

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<String, (Stored, usize)>,
    order: VecDeque<String>,
    bytes: usize,
}

/// The answers.
#[derive(Debug, Default)]
pub(crate) struct ResponseStore(Mutex<Inner>);

impl ResponseStore {
    /// Keeps an answer; what is longer than all may be together is not kept.
    pub(crate) fn put(&self, id: String, stored: Stored) {
        let bytes = stored.bytes();
        if bytes > BYTES_MAX {
            return;
        }
        let mut inner = self.lock();
        inner.by_id.insert(id.clone(), (stored, bytes));
        inner.order.push_back(id);
        inner.bytes += bytes;
        while inner.by_id.len() > COUNT_MAX || inner.bytes > BYTES_MAX {
            let Some(oldest) = inner.order.pop_front() else { return };
            inner.forget(&oldest);
        }
    }

    /// The answer of this id, if it is `owner`'s.
    pub(crate) fn get(&self, id: &str, owner: &[u8]) -> Option<Stored> {
        let inner = self.lock();
        inner.by_id.get(id).filter(|(stored, _)| stored.owner == owner).map(|(stored, _)| stored.clone())
    }

    /// Forgets the answer of this id; says whether it was there and `owner`'s.
    pub(crate) fn remove(&self, id: &str, owner: &[u8]) -> bool {
        let mut inner = self.lock();
        let is_theirs = inner.by_id.get(id).is_some_and(|(stored, _)| stored.owner == owner);
        if is_theirs {
            inner.forget(id);
            inner.order.retain(|other| other != id);
        }
        is_theirs
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, id: &str) {
        if let Some((_, bytes)) = self.by_id.remove(id) {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_text::Role;

    use super::*;

    fn stored(len: usize) -> Stored {
        let messages = vec![Message::new(Role::User, "x".repeat(len))];
        Stored { owner: b"a".to_vec(), messages, response: String::new() }
    }

    #[test]
    fn the_oldest_goes_and_nobody_sees_what_is_anothers() {
        let store = ResponseStore::default();
        for id in 0..=COUNT_MAX {
            store.put(id.to_string(), stored(10));
        }
        assert!(store.get("0", b"a").is_none() && store.get("1", b"a").is_some());
        assert!(store.get("1", b"b").is_none() && !store.remove("1", b"b"));
        assert!(store.remove("1", b"a") && store.get("1", b"a").is_none());
        store.put("long".to_owned(), stored(BYTES_MAX - 1000));
        assert!(store.get("long", b"a").is_some() && store.get("2", b"a").is_none(), "the others made room");
        store.put("longer".to_owned(), stored(BYTES_MAX));
        assert!(store.get("longer", b"a").is_none() && store.get("long", b"a").is_some());
        let inner = store.lock();
        assert_eq!(inner.by_id.len(), inner.order.len());
        assert_eq!(inner.bytes, inner.by_id.values().map(|(_, bytes)| bytes).sum::<usize>());
    }
}
