//! Key-value pairs of a model file, with getters whose errors are sentences.
//!
//! A getter gives `Ok(None)` where the key is absent and an error where it holds something else than asked for.
//! Writers disagree on integer types, so any integer type is accepted whose value fits.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::Error;
use crate::error::shown;

/// A value. Arrays of numbers are stored as such, so a large one costs what it costs in the file.
#[allow(missing_docs, reason = "each variant is named for its type")]
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(String),
    U8s(Vec<u8>),
    I8s(Vec<i8>),
    U16s(Vec<u16>),
    I16s(Vec<i16>),
    U32s(Vec<u32>),
    I32s(Vec<i32>),
    U64s(Vec<u64>),
    I64s(Vec<i64>),
    F32s(Vec<f32>),
    F64s(Vec<f64>),
    Bools(Vec<bool>),
    Strings(Vec<String>),
}

impl Value {
    /// What the value is, in words: `a string`, `an array of f32`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::U8(_) => "a u8",
            Self::I8(_) => "an i8",
            Self::U16(_) => "a u16",
            Self::I16(_) => "an i16",
            Self::U32(_) => "a u32",
            Self::I32(_) => "an i32",
            Self::U64(_) => "a u64",
            Self::I64(_) => "an i64",
            Self::F32(_) => "an f32",
            Self::F64(_) => "an f64",
            Self::Bool(_) => "a bool",
            Self::Str(_) => "a string",
            Self::U8s(_) => "an array of u8",
            Self::I8s(_) => "an array of i8",
            Self::U16s(_) => "an array of u16",
            Self::I16s(_) => "an array of i16",
            Self::U32s(_) => "an array of u32",
            Self::I32s(_) => "an array of i32",
            Self::U64s(_) => "an array of u64",
            Self::I64s(_) => "an array of i64",
            Self::F32s(_) => "an array of f32",
            Self::F64s(_) => "an array of f64",
            Self::Bools(_) => "an array of bools",
            Self::Strings(_) => "an array of strings",
        }
    }

    /// Number of items of an array, `None` for a single value.
    #[must_use]
    pub const fn array_len(&self) -> Option<usize> {
        Some(match self {
            Self::U8s(items) => items.len(),
            Self::I8s(items) => items.len(),
            Self::U16s(items) => items.len(),
            Self::I16s(items) => items.len(),
            Self::U32s(items) => items.len(),
            Self::I32s(items) => items.len(),
            Self::U64s(items) => items.len(),
            Self::I64s(items) => items.len(),
            Self::F32s(items) => items.len(),
            Self::F64s(items) => items.len(),
            Self::Bools(items) => items.len(),
            Self::Strings(items) => items.len(),
            _ => return None,
        })
    }

    /// The value of an integer of any type.
    fn as_integer(&self) -> Option<i128> {
        Some(match self {
            Self::U8(value) => i128::from(*value),
            Self::I8(value) => i128::from(*value),
            Self::U16(value) => i128::from(*value),
            Self::I16(value) => i128::from(*value),
            Self::U32(value) => i128::from(*value),
            Self::I32(value) => i128::from(*value),
            Self::U64(value) => i128::from(*value),
            Self::I64(value) => i128::from(*value),
            _ => return None,
        })
    }
}

/// A single value as itself, a string cut and escaped as in messages, an array as its kind and length.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(len) = self.array_len() {
            return write!(f, "{} with {len} items", self.kind());
        }
        match self {
            Self::Str(text) => f.write_str(&shown(text)),
            Self::Bool(flag) => flag.fmt(f),
            Self::F32(number) => number.fmt(f),
            Self::F64(number) => number.fmt(f),
            integer => integer.as_integer().expect("every other single value is an integer").fmt(f),
        }
    }
}

/// The pairs of one file, in its order, and an index by key.
#[derive(Debug)]
pub struct Metadata {
    file: String,
    pairs: Vec<(String, Value)>,
    by_key: HashMap<String, usize>,
}

