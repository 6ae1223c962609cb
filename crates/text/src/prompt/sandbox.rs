//! Runs a template in bounded time, memory and stack.
//!
//! * **Fuel.** Every instruction costs, and so does every byte that is made and every item that is visited, so a loop
//!   or a doubling string ends in an error. One fuel pays for 64 bytes, so fuel bounds memory too.
//! * **Values.** Values are shared, so a small list may unfold to an endless one. The template is rewritten so that
//!   each value is measured as it is made (`rewrite.rs`, `values.rs`).
//! * **Stack.** Parsing, compiling and dropping values recurse as deep as the template nests. They happen on a thread
//!   with a stack that outlasts the deepest nesting that a template's length and the fuel allow.
//! * There is no loader, no file, no clock.

use std::sync::Arc;

use minijinja::machinery::{self, CompiledTemplate};
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

use super::rewrite;
use crate::error::Error;

/// Longest template, in bytes; those in use have up to 20 thousand.
pub(super) const SOURCE_BYTES_MAX: usize = 256 << 10;
/// Fuel of a run. The first part is for the template itself (macros, long fixed texts), the second for each message.
const FUEL_BASE: u64 = 200_000;
const FUEL_PER_MESSAGE: u64 = 5_000;
const FUEL_MAX: u64 = 1_000_000;
/// Deepest nesting of calls within the template.
const RECURSION_MAX: usize = 100;
/// Longest output, in bytes; messages are not in it.
pub(super) const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Stack of the thread that parses and runs. It is address space; what is not used is never touched.
const STACK_BYTES: usize = 256 << 20;
/// Marks the error of `raise_exception`.
const REFUSAL: &str = "\u{10F502}";

/// Checks that a template parses.
pub(super) fn check(source: &Arc<str>) -> Result<(), Error> {
    let source = Arc::clone(source);
    on_large_stack(move || compile(&source).map(drop))
}

/// Runs a template for a conversation of `message_count` messages and returns what it writes.
pub(super) fn run(source: &Arc<str>, context: Value, message_count: usize) -> Result<String, Error> {
    let source = Arc::clone(source);
    let fuel = FUEL_PER_MESSAGE.saturating_mul(message_count as u64).saturating_add(FUEL_BASE).min(FUEL_MAX);
    on_large_stack(move || {
        let mut environment = environment();
        environment.set_fuel(Some(fuel));
        let compiled = compile(&source)?;
        let mut text = String::new();
        evaluate(&environment, &compiled, context, &mut text).map_err(failure)?;
        if text.len() > OUTPUT_BYTES_MAX {
            return Err(Error::TemplateOutput { max: OUTPUT_BYTES_MAX });
        }
        Ok(text)
    })
}

fn evaluate<'e>(
    environment: &'e Environment<'e>,
    compiled: &CompiledTemplate<'e>,
    context: Value,
    text: &mut String,
) -> Result<(), minijinja::Error> {
    let mut output = machinery::make_string_output(text);
    let (instructions, blocks) = (&compiled.instructions, &compiled.blocks);
    machinery::eval(environment, instructions, context, blocks, &mut output, AutoEscape::None).map(drop)
}

fn compile(source: &str) -> Result<CompiledTemplate<'_>, Error> {
    rewrite::compile(source).map_err(|reason| Error::TemplateSyntax { reason: shorten_line(&reason) })
}

/// Runs `work` on a thread whose stack outlasts the deepest template.
fn on_large_stack<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let thread = std::thread::Builder::new().name(rewrite::NAME.into()).stack_size(STACK_BYTES).spawn(work);
    let thread =
        thread.map_err(|err| Error::TemplateRun { reason: format!("no thread to run it on: {err}") })?;
    thread.join().unwrap_or_else(|_| Err(Error::TemplateRun { reason: "the template engine gave up".into() }))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_recursion_limit(RECURSION_MAX);
    rewrite::equip(&mut environment);
    // In Python neither none nor an undefined value can be iterated over; templates ask that of `tools`.
    environment.add_test("iterable", |value: &Value| {
        value.as_str().is_some()
            || matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable)
    });
    environment.add_function("raise_exception", |reason: String| -> Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("{REFUSAL}{reason}")))
    });
    environment
}

fn failure(err: minijinja::Error) -> Error {
    match err.detail().and_then(|detail| detail.strip_prefix(REFUSAL)) {
        Some(reason) => Error::TemplateRefuses { reason: shorten_line(reason) },
        None => Error::TemplateRun { reason: shorten_line(&err.to_string()) },
    }
}

/// The start of `text` as one line; a template's words go into our messages.
fn shorten_line(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
