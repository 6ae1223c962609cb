//! Which functions an answer may call, in the words of OpenAI's API; and what that and a format make of an answer's grammar.

use serde_json::{Value, json};
use shoal_text::Shape;
use shoal_text::tools::{Demand, Tool};

use crate::error::ApiError;
use crate::fields::Fields;
use crate::state::State;

/// Most functions of a request, and most bytes of a name.
const TOOLS_MAX: usize = 128;
const NAME_BYTES_MAX: usize = 128;
/// Most bytes of all functions together.
const TOOLS_BYTES_MAX: usize = 256 << 10;
/// Deepest nesting of parameters.
const DEPTH_MAX: usize = 64;

/// Which functions there are, and which of them the answer must call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Toolbox {
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: Choice,
    /// Whether more than one call may come.
    pub(crate) is_parallel: bool,
    /// Whether a call that does not follow its parameters is worse than none.
    pub(crate) is_strict: bool,
}

/// What the caller wants of the functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The model decides.
    Auto,
    /// No call.
    Never,
    /// A call of any.
    Any,
    /// A call of this one.
    Named(String),
}

impl Default for Toolbox {
    fn default() -> Self {
        Self { tools: Vec::new(), choice: Choice::Auto, is_parallel: true, is_strict: false }
    }
}

impl Toolbox {
    /// Takes `tools`, `tool_choice` and `parallel_tool_calls`.
    ///
    /// # Errors
    /// If one says what cannot be done.
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let mut toolbox = Self::default();
        for (i, mut tool) in fields.take_objects("tools", "a list of tools")?.into_iter().enumerate() {
            let place = format!("tools[{i}]");
            tool.only("type", &[json!("function")])?;
            // The Responses API has a function's fields beside its type, the others within.
            let mut function = match tool.take_object("function")? {
                Some(function) => {
                    tool.finish()?;
                    function
                }
                None => tool,
            };
            let name: Option<String> = function.take("name", "the name of a function")?;
            let description = function.take("description", "a text")?;
            let parameters: Option<Value> = function.take("parameters", "a JSON schema")?;
            toolbox.is_strict |= function.take("strict", "true or false")?.unwrap_or(false);
            function.finish()?;
            toolbox.push(&place, name, description, parameters)?;
        }
        toolbox.choice = choice(fields.take("tool_choice", "auto, none, required or a function")?)?;
        toolbox.is_parallel = fields.take("parallel_tool_calls", "true or false")?.unwrap_or(true);
        toolbox.check_choice("tool_choice")?;
        Ok(toolbox)
    }

    /// Adds a function that stands at `place` of the request.
    ///
    /// # Errors
    /// If its name or its parameters are none, or there are too many.
    pub(crate) fn push(
        &mut self,
        place: &str,
        name: Option<String>,
        description: Option<String>,
        parameters: Option<Value>,
    ) -> Result<(), ApiError> {
        let bad = |message: String| Err(ApiError::invalid(place, format!("`{place}`: {message}")));
        let is_name = |name: &String| {
            let may = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(may)
        };
        let Some(name) = name.filter(is_name) else {
            return bad(format!("expected a name of 1 to {NAME_BYTES_MAX} letters, digits, `_`, `-` or `.`"));
        };
        if self.tools.iter().any(|tool| tool.name == name) {
            return bad(format!("there is another function of the name `{name}`"));
        }
        let parameters = parameters.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
        if !parameters.is_object() || depth(&parameters) > DEPTH_MAX {
            return bad(format!(
                "expected a JSON schema, an object at most {DEPTH_MAX} deep, as its parameters"
            ));
        }
        self.tools.push(Tool { name, description, parameters });
        let bytes = |tool: &Tool| {
            tool.parameters.to_string().len() + tool.description.as_ref().map_or(0, String::len)
        };
        if self.tools.len() > TOOLS_MAX || self.tools.iter().map(bytes).sum::<usize>() > TOOLS_BYTES_MAX {
            return bad(format!(
                "expected at most {TOOLS_MAX} tools of at most {TOOLS_BYTES_MAX} bytes together"
            ));
        }
        Ok(())
    }

    /// Whether what is chosen is there.
    ///
    /// # Errors
    /// If not; `param` is where the choice stands.
    pub(crate) fn check_choice(&self, param: &str) -> Result<(), ApiError> {
        let missing = |what: String| Err(ApiError::invalid(param, format!("`{param}`: {what}")));
        match &self.choice {
            Choice::Any if self.tools.is_empty() => {
                missing("a call is required, but there are no `tools`".to_owned())
            }
            Choice::Named(name) if !self.tools.iter().any(|tool| tool.name == *name) => {
                missing(format!("there is no function `{name}` in `tools`"))
            }
            _ => Ok(()),
        }
    }

    /// The functions as the Responses API shows them.
    pub(crate) fn to_json(&self) -> Value {
        let tools = self.tools.iter().map(|tool| {
            json!({
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                // What is promised for one is kept for all.
                "strict": self.is_strict,
            })
        });
        tools.collect()
    }

    /// The functions that the model is told of.
    pub(crate) fn offered(&self) -> &[Tool] {
        if self.choice == Choice::Never { &[] } else { &self.tools }
    }

    /// The shape of an answer that calls them or, if it has a format, follows `schema`; and whether the caller relies on it.
    ///
    /// # Errors
    /// If the caller relies on what the model's format cannot keep.
    pub(crate) fn shape(
        &self,
        state: &State,
        schema: Option<&Value>,
    ) -> Result<Option<(Shape, bool)>, ApiError> {
        let chosen: Vec<Tool> = match &self.choice {
            Choice::Named(name) => self.tools.iter().filter(|tool| tool.name == *name).cloned().collect(),
            _ => self.offered().to_vec(),
        };
        if chosen.is_empty() {
            return Ok(None);
        }
        let (demand, is_promised) = match (&self.choice, self.is_parallel) {
            (Choice::Any, true) => (Demand::Some, true),
            (Choice::Any, false) | (Choice::Named(_), _) => (Demand::One, true),
            (_, true) => (Demand::Free, self.is_strict),
            (_, false) => (Demand::AtMostOne, self.is_strict),
        };
        let is_promised = is_promised || schema.is_some();
        match state.call_format.grammar(&state.tokenizer, &chosen, demand, schema) {
            Ok(grammar) => Ok(Some((Shape::Lark(grammar), is_promised))),
            Err(error) if is_promised => Err(ApiError::invalid("tools", format!("`tools`: {error}"))),
            // Nobody relies on it.
            Err(_) => Ok(None),
        }
    }
}

