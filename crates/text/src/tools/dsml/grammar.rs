//! Which texts are answers with calls in DSML, as a grammar in Lark's notation.
//!
//! A function's parameters come in the order of its schema, those that are not required perhaps. A text stands as it is, within the
//! bounds of its schema; everything else is JSON that follows its own. Where a text's schema says more than can be said of
//! plain letters, it is written as JSON too, which the format allows.
//!
//! The grammar engine reads greedily: once it is in a stretch of free text it stays there as long as the text may go on. So whatever ends a stretch
//! belongs to its terminal: `</` before the mark where that is a token, all of the closing tag where it is text.

use serde_json::{Map, Value};

use super::super::{Demand, Tool};
use super::{Dialect, MARK};
use crate::error::Error;
use crate::grammar::bounded;
use crate::tokenizer::Tokenizer;

/// Any text.
const ANY: &str = "/(?s:.*)/";
/// Longest chain of references in a schema that is followed.
const REFS_MAX: usize = 16;
/// Keys of a schema under which a value may be one thing or another.
const CHOICES: [&str; 2] = ["anyOf", "oneOf"];
/// Keys of a function's schema that say something of all its parameters together.
const OF_ALL: [&str; 11] = [
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
];

/// The grammar of an answer that may call `tools`; `schema` is that of an answer that calls none, if it has to be JSON.
///
/// # Errors
/// If a function's schema says something of its parameters together: they are written one by one.
pub(crate) fn grammar(
    dialect: &Dialect,
    tokenizer: &Tokenizer,
    tools: &[Tool],
    demand: Demand,
    schema: Option<&Value>,
) -> Result<String, Error> {
    let mark = tokenizer.special(MARK).filter(|_| dialect.is_token).map(|id| format!("<[{}]>", id.0));
    let mut writer = Writer { mark, text: String::new() };
    let block = dialect.block;
    let (open, close) = (writer.tag("\n\n<", &format!("{block}>\n")), writer.tag("</", &format!("{block}>")));
    let more = if matches!(demand, Demand::Free | Demand::Some) { " call*" } else { "" };
    let rest = format!("call{more} {close}");
    writer.text = match (demand, schema) {
        (Demand::Some | Demand::One, _) => format!("start: {open} {rest}\n"),
        (Demand::Free | Demand::AtMostOne, Some(schema)) => {
            format!("start: answer | {open} {rest}\nanswer: %json {}\n", bounded(schema.clone()))
        }
        (Demand::Free | Demand::AtMostOne, None) => writer.free(block, &rest),
    };
    let names: Vec<String> = (0..tools.len()).map(|idx| format!("call_{idx}")).collect();
    writer.line("call", &names.join(" | "));
    for (idx, tool) in tools.iter().enumerate() {
        writer.call(idx, tool)?;
    }
    Ok(writer.text)
}

/// What a value may be.
#[derive(Debug, PartialEq)]
enum Field {
    /// A text: a terminal's expression.
    Text(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// JSON that follows a schema.
    Json(Value),
    /// Any text, or JSON that follows a schema.
    Either(Value),
}

struct Writer {
    /// The mark's token, if it is one.
    mark: Option<String>,
    text: String,
}

impl Writer {
    fn line(&mut self, name: &str, expression: &str) {
        self.text.push_str(&format!("{name}: {expression}\n"));
    }

    /// A tag, from its first letters to `rest` behind the mark.
    fn tag(&self, open: &str, rest: &str) -> String {
        match &self.mark {
            Some(mark) => format!("{} {mark} {}", quoted(open), quoted(rest)),
            None => quoted(&format!("{open}{MARK}{rest}")),
        }
    }

    /// Free text, and calls after it.
    fn free(&self, block: &str, rest: &str) -> String {
        let tag = format!("{block}>\n");
        match &self.mark {
            Some(mark) => {
                format!("start: FREE | OPEN {mark} {} {rest}\nFREE: {ANY}\nOPEN: {ANY} \"<\"\n", quoted(&tag))
            }
            None => {
                let open = format!("<{MARK}{tag}");
                format!("start: FREE | OPEN {rest}\nFREE: {}\nOPEN: FREE {}\n", without(&open), quoted(&open))
            }
        }
    }

