//! Compiles a template into a form that can be run safely.
//!
//! Three things are done to it, after which nothing it computes can be larger than `values.rs` allows:
//!
//! * Every instruction that makes or combines values is replaced by a call of our own operation: `+`, `*`, list, tuple
//!   and map displays, and filters, of which there is a fixed list. Each replacement takes as many values off the
//!   engine's stack and leaves one, as the original did. The operations have names that no template can
//!   write, so a template can neither call nor replace them.
//! * A namespace may be read and written but not passed around: it is the only value that could come to hold itself.
//! * The number of symbols in one expression is limited, for compiling takes time with its square.

use std::collections::HashSet;

use minijinja::machinery::{CompiledTemplate, Instruction, Instructions, TemplateConfig, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{AutoEscape, Environment, State};

use super::{tojson, values};

/// Most symbols in one expression or statement; templates in use have 60.
const SYMBOLS_MAX: usize = 1024;
pub(super) const NAME: &str = "chat template";

/// The filters there are, and the names of the operations that stand for them.
const FILTERS: &[(&str, &str)] = &[
    ("abs", "|abs"),
    ("bool", "|bool"),
    ("capitalize", "|capitalize"),
    ("count", "|count"),
    ("d", "|d"),
    ("default", "|default"),
    ("dictsort", "|dictsort"),
    ("e", "|e"),
    ("escape", "|escape"),
    ("first", "|first"),
    ("float", "|float"),
    ("indent", "|indent"),
    ("int", "|int"),
    ("items", "|items"),
    ("join", "|join"),
    ("last", "|last"),
    ("length", "|length"),
    ("list", "|list"),
    ("lower", "|lower"),
    ("map", "|map"),
    ("max", "|max"),
    ("min", "|min"),
    ("reject", "|reject"),
    ("rejectattr", "|rejectattr"),
    ("replace", "|replace"),
    ("reverse", "|reverse"),
    ("round", "|round"),
    ("safe", "|safe"),
    ("select", "|select"),
    ("selectattr", "|selectattr"),
    ("sort", "|sort"),
    ("split", "|split"),
    ("string", "|string"),
    ("sum", "|sum"),
    ("title", "|title"),
    ("tojson", "|tojson"),
    ("trim", "|trim"),
    ("unique", "|unique"),
    ("upper", "|upper"),
];
/// Filters of the engine that are left out.
const OTHER_FILTERS: &[&str] =
    &["attr", "batch", "chain", "format", "groupby", "lines", "pprint", "slice", "urlencode", "zip"];
const LIST: &str = "[";
const TUPLE: &str = "(";
const MAP: &str = "{";
const PLUS: &str = "+";
const TIMES: &str = "*";

/// Adds our operations to an environment and takes out what they replace.
pub(super) fn equip(environment: &mut Environment) {
    environment.add_function(LIST, values::list);
    environment.add_function(TUPLE, values::tuple);
    environment.add_function(MAP, values::map);
    environment.add_function(PLUS, values::plus);
    environment.add_function(TIMES, values::times);
    environment.add_filter("sum", values::sum);
    environment.add_filter("tojson", tojson::tojson);
    environment.set_unknown_method_callback(values::method);
    for &(name, operation) in FILTERS {
        let apply = move |state: &mut State, mut args: Rest<Value>, named: Kwargs| {
            if named.args().next().is_some() {
                args.push(Value::from(named));
            }
            let made = state.apply_filter(name, &args)?;
            values::measured(state, made)
        };
        environment.add_function(operation, apply);
    }
    for name in OTHER_FILTERS {
        environment.remove_filter(name);
    }
    for name in ["dict", "debug"] {
        environment.remove_global(name);
    }
}

/// Compiles `source`.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn compile(source: &str) -> Result<CompiledTemplate<'_>, String> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    let syntax = syntax.expect("the standard delimiters are valid");
    check_symbols(source, &syntax)?;
    let config = TemplateConfig {
        syntax_config: syntax,
        default_auto_escape: std::sync::Arc::new(|_| AutoEscape::None),
    };
    let mut compiled = CompiledTemplate::new(NAME, source, &config).map_err(|err| err.to_string())?;
    let mut namespaces = HashSet::new();
    for part in std::iter::once(&compiled.instructions).chain(compiled.blocks.values()) {
        find_namespaces(part, &mut namespaces)?;
    }
    for part in std::iter::once(&mut compiled.instructions).chain(compiled.blocks.values_mut()) {
        check_namespaces(part, &namespaces)?;
        replace(part)?;
    }
    Ok(compiled)
}

