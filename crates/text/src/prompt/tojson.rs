//! The `tojson` filter as chat templates expect it: Python's spacing, no escapes for HTML or for other scripts.
//!
//! The printing style of JSON is part of a prompt; a model trained on `{"a": 1}` reads `{"a":1}` as something new.

use std::io::{self, Write};

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind, State};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

use super::values;

/// Widest indentation.
const INDENT_MAX: usize = 16;
/// Longest output, in bytes.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Compact JSON with a space after `,` and `:`.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// `value` in one line, as templates print it.
pub(crate) fn spaced_json(value: &serde_json::Value) -> String {
    let mut out = Vec::new();
    let written = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced));
    written.map(|()| String::from_utf8_lossy(&out).into_owned()).unwrap_or_default()
}

/// A buffer that refuses to grow beyond its limit: shared values can unfold to any size.
struct Capped {
    bytes: Vec<u8>,
    max: usize,
}

impl Write for Capped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if more.len() > self.max - self.bytes.len() {
            return Err(io::Error::other("the output is too long"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `value | tojson`, with `indent` as an optional argument; other arguments Python knows are accepted and void.
pub(super) fn tojson(
    state: &State,
    value: Value,
    indent: Option<usize>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let indent = indent.or(kwargs.get::<Option<usize>>("indent")?);
    for name in ["ensure_ascii", "sort_keys", "separators"] {
        let _ = kwargs.get::<Option<Value>>(name)?;
    }
    kwargs.assert_all_used()?;
    let fail = |reason: String| Error::new(ErrorKind::InvalidOperation, format!("tojson: {reason}"));
    if indent.is_some_and(|indent| indent > INDENT_MAX) {
        return Err(fail(format!("an indentation of more than {INDENT_MAX}")));
    }
    // Writing recurses, so the value is measured first, in case it came another way than through `values`.
    let value = values::measured(state, value)?;
    let mut out = Capped { bytes: Vec::new(), max: OUTPUT_BYTES_MAX };
    let spaces = [b' '; INDENT_MAX];
    let written = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)),
        Some(width) => {
            let pretty = PrettyFormatter::with_indent(&spaces[..width]);
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, pretty))
        }
    };
    written.map_err(|err| fail(err.to_string()))?;
    state.consume_fuel((out.bytes.len() / 4) as u64)?;
    let text = String::from_utf8(out.bytes).map_err(|err| fail(err.to_string()))?;
    Ok(Value::from(text))
}