    /// The rules of one function.
    fn call(&mut self, idx: usize, tool: &Tool) -> Result<(), Error> {
        let refuse = |reason: String| {
            Err(Error::Grammar { reason: format!("the parameters of `{}`: {reason}", tool.name) })
        };
        let root = &tool.parameters;
        if let Some(key) = OF_ALL.iter().find(|key| root.get(**key).is_some()) {
            return refuse(format!("`{key}` cannot be kept where parameters are written one by one"));
        }
        let none = Map::new();
        let properties = root.get("properties").and_then(Value::as_object);
        let required: Vec<&str> = root
            .get("required")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let any = Value::Object(Map::new());
        let mut fields: Vec<(&str, &Value)> =
            properties.unwrap_or(&none).iter().map(|(key, schema)| (key.as_str(), schema)).collect();
        let undeclared: Vec<&str> =
            required.iter().copied().filter(|key| fields.iter().all(|(known, _)| known != key)).collect();
        fields.extend(undeclared.into_iter().map(|key| (key, &any)));
        let mut parts = vec![self.tag("<", &format!("invoke name=\"{}\">\n", tool.name))];
        for (at, (key, schema)) in fields.iter().enumerate() {
            let name = format!("field_{idx}_{at}");
            self.field(&name, Some(key), &field(schema, root));
            parts.push(if required.contains(key) { name } else { format!("{name}?") });
        }
        let more = match root.get("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(schema @ Value::Object(_)) => Some(schema),
            _ => properties.is_none().then_some(&any),
        };
        if let Some(schema) = more {
            let name = format!("more_{idx}");
            self.field(&name, None, &field(schema, root));
            parts.push(format!("{name}*"));
        }
        let end = self.tag("</", "invoke>\n");
        let is_empty = fields.is_empty() && more.is_none();
        // Of the dialects some have an empty line where no parameter is.
        parts.push(if is_empty { format!("({end} | {})", self.tag("\n</", "invoke>\n")) } else { end });
        self.line(&format!("call_{idx}"), &parts.join(" "));
        Ok(())
    }

    /// The rules of a parameter; without a key it has any.
    fn field(&mut self, name: &str, key: Option<&str>, field: &Field) {
        let terminal = name.to_uppercase();
        let open = |writer: &Self, is_text: bool| match key {
            Some(key) => writer.tag("<", &format!("parameter name=\"{key}\" string=\"{is_text}\">")),
            None => {
                let end = quoted(&format!("\" string=\"{is_text}\">"));
                format!("{} {terminal}_KEY {end}", writer.tag("<", "parameter name=\""))
            }
        };
        let (text, json) = (open(self, true), open(self, false));
        let after_json = self.tag("</", "parameter>\n");
        if key.is_none() {
            self.line(&format!("{terminal}_KEY"), "/[^\"\\n<｜]{1,128}/");
        }
        match field {
            Field::Text(expression) => {
                let end = self.text(&terminal, expression);
                self.line(name, &format!("{text} {end}"));
            }
            Field::Choice(choices) => {
                let choices: Vec<String> = choices.iter().map(|choice| quoted(choice)).collect();
                self.line(name, &format!("{text} ({}) {after_json}", choices.join(" | ")));
            }
            Field::Json(schema) => {
                self.line(name, &format!("{json} {name}_json {after_json}"));
                self.line(&format!("{name}_json"), &format!("%json {}", bounded(schema.clone())));
            }
            Field::Either(schema) => {
                let end = self.text(&terminal, ANY);
                self.line(name, &format!("{text} {end} | {json} {name}_json {after_json}"));
                self.line(&format!("{name}_json"), &format!("%json {}", bounded(schema.clone())));
            }
        }
    }

    /// A text of this expression and what closes its parameter.
    fn text(&mut self, terminal: &str, expression: &str) -> String {
        match self.mark.clone() {
            Some(mark) => {
                self.line(terminal, &format!("({expression}) \"</\""));
                format!("{terminal} {mark} {}", quoted("parameter>\n"))
            }
            None => {
                let close = format!("</{MARK}parameter>");
                let body = if expression == ANY {
                    without(&close)
                } else {
                    format!("{expression} & {}", without(&close))
                };
                self.line(terminal, &format!("({body}) {}", quoted(&format!("{close}\n"))));
                terminal.to_owned()
            }
        }
    }
}

/// Any text in which `mark` does not stand.
fn without(mark: &str) -> String {
    let mark = mark.replace('/', "\\/").replace('\n', "\\n");
    format!("{ANY} & ~/(?s:.*){mark}(?s:.*)/")
}

/// What a value of `schema` may be; `root` is where its references lead.
fn field(schema: &Value, root: &Value) -> Field {
    let schema = followed(schema, root);
    let has = |key: &str| schema.get(key).is_some();
    let of_type = |name: &str| schema.get("type").is_some_and(|kind| kind == name);
    let choices = match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(choices)), _) => Some(choices.as_slice()),
        (None, Some(choice)) => Some(std::slice::from_ref(choice)),
        _ => None,
    };
    if let Some(choices) = choices {
        let is_text = |choice: &Value| choice.as_str().is_some_and(|text| !text.is_empty());
        return if !choices.is_empty() && choices.iter().all(is_text) && (of_type("string") || !has("type")) {
            Field::Choice(choices.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        } else {
            Field::Json(with_definitions(schema, root))
        };
    }
    if of_type("string") && !CHOICES.iter().any(|key| has(key)) && !has("not") && !has("allOf") {
        return match text(schema) {
            Some(expression) => Field::Text(expression),
            None => Field::Json(with_definitions(schema, root)),
        };
    }
    if may_be_any_text(schema, root) {
        Field::Either(with_definitions(schema, root))
    } else {
        Field::Json(with_definitions(schema, root))
    }
}

