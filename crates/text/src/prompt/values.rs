//! The operations of templates that make or combine values, each of which measures what it made.
//!
//! The template engine charges fuel for what it allocates, but values are shared: `[x, x]` costs two slots, however
//! large `x` is, and fifty such steps make a list that takes 2^50 steps to print or compare. It also joins and repeats
//! lists lazily, free of charge, until a chain of joins is written out at once. So every value that holds values is
//! made here, and its size *with everything unfolded* is limited and paid for: nothing a template can hold is
//! larger than [`UNFOLDED_BYTES_MAX`] or nested deeper than [`DEPTH_MAX`].

use minijinja::value::{Rest, Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Largest value, everything unfolded, in bytes: its texts, and [`NODE_BYTES`] for each value in it.
const UNFOLDED_BYTES_MAX: usize = 4 << 20;
const NODE_BYTES: usize = 32;
/// Deepest nesting of a value.
const DEPTH_MAX: usize = 48;
/// Bytes, as measured, that one fuel pays for.
const BYTES_PER_FUEL: usize = 256;
/// Most items of a joined or repeated list.
const ITEMS_MAX: usize = 1 << 16;

/// Passes `value` on if it is of bearable size.
///
/// # Errors
/// If it is too large or too deep, or the fuel does not suffice.
pub(super) fn measured(state: &State, value: Value) -> Result<Value, Error> {
    let mut left = UNFOLDED_BYTES_MAX;
    measure(&value, DEPTH_MAX, &mut left)?;
    state.consume_fuel(((UNFOLDED_BYTES_MAX - left) / BYTES_PER_FUEL) as u64)?;
    Ok(value)
}

fn measure(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
    let own = NODE_BYTES + value.as_str().map_or(0, str::len);
    *left = left.checked_sub(own).ok_or_else(|| fail("a value that unfolds to too much"))?;
    if !matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) {
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or_else(|| fail("a value nested too deeply"))?;
    let is_map = value.kind() == ValueKind::Map;
    for item in value.try_iter()? {
        if is_map {
            measure(&value.get_item(&item)?, depth, left)?;
        }
        measure(&item, depth, left)?;
    }
    Ok(())
}

/// `[a, b]`.
pub(super) fn list(state: &mut State, items: Rest<Value>) -> Result<Value, Error> {
    measured(state, Value::from(items.0))
}

/// `(a, b)`.
pub(super) fn tuple(state: &mut State, items: Rest<Value>) -> Result<Value, Error> {
    measured(state, Value::from(Tuple::from(items.0)))
}

/// `{a: b}`, from keys and values in turn.
pub(super) fn map(state: &mut State, items: Rest<Value>) -> Result<Value, Error> {
    let pairs = items.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    measured(state, Value::from_pairs(pairs))
}

/// `left + right`: joins texts and lists, adds numbers.
pub(super) fn plus(state: &mut State, left: Value, right: Value) -> Result<Value, Error> {
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        return concat(state, left, right);
    }
    if is_list(&left) && is_list(&right) {
        let len = left.len().zip(right.len()).and_then(|(left, right)| left.checked_add(right));
        let len = list_len(state, len)?;
        let items: Vec<_> = left.try_iter()?.chain(right.try_iter()?).take(len).collect();
        return measured(state, Value::from(items));
    }
    number(&left, &right, i64::checked_add, |left, right| left + right)
}

/// `left * right`: repeats texts and lists, multiplies numbers.
pub(super) fn times(state: &mut State, left: Value, right: Value) -> Result<Value, Error> {
    let (repeated, count) = if left.is_integer() { (&right, &left) } else { (&left, &right) };
    // As in Python, a count below zero counts as zero.
    let count_of = |count: &Value| count.as_i64().map(|count| usize::try_from(count).unwrap_or(0));
    if let (Some(text), Some(count)) = (repeated.as_str(), count_of(count)) {
        let len = text.len().checked_mul(count).filter(|&len| len <= UNFOLDED_BYTES_MAX);
        let len = len.ok_or_else(|| fail("a repeated text that is too long"))?;
        state.consume_fuel((len / BYTES_PER_FUEL) as u64)?;
        return Ok(Value::from(text.repeat(count)));
    }
    if let (true, Some(count)) = (is_list(repeated), count_of(count)) {
        let len = list_len(state, repeated.len().and_then(|len| len.checked_mul(count)))?;
        let once: Vec<_> = repeated.try_iter()?.take(len).collect();
        let items: Vec<_> = once.iter().cycle().take(len).cloned().collect();
        return measured(state, Value::from(items));
    }
    number(&left, &right, i64::checked_mul, |left, right| left * right)
}

/// `values | sum`.
pub(super) fn sum(state: &mut State, values: Value) -> Result<Value, Error> {
    let mut total = Value::from(0);
    for value in values.try_iter()? {
        state.consume_fuel(1)?;
        total = number(&total, &value, i64::checked_add, |left, right| left + right)?;
    }
    Ok(total)
}

/// Methods of texts and maps, as Python has them. `join` and `format` are left out: their output is not paid for in
/// advance.
pub(super) fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if value.as_str().is_some() && name == "join" {
        let [values] = args else { return Err(fail("join() without one list")) };
        return state.apply_filter("join", &[values.clone(), value.clone()]);
    }
    if name == "format" {
        return Err(Error::from(ErrorKind::UnknownMethod));
    }
    let made = minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)?;
    measured(state, made)
}

fn concat(state: &State, left: &str, right: &str) -> Result<Value, Error> {
    state.consume_fuel((left.len().saturating_add(right.len()) / BYTES_PER_FUEL) as u64)?;
    Ok(Value::from([left, right].concat()))
}

/// Length of a list to be made; a list without a known length may have no end.
fn list_len(state: &State, len: Option<usize>) -> Result<usize, Error> {
    let len = len.filter(|&len| len <= ITEMS_MAX).ok_or_else(|| fail("a list of too many items"))?;
    state.consume_fuel((len * NODE_BYTES / BYTES_PER_FUEL) as u64)?;
    Ok(len)
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn number(
    left: &Value,
    right: &Value,
    whole: fn(i64, i64) -> Option<i64>,
    real: fn(f64, f64) -> f64,
) -> Result<Value, Error> {
    let is_number = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    if !is_number(left) || !is_number(right) {
        return Err(fail(format!("cannot combine {} and {}", left.kind(), right.kind())));
    }
    let is_float = |value: &Value| value.kind() == ValueKind::Number && !value.is_integer();
    if is_float(left) || is_float(right) {
        let float = |value: &Value| f64::try_from(value.clone());
        return Ok(Value::from(real(float(left)?, float(right)?)));
    }
    let int = |value: &Value| {
        if value.kind() == ValueKind::Bool { Some(value.is_true() as i64) } else { value.as_i64() }
    };
    let result = int(left).zip(int(right)).and_then(|(left, right)| whole(left, right));
    result.map(Value::from).ok_or_else(|| fail("a number beyond 64 bits"))
}

fn fail(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}