impl Metadata {
    /// No pairs yet; `file` names the file in messages.
    pub(crate) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), pairs: Vec::new(), by_key: HashMap::new() }
    }

    /// Adds a pair; false, and nothing changes, if the key is there already.
    pub(crate) fn insert(&mut self, key: String, value: Value) -> bool {
        let is_new = !self.by_key.contains_key(&key);
        if is_new {
            self.by_key.insert(key.clone(), self.pairs.len());
            self.pairs.push((key, value));
        }
        is_new
    }

    /// Sets the value of `key`, whether or not it is there.
    pub(crate) fn set(&mut self, key: String, value: Value) {
        match self.by_key.get(&key) {
            Some(&idx) => self.pairs[idx].1 = value,
            None => {
                self.insert(key, value);
            }
        }
    }

    /// The name of the file the pairs come from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All pairs, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of `key`, whatever its type.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|&idx| &self.pairs[idx].1)
    }

    /// A string.
    ///
    /// # Errors
    /// If the value is not a string.
    pub fn str(&self, key: &str) -> Result<Option<&str>, Error> {
        self.typed(key, "a string", |value| match value {
            Value::Str(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// An integer of any type that fits a u32.
    ///
    /// # Errors
    /// If the value is not an integer or does not fit.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, Error> {
        let Some(integer) = self.typed(key, "an integer", Value::as_integer)? else { return Ok(None) };
        u32::try_from(integer).map(Some).map_err(|_| self.out_of_range(key, "a u32", &integer))
    }

    /// An f32, or an f64 rounded to one.
    ///
    /// # Errors
    /// If the value is of another type, or finite and beyond the largest f32.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, Error> {
        let number = self.typed(key, "a floating-point number", |value| match value {
            Value::F32(number) => Some(f64::from(*number)),
            Value::F64(number) => Some(*number),
            _ => None,
        })?;
        let Some(number) = number else { return Ok(None) };
        let rounded = number as f32;
        if number.is_finite() && rounded.is_infinite() {
            return Err(self.out_of_range(key, "an f32", &number));
        }
        Ok(Some(rounded))
    }

    /// A bool.
    ///
    /// # Errors
    /// If the value is not a bool.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, Error> {
        self.typed(key, "a bool", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// An array of strings.
    ///
    /// # Errors
    /// If the value is not an array of strings.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>, Error> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Strings(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// An array of f32.
    ///
    /// # Errors
    /// If the value is not an array of f32.
    pub fn f32s(&self, key: &str) -> Result<Option<&[f32]>, Error> {
        self.typed(key, "an array of f32", |value| match value {
            Value::F32s(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// An array of integers of any type that fit an i32; borrowed where the file holds i32.
    ///
    /// # Errors
    /// If the value is not an array of integers or one does not fit.
    pub fn i32s(&self, key: &str) -> Result<Option<Cow<'_, [i32]>>, Error> {
        match self.get(key) {
            Some(Value::I32s(items)) => Ok(Some(Cow::Borrowed(items))),
            _ => Ok(self.integers(key, "an i32")?.map(Cow::Owned)),
        }
    }

    /// An array of integers of any type that fit a u32; borrowed where the file holds u32.
    ///
    /// # Errors
    /// If the value is not an array of integers or one does not fit.
    pub fn u32s(&self, key: &str) -> Result<Option<Cow<'_, [u32]>>, Error> {
        match self.get(key) {
            Some(Value::U32s(items)) => Ok(Some(Cow::Borrowed(items))),
            _ => Ok(self.integers(key, "a u32")?.map(Cow::Owned)),
        }
    }

    /// As [`Metadata::str`], where the key must be there.
    ///
    /// # Errors
    /// Also if the key is missing; so for all `required_` getters.
    pub fn required_str(&self, key: &str) -> Result<&str, Error> {
        self.required(key, self.str(key))
    }

    /// As [`Metadata::u32`], where the key must be there.
    ///
    /// # Errors
    /// Also if the key is missing.
    pub fn required_u32(&self, key: &str) -> Result<u32, Error> {
        self.required(key, self.u32(key))
    }

    /// As [`Metadata::f32`], where the key must be there.
    ///
    /// # Errors
    /// Also if the key is missing.
    pub fn required_f32(&self, key: &str) -> Result<f32, Error> {
        self.required(key, self.f32(key))
    }

    /// As [`Metadata::bool`], where the key must be there.
    ///
    /// # Errors
    /// Also if the key is missing.
    pub fn required_bool(&self, key: &str) -> Result<bool, Error> {
        self.required(key, self.bool(key))
    }

    /// As [`Metadata::strings`], where the key must be there.
    ///
    /// # Errors
    /// Also if the key is missing.
    pub fn required_strings(&self, key: &str) -> Result<&[String], Error> {
        self.required(key, self.strings(key))
    }

    /// As [`Metadata::f32s`], where the key must be there.
    ///
    /// # Errors
    /// Also if the key is missing.
    pub fn required_f32s(&self, key: &str) -> Result<&[f32], Error> {
        self.required(key, self.f32s(key))
    }

    /// As [`Metadata::i32s`], where the key must be there.
    ///
    /// # Errors
    /// Also if the key is missing.
    pub fn required_i32s(&self, key: &str) -> Result<Cow<'_, [i32]>, Error> {
        self.required(key, self.i32s(key))
    }

    /// As [`Metadata::u32s`], where the key must be there.
    ///
    /// # Errors
    /// Also if the key is missing.
    pub fn required_u32s(&self, key: &str) -> Result<Cow<'_, [u32]>, Error> {
        self.required(key, self.u32s(key))
    }

    fn required<T>(&self, key: &str, found: Result<Option<T>, Error>) -> Result<T, Error> {
        found?.ok_or_else(|| Error::MissingKey { file: self.file.clone(), key: key.to_owned() })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        pick: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let (file, key) = (self.file.clone(), key.to_owned());
        pick(value).map(Some).ok_or(Error::WrongType { file, key, expected, found: value.kind() })
    }

    /// The items of an integer array as `T`.
    fn integers<T: TryFrom<i128>>(&self, key: &str, item: &'static str) -> Result<Option<Vec<T>>, Error> {
        let items = self.typed(key, "an array of integers", |value| match value {
            Value::U8s(items) => Some(convert(items)),
            Value::I8s(items) => Some(convert(items)),
            Value::U16s(items) => Some(convert(items)),
            Value::I16s(items) => Some(convert(items)),
            Value::U32s(items) => Some(convert(items)),
            Value::I32s(items) => Some(convert(items)),
            Value::U64s(items) => Some(convert(items)),
            Value::I64s(items) => Some(convert(items)),
            _ => None,
        })?;
        items.transpose().map_err(|integer| self.out_of_range(key, item, &integer))
    }

    fn out_of_range(&self, key: &str, expected: &'static str, found: &dyn std::fmt::Display) -> Error {
        Error::OutOfRange { file: self.file.clone(), key: key.to_owned(), expected, found: found.to_string() }
    }
}

/// Converts each item, or gives the first that does not fit.
fn convert<S: Copy + Into<i128>, T: TryFrom<i128>>(items: &[S]) -> Result<Vec<T>, i128> {
    items.iter().map(|&item| T::try_from(item.into()).map_err(|_| item.into())).collect()
}