/// The schema that `schema` stands for.
fn followed<'s>(mut schema: &'s Value, root: &'s Value) -> &'s Value {
    for _ in 0..REFS_MAX {
        let one = match (schema.get("$ref"), schema.get("allOf")) {
            (Some(Value::String(path)), _) => path.strip_prefix('#').and_then(|path| root.pointer(path)),
            (None, Some(Value::Array(all))) if all.len() == 1 && schema.get("type").is_none() => all.first(),
            _ => None,
        };
        match one {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// A text of `schema`, as an expression; `None` if plain letters cannot say it.
fn text(schema: &Value) -> Option<String> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
    let length = match (bound("minLength"), bound("maxLength")) {
        (None, None) => None,
        (from, to) => {
            let to = to.map(|to| to.to_string()).unwrap_or_default();
            Some(format!("/(?s:.{{{},{to}}})/", from.unwrap_or(0)))
        }
    };
    let pattern = match schema.get("pattern") {
        None => None,
        Some(pattern) => Some(format!("/{}/", whole_pattern(pattern.as_str()?)?)),
    };
    Some(match (pattern, length) {
        (None, None) => ANY.to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(pattern), Some(length)) => format!("{pattern} & {length}"),
    })
}

/// A pattern for all of a text, ready for Lark; `None` if it is not plainly one.
fn whole_pattern(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^')?.strip_suffix('$').filter(|inner| !inner.ends_with('\\'))?;
    let mut written = String::from("(?:");
    let mut depth = 0usize;
    let mut is_escaped = false;
    for c in inner.chars() {
        match c {
            _ if is_escaped => {}
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.checked_sub(1)?,
            // Outside of groups it would divide the anchors as well.
            '|' if depth == 0 => return None,
            '^' | '$' if depth == 0 => return None,
            _ => {}
        }
        match c {
            '/' if !is_escaped => written.push_str("\\/"),
            '\n' => written.push_str("\\n"),
            _ => written.push(c),
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    written.push(')');
    Some(written)
}

/// Whether any text at all follows `schema`.
fn may_be_any_text(schema: &Value, root: &Value) -> bool {
    let bounds = ["minLength", "maxLength", "pattern", "not", "allOf", "if", "$ref"];
    if schema == &Value::Bool(false) || bounds.iter().any(|key| schema.get(key).is_some()) {
        return false;
    }
    let fits_type = match schema.get("type") {
        None => true,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        Some(kind) => kind == "string",
    };
    let branches = |key: &str| schema.get(key).and_then(Value::as_array);
    let is_branch = |branch: &Value| {
        let branch = followed(branch, root);
        branch.get("enum").is_none() && branch.get("const").is_none() && may_be_any_text(branch, root)
    };
    // Of `oneOf` exactly one may fit, so no branch is judged alone.
    fits_type
        && branches("oneOf").is_none()
        && branches("anyOf").is_none_or(|branches| branches.iter().any(is_branch))
}

/// `schema` with the definitions that its references lead to.
fn with_definitions(schema: &Value, root: &Value) -> Value {
    let mut schema = match schema {
        Value::Object(_) => schema.clone(),
        Value::Bool(true) => Value::Object(Map::new()),
        other => return other.clone(),
    };
    if let Value::Object(fields) = &mut schema {
        for key in ["$defs", "definitions"] {
            if let Some(definitions) = root.get(key) {
                fields.entry(key).or_insert_with(|| definitions.clone());
            }
        }
    }
    schema
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
