//! Runs a template in bounded time, memory and stack.
//!
//! * **Fuel.** Every instruction costs, and so does every byte that is made and every item that is visited, so a loop
//!   or a doubling string ends in an error. One fuel pays for 64 bytes, so fuel bounds memory too.
//! * **`+`.** The engine joins lists lazily and free of charge, until a chain of 32 joins is written out at once: a list
//!   doubled 33 times takes more memory than there is. So every `+` of a compiled template is replaced by a call
//!   of our own (`plus.rs`), which pays before it joins; the filters that join lists the same way are replaced
//!   or absent.
//! * **Stack.** Parsing, compiling and dropping values recurse as deep as the template nests. They happen on a thread
//!   with a stack that outlasts the deepest nesting that a template's length and the fuel allow.
//! * There is no loader, no file, no clock.

use std::sync::Arc;

use minijinja::machinery::{self, CompiledTemplate, Instruction, Instructions, TemplateConfig};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

use super::plus;
use super::tojson::tojson;
use crate::error::Error;

/// Fuel of a run. The first part is for the template itself (macros, long fixed texts), the second for each message.
const FUEL_BASE: u64 = 200_000;
const FUEL_PER_MESSAGE: u64 = 5_000;
const FUEL_MAX: u64 = 1_000_000;
/// Deepest nesting of calls within the template.
const RECURSION_MAX: usize = 100;
/// Longest output, in bytes; messages are not in it.
pub(super) const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Stack of the thread that parses and runs. It is address space; what is not used is never touched.
const STACK_BYTES: usize = 512 << 20;
/// Marks the error of `raise_exception`.
const REFUSAL: &str = "\u{10F502}";
const NAME: &str = "chat template";

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

/// Parses a template and puts our own `+` in place of the engine's.
fn compile(source: &str) -> Result<CompiledTemplate<'_>, Error> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    let config = TemplateConfig {
        syntax_config: syntax.expect("the standard delimiters are valid"),
        default_auto_escape: Arc::new(|_| AutoEscape::None),
    };
    let compiled = CompiledTemplate::new(NAME, source, &config);
    let mut compiled = compiled.map_err(|err| Error::TemplateSyntax { reason: one_line(&err) })?;
    replace_plus(&mut compiled.instructions);
    compiled.blocks.values_mut().for_each(replace_plus);
    Ok(compiled)
}

fn replace_plus(instructions: &mut Instructions) {
    for idx in 0.. {
        match instructions.get_mut(idx) {
            // Both take two values off the stack and leave one. The name is none that a template can define.
            Some(instruction @ Instruction::Add) => *instruction = Instruction::CallFunction(plus::NAME, Some(2)),
            Some(_) => {}
            None => break,
        }
    }
}

/// Runs `work` on a thread whose stack outlasts the deepest template.
fn on_large_stack<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let thread = std::thread::Builder::new().name(NAME.into()).stack_size(STACK_BYTES).spawn(work);
    let thread = thread.map_err(|err| Error::TemplateRun { reason: format!("no thread to run it on: {err}") })?;
    thread.join().unwrap_or_else(|_| Err(Error::TemplateRun { reason: "the template engine gave up".into() }))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(plus::NAME, plus::plus);
    environment.add_filter("sum", plus::sum);
    environment.remove_filter("chain");
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", |reason: String| -> Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("{REFUSAL}{reason}")))
    });
    environment
}

fn failure(err: minijinja::Error) -> Error {
    match err.detail().and_then(|detail| detail.strip_prefix(REFUSAL)) {
        Some(reason) => Error::TemplateRefuses { reason: shorten_line(reason) },
        None => Error::TemplateRun { reason: one_line(&err) },
    }
}

fn one_line(err: &minijinja::Error) -> String {
    shorten_line(&err.to_string())
}

/// The start of `text` as one line; a template's words go into our messages.
fn shorten_line(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
