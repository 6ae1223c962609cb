//! The chat as somebody at a terminal meets it: a pseudo-terminal that can do as little as possible, lines in, what is shown out.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{Place, arg};

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nothing comes after a prompt, if it is one.
const QUIET: Duration = Duration::from_millis(150);

const PROMPT: &str = "\r\n> ";

/// A chat that waits for a line.
struct Chat {
    child: Child,
    keys: File,
    shown: Receiver<Vec<u8>>,
    place: Place,
}

impl Chat {
    fn start(args: &[&str]) -> Self {
        let place = Place::new();
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&keys).and_then(|()| unlockpt(&keys)).expect("its other end");
        let name = ptsname(&keys, Vec::new()).expect("its name").into_string().expect("text");
        let open = || File::options().read(true).write(true).open(&name).expect("the other end opens");
        let mut command = place.command(&[&["run", "minnow", "--threads", "1"], args].concat());
        command.env("TERM", "dumb").env("NO_COLOR", "1");
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().expect("the program starts");
        // The command holds ends of the terminal, which ends only when they are closed.
        drop(command);
        let keys = File::from(keys);
        let mut screen = keys.try_clone().expect("the same terminal");
        let (to, shown) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = screen.read(&mut bytes) {
                let _ = to.send(bytes[..len].to_vec());
            }
        });
        let mut chat = Self { child, keys, shown, place };
        chat.until_prompt();
        chat
    }

    /// Types a line and waits for the next prompt; what was shown between, with plain ends of lines.
    fn say(&mut self, line: &str) -> String {
        self.type_line(line);
        self.until_prompt()
    }

    fn type_line(&mut self, line: &str) {
        self.keys.write_all(format!("{line}\n").as_bytes()).expect("the terminal takes it");
    }

    fn until_prompt(&mut self) -> String {
        let start = Instant::now();
        let mut shown = Vec::new();
        loop {
            match self.shown.recv_timeout(QUIET) {
                Ok(more) => shown.extend(more),
                Err(RecvTimeoutError::Timeout) if shown.ends_with(PROMPT.as_bytes()) => break,
                Err(error) => assert!(
                    start.elapsed() < PATIENCE && error == RecvTimeoutError::Timeout,
                    "no prompt: {:?}",
                    String::from_utf8_lossy(&shown)
                ),
            }
        }
        let shown = String::from_utf8(shown).expect("the chat shows UTF-8");
        // The first line is what was typed: a terminal echoes it.
        let body = shown.strip_suffix(PROMPT).and_then(|shown| shown.split_once("\r\n"));
        body.map(|(_, body)| body.replace("\r\n", "\n")).unwrap_or_default()
    }

    /// Asks, and tells the answer from the line that closes it.
    fn ask(&mut self, question: &str) -> (String, String) {
        let shown = self.say(question);
        let (answer, closing) = shown.rsplit_once('\n').unwrap_or_else(|| panic!("no closing line: {shown}"));
        assert!(closing.starts_with("prompt "), "{shown}");
        (answer.to_owned(), closing.to_owned())
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let status = std::process::Command::new("kill").args(["-INT", &pid]).status();
        assert!(status.expect("kill is there").success());
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tokens of the prompt that were computed, as the closing line has it.
fn computed(closing: &str) -> usize {
    let count = closing.strip_prefix("prompt ").and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in: {closing}"))
}

/// Tokens of the context that are used, as `/read` has it.
fn used(read: &str) -> usize {
    let count = read.split_once("with it ").and_then(|(_, rest)| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in: {read}"))
}

#[test]
fn who_goes_back_makes_a_branch_and_nothing_is_lost_or_read_again() {
    let mut chat = Chat::start(&["-n", "12", "--temp", "0"]);
    let (_, first) = chat.ask("Once upon a time there was a small fish who lived in a big blue sea");
    assert!(computed(&first) > 15, "{first}");
    let (dog, _) = chat.ask("The dog");
    assert_eq!(chat.say("/back"), "back before “The dog”; what you ask now begins a branch");
    let (cat, closing) = chat.ask("The cat");
    assert!(computed(&closing) <= 8, "of two words and what joins them: {closing}");
    assert_ne!(dog, cat);
    let branches = chat.say("/branches");
    let lines: Vec<&str> = branches.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("  1  2 questions: “The dog” → "), "{branches}");
    assert!(lines[1].starts_with("* 2  2 questions: “The cat” → "), "{branches}");
    assert_eq!(chat.say("/branch 1"), format!("> The dog\n{dog}"));
    // Gone on with, it is the first branch and no other.
    chat.ask("And then");
    let branches = chat.say("/branches");
    assert!(branches.contains("  1  2 questions: “The cat”"), "{branches}");
    assert!(branches.contains("* 2  3 questions: “And then”"), "{branches}");
    assert!(chat.say("/stats").contains("6 messages"), "three questions and their answers");
}

#[test]
fn going_back_too_far_or_nowhere_is_said_in_a_sentence() {
    let mut chat = Chat::start(&["-n", "4"]);
    assert_eq!(chat.say("/back"), "nothing has been asked here yet, so nothing can be taken back");
    assert_eq!(chat.say("/again"), "nothing has been asked here yet, so nothing can be answered again");
    assert_eq!(chat.say("/branches"), "nothing has been said yet");
    assert_eq!(chat.say("/tokens"), "no answer yet");
    chat.ask("hi");
    for found in ["2", "0", "99999999999999999999"] {
        let said = chat.say(&format!("/back {found}"));
        assert!(said.starts_with("back: expected a number") && said.contains(found), "{said}");
    }
    assert_eq!(
        chat.say("/branch 2"),
        "branch: expected a number from 1 to 1, found `2`; /branches lists them"
    );
    assert_eq!(chat.say("/branch"), "branch: expected a number from 1 to 1, found ``; /branches lists them");
    assert_eq!(chat.say("/bakc"), "no command /bakc; did you mean /back? /help shows all");
    assert_eq!(chat.say("/xyzzy"), "no command /xyzzy; /help shows them");
    assert!(chat.say("/back").starts_with("back before “hi”"));
    assert!(chat.say("/branches").ends_with("* -  the beginning, and what you ask now begins a branch"));
}

#[test]
fn another_answer_has_the_next_seed_and_the_same_place() {
    let ask_twice = || {
        let mut chat = Chat::start(&["-n", "16", "--temp", "0.9", "--seed", "3"]);
        let (first, _) = chat.ask("Once upon a time");
        let (second, closing) = chat.ask("/again");
        assert_eq!(computed(&closing), 1, "all of it is known but what the answer follows from: {closing}");
        assert_eq!(chat.say("/branches").lines().count(), 2);
        (first, second)
    };
    let (first, second) = ask_twice();
    assert_ne!(first, second);
    assert_eq!(ask_twice(), (first, second), "the same seeds, the same answers");
    let mut cold = Chat::start(&["-n", "4", "--temp", "0"]);
    cold.ask("Once upon a time");
    let shown = cold.say("/again");
    assert!(shown.ends_with("\nthe same answer as before, as ever while temp is 0"), "{shown}");
}

#[test]
fn a_file_goes_with_the_next_question_once_and_its_cost_is_told() {
    let mut chat = Chat::start(&["-n", "4", "--ctx", "256"]);
    let notes = chat.place.file("two words.md", b"The small fish swims in the big blue sea.\n");
    let read = chat.say(&format!("/read {}", arg(&notes)));
    let tokens: usize = read
        .strip_prefix("two words.md: ")
        .and_then(|rest| rest.split(' ').next())
        .and_then(|count| count.parse().ok())
        .unwrap_or_else(|| panic!("no count in: {read}"));
    assert!((20..80).contains(&tokens) && read.ends_with(" of 256 are used"), "{read}");
    assert_eq!(chat.say("/read").lines().count(), 2, "the file, and all together");
    let (_, closing) = chat.ask("Who swims?");
    assert!(computed(&closing) > tokens, "{closing}");
    assert_eq!(chat.say("/read"), "no file goes with the next question; /read FILE adds one");

    // Who asks about it in other words need not read it again.
    assert!(chat.say("/back").ends_with(", to which its files go along (`/read -` forgets them)"));
    assert_eq!(chat.say("/read").lines().count(), 2);
    assert_eq!(chat.say("/read -"), "no file goes with the next question");

    let long = chat.place.file("long.md", "fish and sea ".repeat(200).as_bytes());
    let refused = chat.say(&format!("/read {}", arg(&long)));
    assert!(refused.starts_with("long.md: expected fewer than the "), "{refused}");
    assert!(refused.contains(" tokens that the context of 256 has left, found "), "{refused}");
    for (name, part) in [
        ("gone", "cannot read gone: No such file or directory"),
        ("bin", "bin: expected a text file, found a folder"),
        ("~/gone", "home/gone: No such file or directory"),
    ] {
        let refused = chat.say(&format!("/read {name}"));
        assert!(refused.contains(part) && refused.lines().count() == 1, "{refused}");
    }
    // Several add up, until they are forgotten.
    chat.say("/reset");
    chat.say(&format!("/read {}", arg(&notes)));
    let both = chat.say(&format!("/read '{}'", arg(&notes)));
    assert!(used(&both) > 2 * tokens, "{both}");
    assert_eq!(chat.say("/read").lines().count(), 3);
    chat.say("/read -");
    assert!(chat.say("/read").starts_with("no file goes"));
}

#[test]
fn an_answer_is_shown_token_by_token() {
    let mut chat = Chat::start(&["-n", "10", "--temp", "0.9"]);
    chat.ask("Once upon a time");
    assert!(chat.say("/tokens").starts_with("how likely tokens are is not kept"));
    let (answer, _) = chat.ask("/again");
    let marked = chat.say("/tokens");
    let unmarked = marked.split('(').map(|part| part.split_once("%)").map_or(part, |(_, rest)| rest));
    assert_eq!(unmarked.collect::<String>().trim_end(), answer.trim_end(), "{marked}");
    assert!(marked.contains("%)"), "some of it was unlikely: {marked}");
    let all = chat.say("/tokens all");
    assert_eq!(all.lines().count(), 10, "{all}");
    assert!(all.lines().all(|line| line.matches('%').count() >= 5), "{all}");
    assert_eq!(chat.say("/tokens most"), "tokens: expected nothing or `all`, found `most`");
    assert!(chat.say("/set").contains("tokens on"));
}

#[test]
fn an_answer_can_be_stopped_after_going_back() {
    let mut chat = Chat::start(&["-n", "1500", "--logit-bias", "1=-1000"]);
    chat.say("/set max_tokens 4");
    chat.ask("hi");
    chat.say("/set max_tokens none");
    chat.say("/back");
    chat.type_line("Once upon a time");
    // Its first words.
    let mut shown = 0;
    while shown < 40 {
        shown += chat.shown.recv_timeout(PATIENCE).expect("an answer").len();
    }
    chat.interrupt();
    let rest = chat.until_prompt();
    assert!(rest.ends_with(" · stopped"), "{rest}");
    assert_eq!(chat.say("/branches").lines().count(), 2);
    assert_eq!(chat.say("/set max_tokens 4"), "");
    chat.ask("And then");
}
