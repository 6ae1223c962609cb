//! The chat in a terminal: lines in, answers out, a few commands between.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Completer, Editor, Helper, Highlighter, Hinter};
use shoal_engine::SamplingParams;
use shoal_text::{Effort, Message, Role, Segment, Thinking};

use crate::args::RunArgs;
use crate::commands::run::Session;
use crate::environment::Environment;
use crate::terminal::{Dress, printable, sentence};

const HISTORY_LINES_MAX: usize = 1000;

const HELP: &str = "\
/help           this
/system TEXT    instructions for the conversation; without TEXT shows them,
                `/system -` removes them
/reset          forget the conversation
/stats          tokens and speed of the last answer and the whole conversation
/set            show the settings; /set NAME VALUE changes one:
                temp top_k top_p min_p seed max_tokens
                repeat_penalty frequency_penalty presence_penalty
                think on|off|default
                effort low|high|max: how long, where the model knows degrees
                fold on|off: show that the model reasons, not what
/reasoning      show what the model thought before its last answer
/bye            leave (also Ctrl-D)
A line that ends in \\ goes on in the next; so does text after \"\"\" until
another \"\"\".
Ctrl-C stops an answer.";

/// A line is complete unless it ends in a backslash or has an open `\"\"\"`.
#[derive(Completer, Helper, Highlighter, Hinter)]
struct Lines;

impl Validator for Lines {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

fn is_complete(input: &str) -> bool {
    input.matches("\"\"\"").count().is_multiple_of(2) && !input.ends_with('\\')
}

/// What was typed, without the marks that made it several lines.
fn typed_text(input: &str) -> String {
    input.replace("\\\n", "\n").replace("\"\"\"", "").trim().to_owned()
}

/// The conversation and what was said of it.
struct Chat<'a> {
    session: &'a mut Session,
    system: Option<String>,
    messages: Vec<Message>,
    fold: bool,
    last_reasoning: String,
    last_line: Option<String>,
    prompt_tokens: usize,
    answer_tokens: usize,
    dress: Dress,
    answering: Arc<AtomicBool>,
}

enum Next {
    Go,
    Leave,
}