fn check_symbols(source: &str, syntax: &SyntaxConfig) -> Result<(), String> {
    let mut count = 0;
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token.map_err(|err| err.to_string())?;
        match token {
            Token::VariableStart | Token::BlockStart | Token::TemplateData(_) => count = 0,
            _ => count += 1,
        }
        if count > SYMBOLS_MAX {
            return Err(format!(
                "line {} has an expression of more than {SYMBOLS_MAX} symbols",
                span.start_line
            ));
        }
    }
    Ok(())
}

fn each<'i, 's>(part: &'i Instructions<'s>) -> impl Iterator<Item = (u32, &'i Instruction<'s>)> {
    (0..).map_while(|idx| Some((idx, part.get(idx)?)))
}

/// Collects the names of variables that hold namespaces.
fn find_namespaces<'s>(part: &Instructions<'s>, names: &mut HashSet<&'s str>) -> Result<(), String> {
    for (idx, instruction) in each(part) {
        match (instruction, part.get(idx + 1)) {
            (Instruction::CallFunction("namespace", _), Some(Instruction::StoreLocal(name))) => {
                names.insert(name);
            }
            (Instruction::CallFunction("namespace", _) | Instruction::Lookup("namespace"), _) => {
                return Err("a namespace is made elsewhere than in `set name = namespace(...)`".into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that namespaces are only read and written.
fn check_namespaces(part: &Instructions, names: &HashSet<&str>) -> Result<(), String> {
    for (idx, instruction) in each(part) {
        let Instruction::Lookup(name) = instruction else { continue };
        let is_used_well = match part.get(idx + 1) {
            Some(
                Instruction::GetAttr(_) | Instruction::SetAttr(_) | Instruction::PerformTest("defined", ..),
            ) => true,
            Some(Instruction::LoadConst(_)) => matches!(part.get(idx + 2), Some(Instruction::GetItem)),
            _ => false,
        };
        if names.contains(name) && !is_used_well {
            return Err(format!(
                "the namespace `{name}` is passed around, expected only its fields to be used"
            ));
        }
    }
    Ok(())
}

/// Puts our operations in the places of the engine's.
fn replace(part: &mut Instructions) -> Result<(), String> {
    let count =
        |values: usize| u16::try_from(values).map(Some).map_err(|_| "a list of too many items".to_owned());
    for idx in 0.. {
        let Some(instruction) = part.get_mut(idx) else { break };
        let call = match instruction {
            Instruction::Add => Instruction::CallFunction(PLUS, Some(2)),
            Instruction::Mul => Instruction::CallFunction(TIMES, Some(2)),
            Instruction::BuildList(Some(items)) => Instruction::CallFunction(LIST, count(*items)?),
            Instruction::BuildTuple(Some(items)) => Instruction::CallFunction(TUPLE, count(*items)?),
            Instruction::BuildMap(pairs) => Instruction::CallFunction(MAP, count(*pairs * 2)?),
            Instruction::ApplyFilter(name, args, _) => {
                // A filter that is not in the list is not in the environment either and fails if it is reached.
                let Some((_, operation)) = FILTERS.iter().find(|(known, _)| known == name) else { continue };
                Instruction::CallFunction(operation, *args)
            }
            _ => continue,
        };
        *instruction = call;
    }
    Ok(())
}