fn choice(value: Option<Value>) -> Result<Choice, ApiError> {
    let name = |value: &Value| {
        let function = value.get("function").unwrap_or(value);
        Some(Choice::Named(function.get("name")?.as_str()?.to_owned()))
            .filter(|_| value.get("type") == Some(&json!("function")))
    };
    let choice = match value {
        None => Some(Choice::Auto),
        Some(Value::String(text)) => match text.as_str() {
            "auto" => Some(Choice::Auto),
            "none" => Some(Choice::Never),
            "required" => Some(Choice::Any),
            _ => None,
        },
        Some(other) => name(&other),
    };
    let expected = "`tool_choice`: expected auto, none, required or `{\"type\": \"function\", \"function\": {\"name\": …}}`";
    choice.ok_or_else(|| ApiError::invalid("tool_choice", expected.to_owned()))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A shape, and the field that asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) shape: Shape,
    pub(crate) param: &'static str,
}

/// Takes `response_format` and its relatives: what the answer must look like.
///
/// # Errors
/// If one says what cannot be done, or two say something.
pub(crate) fn take_format(fields: &mut Fields) -> Result<Option<Format>, ApiError> {
    let mut shapes = Vec::new();
    if let Some(format) = fields.take_object("response_format")? {
        shapes.extend(read_format("response_format", format)?);
    }
    if let Some(outputs) = fields.take_object("structured_outputs")? {
        let param = "structured_outputs";
        shapes.extend(read_structured(outputs)?.into_iter().map(|shape| Format { shape, param }));
    }
    match shapes.len() {
        0 | 1 => Ok(shapes.pop()),
        _ => {
            let message = "`response_format` and `structured_outputs` say more than one thing; say it once";
            Err(ApiError::invalid("structured_outputs", message.to_owned()))
        }
    }
}

/// A format as OpenAI and DeepSeek write it, and with grammars as well.
pub(crate) fn read_format(param: &'static str, mut format: Fields) -> Result<Option<Format>, ApiError> {
    let kind: Option<String> = format.take("type", "a type")?;
    let shape = match kind.as_deref() {
        Some("text") => None,
        Some("json_object") => Some(Shape::JsonObject),
        Some("json_schema") => {
            // Within `json_schema`, or, in the Responses API, beside the type.
            let mut inner = match format.take_object("json_schema")? {
                Some(inner) => {
                    format.finish()?;
                    inner
                }
                None => format,
            };
            let schema = inner.need("schema", "a JSON schema")?;
            check_schema(&inner.place("schema"), &schema)?;
            // They name the schema or say what is the case anyway: it is always kept.
            inner.drop_labels(&["name", "description", "strict"]);
            inner.finish()?;
            return Ok(Some(Format { shape: Shape::JsonSchema(schema), param }));
        }
        Some("regex") => Some(Shape::Regex(format.need("regex", "a regular expression")?)),
        Some("grammar") => Some(Shape::Lark(format.need("grammar", "a grammar")?)),
        _ => {
            let message =
                format!("`{param}.type`: expected text, json_object, json_schema, regex or grammar");
            return Err(ApiError::invalid(param, message));
        }
    };
    format.finish()?;
    Ok(shape.map(|shape| Format { shape, param }))
}

fn check_schema(place: &str, schema: &Value) -> Result<(), ApiError> {
    if schema.is_object() || schema.is_boolean() {
        return Ok(());
    }
    Err(ApiError::invalid(place, format!("`{place}`: expected a JSON schema, which is an object")))
}

/// A format as vLLM writes it.
fn read_structured(mut outputs: Fields) -> Result<Vec<Shape>, ApiError> {
    let mut shapes = Vec::new();
    if let Some(schema) = outputs.take("json", "a JSON schema")? {
        check_schema(&outputs.place("json"), &schema)?;
        shapes.push(Shape::JsonSchema(schema));
    }
    shapes.extend(outputs.take("regex", "a regular expression")?.map(Shape::Regex));
    shapes.extend(outputs.take("grammar", "a grammar in Lark's notation")?.map(Shape::Lark));
    if let Some(choices) = outputs.take::<Vec<String>>("choice", "a list of texts")? {
        if choices.is_empty() {
            let place = outputs.place("choice");
            return Err(ApiError::invalid(&place, format!("`{place}`: expected one text at the least")));
        }
        let choices: Vec<String> =
            choices.into_iter().map(|choice| Value::from(choice).to_string()).collect();
        shapes.push(Shape::Lark(format!("start: {}", choices.join(" | "))));
    }
    if outputs.take("json_object", "true or false")?.unwrap_or(false) {
        shapes.push(Shape::JsonObject);
    }
    outputs.finish()?;
    Ok(shapes)
}