pub(crate) fn run(session: &mut Session, args: &RunArgs, environment: &Environment) -> anyhow::Result<()> {
    if !std::io::stdout().is_terminal() {
        bail!("a chat needs a terminal; give a prompt as an argument or by a pipe");
    }
    let answering = Arc::new(AtomicBool::new(false));
    session.handle_interrupts(&answering)?;
    let dress = Dress::new(args.color, environment, &std::io::stdout());
    let mut chat = Chat {
        session,
        system: args.system.clone(),
        messages: Vec::new(),
        fold: args.fold,
        last_reasoning: String::new(),
        last_line: None,
        prompt_tokens: 0,
        answer_tokens: 0,
        dress,
        answering,
    };
    let mut editor: Editor<Lines, _> = Editor::new().context("cannot read lines from this terminal")?;
    editor.set_helper(Some(Lines));
    editor.set_max_history_size(HISTORY_LINES_MAX)?;
    let history = history_path(environment);
    // No history yet, or one that cannot be read, is no reason not to chat.
    let _ = history.as_ref().map(|path| editor.load_history(path));
    println!("{}{} · /help for commands, Ctrl-D to leave{}", dress.dim(), chat.session.name, dress.plain());
    loop {
        match editor.readline(&format!("{}> {}", dress.accent(), dress.plain())) {
            Ok(line) => {
                let text = typed_text(&line);
                if text.is_empty() {
                    continue;
                }
                let _ = editor.add_history_entry(line);
                match chat.take(&text) {
                    Ok(Next::Go) => {}
                    Ok(Next::Leave) => break,
                    Err(error) => println!("{}{}", sentence(&error), chat.way_out(&error)),
                }
            }
            Err(ReadlineError::Interrupted) => {
                println!("{}/bye or Ctrl-D to leave{}", dress.dim(), dress.plain())
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read from the terminal"),
        }
    }
    if let Some(path) = history {
        let _ = editor.save_history(&path);
    }
    Ok(())
}

fn history_path(environment: &Environment) -> Option<PathBuf> {
    std::fs::create_dir_all(&environment.cache_dir).ok()?;
    Some(environment.cache_dir.join("history.txt"))
}

impl Chat<'_> {
    fn take(&mut self, text: &str) -> anyhow::Result<Next> {
        let Some(command) = text.strip_prefix('/') else {
            self.say(text)?;
            return Ok(Next::Go);
        };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, rest.trim()) {
            ("help" | "?", _) => println!("{HELP}"),
            ("bye" | "quit" | "exit", _) => return Ok(Next::Leave),
            ("reset" | "clear", _) => self.reset(),
            ("system", "") => println!("{}", self.system.as_deref().unwrap_or("no system message")),
            ("system", "-") => self.system = None,
            ("system", text) => self.system = Some(text.to_owned()),
            ("stats", _) => self.stats(),
            ("reasoning", _) if self.last_reasoning.is_empty() => {
                println!("the last answer had no reasoning")
            }
            ("reasoning", _) => println!("{}", printable(&self.last_reasoning)),
            ("set", "") => self.show_settings(),
            ("set", setting) => self.set(setting)?,
            _ => bail!("no command /{name}; /help shows them"),
        }
        Ok(Next::Go)
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let user = Message::new(Role::User, text);
        let mut messages: Vec<Message> =
            self.system.iter().map(|system| Message::new(Role::System, system.clone())).collect();
        messages.extend_from_slice(&self.messages);
        messages.push(user.clone());
        let mut screen = Screen::new(self.dress, self.fold);
        self.session.interrupt.store(false, Ordering::SeqCst);
        self.answering.store(true, Ordering::SeqCst);
        let answer = self.session.ask(&messages, &mut |segment| screen.show(segment));
        self.answering.store(false, Ordering::SeqCst);
        let answer = answer?;
        screen.end()?;
        let line = self.session.closing_line(&answer);
        println!("{}{line}{}", self.dress.dim(), self.dress.plain());
        self.prompt_tokens += answer.prompt_tokens;
        self.answer_tokens += answer.completion_tokens;
        self.last_line = Some(line);
        self.last_reasoning = answer.reasoning;
        self.messages.push(user);
        self.messages.push(Message::new(Role::Assistant, answer.text));
        Ok(())
    }

    /// What a chat can do about an error, as the end of its sentence.
    fn way_out(&self, error: &anyhow::Error) -> &'static str {
        let is_full = matches!(error.downcast_ref(), Some(shoal_engine::Error::PromptTooLong { .. }));
        if is_full && !self.messages.is_empty() { "; /reset forgets the conversation so far" } else { "" }
    }

    fn reset(&mut self) {
        self.messages.clear();
        self.last_reasoning.clear();
        self.session.engine.forget();
        println!("the conversation is forgotten");
    }

    fn stats(&self) {
        println!("{}", self.last_line.as_deref().unwrap_or("no answer yet"));
        println!(
            "{} messages, {} prompt tokens asked and {} tokens answered in all; context of {} tokens",
            self.messages.len(),
            self.prompt_tokens,
            self.answer_tokens,
            self.session.engine.context_len()
        );
    }

    fn show_settings(&self) {
        let SamplingParams { temperature, top_k, top_p, min_p, repeat_penalty, seed, .. } =
            &self.session.sampling;
        let SamplingParams { frequency_penalty, presence_penalty, .. } = &self.session.sampling;
        println!("temp {temperature}  top_k {top_k}  top_p {top_p}  min_p {min_p}  seed {seed}");
        println!(
            "repeat_penalty {repeat_penalty}  frequency_penalty {frequency_penalty}  presence_penalty {presence_penalty}"
        );
        let max_tokens = self.session.max_tokens.map_or(Cow::Borrowed("none"), |n| Cow::Owned(n.to_string()));
        let fold = if self.fold { "on" } else { "off" };
        let think = match self.session.thinking {
            Thinking::Default => "default",
            Thinking::On => "on",
            Thinking::Off => "off",
        };
        let effort = match self.session.effort {
            Effort::Low => "low",
            Effort::High => "high",
            Effort::Max => "max",
        };
        println!("max_tokens {max_tokens}  think {think}  effort {effort}  fold {fold}");
    }

    fn set(&mut self, setting: &str) -> anyhow::Result<()> {
        let (name, value) = setting.split_once(char::is_whitespace).context("expected /set NAME VALUE")?;
        let value = value.trim();
        let mut sampling = self.session.sampling.clone();
        match name {
            "temp" | "temperature" => sampling.temperature = parse(name, value)?,
            "top_k" => sampling.top_k = parse(name, value)?,
            "top_p" => sampling.top_p = parse(name, value)?,
            "min_p" => sampling.min_p = parse(name, value)?,
            "repeat_penalty" => sampling.repeat_penalty = parse(name, value)?,
            "frequency_penalty" => sampling.frequency_penalty = parse(name, value)?,
            "presence_penalty" => sampling.presence_penalty = parse(name, value)?,
            "seed" => sampling.seed = parse(name, value)?,
            "max_tokens" if value == "none" => self.session.max_tokens = None,
            "max_tokens" => self.session.max_tokens = Some(parse(name, value)?),
            "fold" => self.fold = parse_switch(name, value)?,
            "think" if value == "default" => self.session.thinking = Thinking::Default,
            "think" => {
                self.session.thinking = if parse_switch(name, value)? { Thinking::On } else { Thinking::Off };
            }
            "effort" => self.session.effort = parse_effort(value)?,
            _ => bail!("no setting `{name}`; /set shows them"),
        }
        sampling.check()?;
        self.session.sampling = sampling;
        Ok(())
    }
}

