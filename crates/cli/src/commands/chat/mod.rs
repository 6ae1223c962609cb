//! The chat in a terminal: lines in, answers out, a few commands between.

mod lines;
mod settings;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use rustyline::Editor;
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use shoal_text::Message;

use self::lines::{Lines, typed_path, typed_text};
use self::settings::parse;
use crate::args::RunArgs;
use crate::commands::run::{Session, Wish};
use crate::conversation::{Branch, Conversation, Question, Said};
use crate::environment::Environment;
use crate::nearest::meant;
use crate::screen::Screen;
use crate::terminal::{Dress, one_line, printable, sentence};
use crate::text_file::{FILES_MAX, TextFile};
use crate::token_view;

const HISTORY_LINES_MAX: usize = 1000;

/// As Tab and a slip of the finger look for them.
const COMMANDS: [&str; 13] = [
    "help",
    "system",
    "read",
    "back",
    "branches",
    "branch",
    "again",
    "tokens",
    "reasoning",
    "stats",
    "set",
    "reset",
    "bye",
];

const HELP: &str = "\
/help           this
/system TEXT    instructions for the conversation; without TEXT shows them,
                `/system -` removes them
/read FILE      a text file for the next question, with what it costs;
                without FILE lists them, `/read -` forgets them
/back N         take back the last N questions, or one, and ask anew from
                there: a branch; what was said stays in its own
/branches       the branches; /branch N goes to one
/again          answer the last question anew, with the next seed
/tokens         the last answer with its unlikely tokens marked; `/tokens all`
                lists each with what else might have been said
/reasoning      show what the model thought before its last answer
/stats          tokens and speed of the last answer and the whole conversation
/set            show the settings; /set NAME VALUE changes one:
                temp top_k top_p min_p seed max_tokens
                repeat_penalty frequency_penalty presence_penalty
                think on|off|default
                effort low|high|max: how long, where the model knows degrees
                fold on|off: show that the model reasons, not what
                tokens on|off: keep for /tokens how likely each was
/reset          forget the conversation, all branches and files
/bye            leave (also Ctrl-D)
A line that ends in \\ goes on in the next; so does text after \"\"\" until
another \"\"\".
Ctrl-C stops an answer.";

