//! `+` for templates: joins texts and lists and adds numbers, and pays for what it makes before making it.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Name of the function that stands for `+`. No template can write it, so none can call or replace it.
pub(super) const NAME: &str = "+";
/// Most items of a joined list.
const ITEMS_MAX: usize = 1 << 16;
/// Items of a list that one fuel pays for.
const ITEMS_PER_FUEL: usize = 2;

/// `left + right`.
///
/// # Errors
/// If the two cannot be added, or their sum is too large.
pub(super) fn plus(state: &State, left: Value, right: Value) -> Result<Value, Error> {
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        let len = left.len().saturating_add(right.len());
        state.consume_fuel((len / 64) as u64)?;
        return Ok(Value::from([left, right].concat()));
    }
    if is_list(&left) && is_list(&right) {
        return join(state, &left, &right);
    }
    if is_number(&left) && is_number(&right) {
        if left.is_integer() && right.is_integer() {
            let sum = left.as_i64().zip(right.as_i64()).and_then(|(left, right)| left.checked_add(right));
            return sum.map(Value::from).ok_or_else(|| fail("a sum beyond 64 bits".into()));
        }
        let (left, right) = (f64::try_from(left)?, f64::try_from(right)?);
        return Ok(Value::from(left + right));
    }
    Err(fail(format!("cannot add {} and {}", left.kind(), right.kind())))
}

/// `values | sum`.
///
/// # Errors
/// As [`plus`].
pub(super) fn sum(state: &State, values: Value) -> Result<Value, Error> {
    let mut total = Value::from(0);
    for (idx, value) in values.try_iter()?.enumerate() {
        state.consume_fuel(1)?;
        total = if idx == 0 { value } else { plus(state, total, value)? };
    }
    Ok(total)
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn is_number(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
}

fn join(state: &State, left: &Value, right: &Value) -> Result<Value, Error> {
    // A list without a known length may have no end.
    let len = left.len().zip(right.len()).and_then(|(left, right)| left.checked_add(right));
    let len = len.filter(|&len| len <= ITEMS_MAX).ok_or_else(|| fail("a joined list of too many items".into()))?;
    state.consume_fuel((len / ITEMS_PER_FUEL) as u64 + 1)?;
    let items = left.try_iter()?.chain(right.try_iter()?);
    Ok(items.take(len).collect())
}

fn fail(reason: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}