fn parse<T: std::str::FromStr>(name: &str, value: &str) -> anyhow::Result<T> {
    value.parse().map_err(|_| anyhow::anyhow!("{name}: expected a number, found `{value}`"))
}

fn parse_effort(value: &str) -> anyhow::Result<Effort> {
    match value {
        "low" => Ok(Effort::Low),
        "high" => Ok(Effort::High),
        "max" => Ok(Effort::Max),
        _ => bail!("effort: expected low, high or max, found `{value}`"),
    }
}

fn parse_switch(name: &str, value: &str) -> anyhow::Result<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => bail!("{name}: expected on or off, found `{value}`"),
    }
}

/// Shows an answer as it comes: reasoning dim or folded into one line, then the answer.
pub(crate) struct Screen {
    dress: Dress,
    fold: bool,
    terminal: bool,
    reasoning_since: Option<Instant>,
    reasoning_pieces: usize,
    /// The answer so far ends with a line break.
    line_ended: bool,
}

impl Screen {
    pub(crate) fn new(dress: Dress, fold: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { dress, fold, terminal, reasoning_since: None, reasoning_pieces: 0, line_ended: false }
    }

    pub(crate) fn show(&mut self, segment: &Segment) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match segment {
            Segment::Reasoning(text) => {
                let first = self.reasoning_since.is_none();
                self.reasoning_since.get_or_insert_with(Instant::now);
                self.reasoning_pieces += 1;
                if !self.fold {
                    if first {
                        write!(out, "{}", self.dress.dim())?;
                    }
                    write!(out, "{}", self.text(text))?;
                } else if self.terminal {
                    write!(
                        out,
                        "\r{}thinking … {}{}",
                        self.dress.dim(),
                        self.reasoning_pieces,
                        self.dress.plain()
                    )?;
                }
            }
            Segment::Answer(text) => {
                self.end_reasoning(&mut out)?;
                self.line_ended = text.ends_with('\n');
                write!(out, "{}", self.text(text))?;
            }
            // Calls are told apart only where functions are offered.
            Segment::CallBegin(_) | Segment::CallArguments(_) => {}
        }
        out.flush()
    }

    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.terminal { printable(text) } else { Cow::Borrowed(text) }
    }

    fn end_reasoning(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        let Some(since) = self.reasoning_since.take() else { return Ok(()) };
        if !self.fold {
            return write!(out, "{}\n\n", self.dress.plain());
        }
        let line = format!("thought for {:.1} s", since.elapsed().as_secs_f32());
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        writeln!(out, "{start}{}{line}{}", self.dress.dim(), self.dress.plain())
    }

    /// Ends the answer with a line break: in a pipe always one more, so that the text before it is the answer as it
    /// is.
    pub(crate) fn end(&mut self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        self.end_reasoning(&mut out)?;
        if !(self.terminal && self.line_ended) {
            writeln!(out)?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_join_where_they_are_marked() {
        assert!(is_complete("one line"));
        assert!(!is_complete("goes on \\"));
        assert!(!is_complete("\"\"\"first"));
        assert!(is_complete("\"\"\"first\nsecond\"\"\""));
        assert_eq!(typed_text("a \\\nb"), "a \nb");
        assert_eq!(typed_text("\"\"\"first\nsecond\"\"\""), "first\nsecond");
    }
}