/// The conversation and what was said of it.
struct Chat<'a> {
    session: &'a mut Session,
    system: Option<String>,
    conversation: Conversation,
    /// For the next question.
    files: Vec<TextFile>,
    home_dir: Option<PathBuf>,
    fold: bool,
    /// Whether answers keep how likely their tokens were. Not by itself: a softmax over the whole vocabulary, and the choice of the
    /// likeliest, are felt beside the token of a small model.
    keeps_tokens: bool,
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
        conversation: Conversation::default(),
        files: Vec::new(),
        home_dir: environment.home_dir.clone(),
        fold: args.fold,
        keeps_tokens: false,
        last_line: None,
        prompt_tokens: 0,
        answer_tokens: 0,
        dress,
        answering,
    };
    let mut editor: Editor<Lines, _> = Editor::new().context("cannot read lines from this terminal")?;
    editor.set_helper(Some(Lines::new()));
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
            ("read", "") => self.list_files()?,
            ("read", "-") => self.forget_files(),
            ("read", path) => self.read(path)?,
            ("back", count) => self.back(count)?,
            ("branches", _) => self.list_branches(),
            ("branch", number) => self.show_branch(number)?,
            ("again", _) => self.again()?,
            ("tokens", which) => self.tokens(which)?,
            ("stats", _) => self.stats(),
            ("reasoning", _) => self.reasoning(),
            ("set", "") => self.show_settings(),
            ("set", setting) => self.set(setting)?,
            _ => match meant(name, COMMANDS) {
                Some(near) => bail!("no command /{name}; did you mean /{near}? /help shows all"),
                None => bail!("no command /{name}; /help shows them"),
            },
        }
        Ok(Next::Go)
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let question = Question { text: text.to_owned(), files: std::mem::take(&mut self.files) };
        let messages = self.conversation.messages(self.system.as_deref(), Some(&question));
        match self.answer(&messages, 0) {
            Ok(said) => self.conversation.add(question, said),
            Err(error) => {
                // Asked again they need not be read again.
                self.files = question.files;
                return Err(error);
            }
        }
        Ok(())
    }

    fn again(&mut self) -> anyhow::Result<()> {
        let messages = self.conversation.messages_again(self.system.as_deref());
        let messages =
            messages.context("nothing has been asked here yet, so nothing can be answered again")?;
        let said = self.answer(&messages, self.conversation.answers().len() as u64)?;
        if self.conversation.answers().iter().any(|other| other.text == said.text) {
            let why = if self.session.sampling.temperature == 0.0 { ", as ever while temp is 0" } else { "" };
            println!("{}the same answer as before{why}{}", self.dress.dim(), self.dress.plain());
        }
        self.conversation.add_again(said);
        Ok(())
    }

    /// Shows the answer to `messages` as it comes.
    fn answer(&mut self, messages: &[Message], answers_before: u64) -> anyhow::Result<Said> {
        let wish = Wish { answers_before, logprobs: self.keeps_tokens.then_some(token_view::OTHERS) };
        let mut screen = Screen::new(self.dress, self.fold);
        self.session.interrupt.store(false, Ordering::SeqCst);
        self.answering.store(true, Ordering::SeqCst);
        let answer = self.session.ask(messages, &wish, &mut |segment| screen.show(segment));
        self.answering.store(false, Ordering::SeqCst);
        let answer = answer?;
        screen.end()?;
        let line = self.session.closing_line(&answer);
        println!("{}{line}{}", self.dress.dim(), self.dress.plain());
        self.prompt_tokens += answer.prompt_tokens;
        self.answer_tokens += answer.completion_tokens;
        self.last_line = Some(line);
        Ok(Said { text: answer.text, reasoning: answer.reasoning, tokens: answer.tokens })
    }

    fn read(&mut self, path: &str) -> anyhow::Result<()> {
        if self.files.len() == FILES_MAX {
            bail!("expected at most {FILES_MAX} files with a question; `/read -` forgets them");
        }
        let mut file = TextFile::read(&typed_path(path, self.home_dir.as_deref()))?;
        file.tokens = self.session.tokenizer.encode(&file.told()).len();
        let (name, tokens) = (file.name.clone(), file.tokens);
        self.files.push(file);
        let (used, limit) = (self.used(), self.session.engine.context_len());
        match used {
            Ok(used) if used < limit => {
                println!("{name}: {tokens} tokens; with it {used} of {limit} are used")
            }
            Ok(used) => {
                self.files.pop();
                let left = limit.saturating_sub(used - tokens);
                bail!(
                    "{name}: expected fewer than the {left} tokens that the context of {limit} has left, found {tokens}"
                );
            }
            Err(error) => {
                self.files.pop();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Tokens of the context that what is shown and the files take.
    fn used(&mut self) -> anyhow::Result<usize> {
        let question = Question { text: String::new(), files: std::mem::take(&mut self.files) };
        let messages = self.conversation.messages(self.system.as_deref(), Some(&question));
        self.files = question.files;
        Ok(self.session.prompt(&messages)?.0.len())
    }

    fn list_files(&mut self) -> anyhow::Result<()> {
        if self.files.is_empty() {
            println!("no file goes with the next question; /read FILE adds one");
            return Ok(());
        }
        let used = self.used()?;
        self.files.iter().for_each(|file| println!("{}: {} tokens", file.name, file.tokens));
        println!("with them {used} of {} are used", self.session.engine.context_len());
        Ok(())
    }

    fn forget_files(&mut self) {
        self.files.clear();
        println!("no file goes with the next question");
    }

    fn back(&mut self, count: &str) -> anyhow::Result<()> {
        let count = if count.is_empty() { 1 } else { parse("back", count)? };
        let most = self.conversation.question_count();
        if most == 0 {
            bail!("nothing has been asked here yet, so nothing can be taken back");
        }
        let question = self.conversation.back(count);
        let question =
            question.with_context(|| format!("back: expected a number from 1 to {most}, found {count}"))?;
        print!("back before “{}”; what you ask now begins a branch", cut(&question.text));
        // Asked in other words it still is about its files.
        let goes_along = self.files.is_empty() && !question.files.is_empty();
        if goes_along {
            self.files.clone_from(&question.files);
            print!(", to which its files go along (`/read -` forgets them)");
        }
        println!();
        Ok(())
    }

    fn list_branches(&self) {
        let branches = self.conversation.branches();
        for (i, branch) in branches.iter().enumerate() {
            println!("{}", branch_line(i, branch));
        }
        match self.conversation.question_count() {
            0 if branches.is_empty() => println!("nothing has been said yet"),
            count if !branches.iter().any(|branch| branch.is_shown) => {
                println!("* -  {}, and what you ask now begins a branch", questions(count));
            }
            _ => {}
        }
    }

    fn show_branch(&mut self, number: &str) -> anyhow::Result<()> {
        let count = self.conversation.branches().len();
        let place: Option<usize> = if number.is_empty() { None } else { Some(parse("branch", number)?) };
        let place = place.and_then(|number| number.checked_sub(1));
        if !place.is_some_and(|place| self.conversation.show(place)) {
            bail!("branch: expected a number from 1 to {count}, found `{number}`; /branches lists them");
        }
        if let Some(branch) = self.conversation.branches().iter().find(|branch| branch.is_shown) {
            println!("{}> {}{}", self.dress.accent(), self.dress.plain(), printable(branch.question));
            println!("{}", printable(branch.answer));
        }
        Ok(())
    }

    fn tokens(&mut self, which: &str) -> anyhow::Result<()> {
        let said = self.conversation.last_answer().context("no answer yet")?;
        if said.tokens.is_empty() && !self.keeps_tokens {
            self.keeps_tokens = true;
            println!(
                "how likely tokens are is not kept, since that slows small models; it is from now on: /again answers anew, \
                 `/set tokens off` ends it"
            );
            return Ok(());
        }
        if said.tokens.is_empty() {
            bail!("how likely its tokens were was not kept with the last answer; /again answers anew");
        }
        match which {
            "" => {
                println!("{}", token_view::marked(&said.tokens, &self.session.tokenizer, self.dress));
                token_view::legend(self.dress).iter().for_each(|legend| println!("{legend}"));
            }
            "all" => print!("{}", token_view::list(&said.tokens, &self.session.tokenizer, self.dress)),
            other => bail!("tokens: expected nothing or `all`, found `{other}`"),
        }
        Ok(())
    }

    fn reasoning(&self) {
        match self.conversation.last_answer().map(|said| said.reasoning.as_str()) {
            None | Some("") => println!("the last answer had no reasoning"),
            Some(reasoning) => println!("{}", printable(reasoning)),
        }
    }

    /// What a chat can do about an error, as the end of its sentence.
    fn way_out(&self, error: &anyhow::Error) -> &'static str {
        let is_full = matches!(error.downcast_ref(), Some(shoal_engine::Error::PromptTooLong { .. }));
        match (is_full, self.files.is_empty(), self.conversation.question_count()) {
            (true, false, _) => "; `/read -` forgets the files",
            (true, true, 1..) => "; /back takes back questions, /reset forgets all of them",
            _ => "",
        }
    }

    fn reset(&mut self) {
        self.conversation = Conversation::default();
        self.files.clear();
        self.session.engine.forget();
        println!("the conversation is forgotten");
    }

    fn stats(&self) {
        println!("{}", self.last_line.as_deref().unwrap_or("no answer yet"));
        println!(
            "{} messages, {} prompt tokens asked and {} tokens answered in all; context of {} tokens",
            2 * self.conversation.question_count(),
            self.prompt_tokens,
            self.answer_tokens,
            self.session.engine.context_len()
        );
    }
}

fn branch_line(place: usize, branch: &Branch<'_>) -> String {
    let mark = if branch.is_shown { '*' } else { ' ' };
    let answer = if branch.answer.is_empty() { "no answer".to_owned() } else { cut(branch.answer) };
    format!("{mark} {}  {}: “{}” → {answer}", place + 1, questions(branch.questions), cut(branch.question))
}

fn questions(count: usize) -> String {
    match count {
        0 => "the beginning".to_owned(),
        1 => "1 question".to_owned(),
        _ => format!("{count} questions"),
    }
}

/// The beginning of a text, for one line of a list.
fn cut(text: &str) -> String {
    const CHARS_MAX: usize = 32;
    let line = one_line(text.trim());
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_shows_every_command() {
        for name in COMMANDS {
            assert!(HELP.contains(&format!("/{name}")), "/{name}");
        }
    }

    #[test]
    fn a_branch_is_a_line_however_it_ends() {
        let question = "what is a\nshoal, and who has seen one lately?";
        let branch = Branch { questions: 2, question, answer: "Fish.\x1b[2J", is_shown: true };
        assert_eq!(
            branch_line(0, &branch),
            "* 1  2 questions: “what is a shoal, and who has see…” → Fish.\u{fffd}[2J"
        );
        let stopped = Branch { questions: 1, answer: "", is_shown: false, ..branch };
        assert!(branch_line(9, &stopped).starts_with("  10  1 question: "));
        assert!(branch_line(9, &stopped).ends_with(" → no answer"));
    }
}
