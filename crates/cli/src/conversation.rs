//! A conversation is a tree: who goes back and asks anew makes a branch, and nothing is lost.
//!
//! ```text
//! question ─── answer ─── question ─── answer ◀ last      what is shown: from the first message to `last`
//!                │
//!                └─────── question' ── answer
//! ```
//! Messages lie in one list in the order in which they came about, and each says at which place its parent is; so a parent always comes
//! before its children. The page keeps its conversations in the same way (`web/conversation.js`).

use shoal_engine::Logprobs;
use shoal_text::{Message, Role};

use crate::text_file::TextFile;

/// What was asked.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) files: Vec<TextFile>,
}

/// What was said to it.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) reasoning: String,
    /// How likely each token of `text` was; empty if that was not asked for.
    pub(crate) tokens: Vec<Logprobs>,
}

#[derive(Debug)]
enum Words {
    Question(Question),
    Answer(Said),
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    words: Words,
}

/// All that was said.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    nodes: Vec<Node>,
    /// The answer that is shown last; `None` before the first question.
    last: Option<usize>,
}

/// A branch, as a list shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Branch<'a> {
    pub(crate) questions: usize,
    pub(crate) question: &'a str,
    pub(crate) answer: &'a str,
    /// Whether it is the one that is shown.
    pub(crate) is_shown: bool,
}

impl Question {
    /// As the model is told it.
    fn told(&self) -> String {
        let files = self.files.iter().map(TextFile::told);
        files.chain([self.text.clone()]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

impl Conversation {
    /// What the model is told: `system`, what is shown, and `next` after it.
    pub(crate) fn messages(&self, system: Option<&str>, next: Option<&Question>) -> Vec<Message> {
        self.told(system, self.last, next)
    }

    /// The same up to the last question that is shown, its answer left out.
    pub(crate) fn messages_again(&self, system: Option<&str>) -> Option<Vec<Message>> {
        Some(self.told(system, Some(self.last_question()?), None))
    }

    fn told(&self, system: Option<&str>, last: Option<usize>, next: Option<&Question>) -> Vec<Message> {
        let mut told: Vec<Message> =
            system.map(|text| Message::new(Role::System, text)).into_iter().collect();
        let said = self.path(last).into_iter().map(|at| match &self.nodes[at].words {
            Words::Question(question) => (Role::User, question.told()),
            // Its thoughts are not told again: the models were trained without them.
            Words::Answer(answer) => (Role::Assistant, answer.text.clone()),
        });
        for (role, text) in said.chain(next.map(|question| (Role::User, question.told()))) {
            // An answer that never came leaves two questions in a row, which become one: formats of chats expect turns to alternate.
            match told.last_mut() {
                _ if text.is_empty() => {}
                Some(before) if before.role == role => {
                    before.content = format!("{}\n\n{text}", before.content)
                }
                _ => told.push(Message::new(role, text)),
            }
        }
        told
    }

    /// Adds a question after what is shown, with its answer.
    pub(crate) fn add(&mut self, question: Question, answer: Said) {
        self.nodes.push(Node { parent: self.last, words: Words::Question(question) });
        self.add_answer(self.nodes.len() - 1, answer);
    }

    /// Adds another answer to the last question that is shown, and shows it.
    pub(crate) fn add_again(&mut self, answer: Said) {
        let question = self.last_question().expect("there is a question, since it was answered again");
        self.add_answer(question, answer);
    }

    fn add_answer(&mut self, question: usize, answer: Said) {
        self.last = Some(self.nodes.len());
        self.nodes.push(Node { parent: Some(question), words: Words::Answer(answer) });
    }

    /// Answers that the last question that is shown has.
    pub(crate) fn answers(&self) -> Vec<&Said> {
        let question = self.last_question();
        let siblings = self.nodes.iter().filter(|node| question.is_some() && node.parent == question);
        siblings
            .filter_map(|node| if let Words::Answer(said) = &node.words { Some(said) } else { None })
            .collect()
    }

    /// Questions that are shown.
    pub(crate) fn question_count(&self) -> usize {
        self.path(self.last).len() / 2
    }

    /// The last answer that is shown.
    pub(crate) fn last_answer(&self) -> Option<&Said> {
        match &self.nodes[self.last?].words {
            Words::Answer(said) => Some(said),
            Words::Question(_) => None,
        }
    }

    /// Shows `count` questions less, and says what the first of those was. `None`, and nothing is changed, if there are not as many.
    pub(crate) fn back(&mut self, count: usize) -> Option<&Question> {
        let path = self.path(self.last);
        let at = path.len().checked_sub(count.checked_mul(2)?)?;
        let question = *path.get(at)?;
        self.last = self.nodes[question].parent;
        self.question(question)
    }

    /// All branches, in the order in which they came about.
    pub(crate) fn branches(&self) -> Vec<Branch<'_>> {
        let of = |last| {
            let path = self.path(Some(last));
            let answer =
                if let Words::Answer(said) = &self.nodes[last].words { said.text.as_str() } else { "" };
            Branch {
                questions: path.len() / 2,
                question: path
                    .iter()
                    .rev()
                    .nth(1)
                    .and_then(|&at| self.question(at))
                    .map_or("", |question| &question.text),
                answer,
                is_shown: self.last == Some(last),
            }
        };
        self.leaves().into_iter().map(of).collect()
    }

    /// Shows the branch at `place` of [`Conversation::branches`]; says whether there is one.
    pub(crate) fn show(&mut self, place: usize) -> bool {
        let leaf = self.leaves().get(place).copied();
        self.last = leaf.or(self.last);
        leaf.is_some()
    }

    /// Last messages of all branches.
    fn leaves(&self) -> Vec<usize> {
        let mut is_leaf = vec![true; self.nodes.len()];
        for parent in self.nodes.iter().filter_map(|node| node.parent) {
            is_leaf[parent] = false;
        }
        (0..self.nodes.len()).filter(|&at| is_leaf[at]).collect()
    }

    fn last_question(&self) -> Option<usize> {
        self.nodes[self.last?].parent
    }

    fn question(&self, at: usize) -> Option<&Question> {
        match &self.nodes[at].words {
            Words::Question(question) => Some(question),
            Words::Answer(_) => None,
        }
    }

    /// Places of the messages from the first one to `last`.
    fn path(&self, last: Option<usize>) -> Vec<usize> {
        let mut path: Vec<usize> = std::iter::successors(last, |&at| self.nodes[at].parent).collect();
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(text: &str) -> Question {
        Question { text: text.to_owned(), files: Vec::new() }
    }

    fn said(text: &str) -> Said {
        Said { text: text.to_owned(), reasoning: "hm".to_owned(), tokens: Vec::new() }
    }

    fn back(conversation: &mut Conversation, count: usize) -> Option<&str> {
        conversation.back(count).map(|question| question.text.as_str())
    }

    fn contents(messages: &[Message]) -> Vec<&str> {
        messages.iter().map(|message| message.content.as_str()).collect()
    }

    /// Two questions, then back over both and another one.
    fn forked() -> Conversation {
        let mut conversation = Conversation::default();
        conversation.add(question("q1"), said("a1"));
        conversation.add(question("q2"), said("a2"));
        assert_eq!(back(&mut conversation, 1), Some("q2"));
        conversation.add(question("q3"), said("a3"));
        conversation
    }

    #[test]
    fn a_branch_shares_its_beginning_and_loses_nothing() {
        let mut conversation = forked();
        assert_eq!(contents(&conversation.messages(None, None)), ["q1", "a1", "q3", "a3"]);
        let ends = |conversation: &Conversation| {
            let branches = conversation.branches();
            branches.iter().map(|b| (b.questions, b.answer.to_owned(), b.is_shown)).collect::<Vec<_>>()
        };
        assert_eq!(ends(&conversation), [(2, "a2".to_owned(), false), (2, "a3".to_owned(), true)]);
        assert!(conversation.show(0));
        let messages = conversation.messages(Some("be kind"), Some(&question("q4")));
        assert_eq!(contents(&messages), ["be kind", "q1", "a1", "q2", "a2", "q4"]);
        assert!(!conversation.show(2), "there are two");
        assert_eq!(conversation.question_count(), 2, "and it stays where it was");
        conversation.back(2);
        assert_eq!(ends(&conversation).len(), 2);
        assert!(ends(&conversation).iter().all(|(_, _, is_shown)| !is_shown));
    }

    #[test]
    fn going_back_ends_at_the_beginning() {
        let mut conversation = forked();
        assert_eq!(back(&mut conversation, 3), None);
        assert_eq!(back(&mut conversation, usize::MAX), None);
        assert_eq!(back(&mut conversation, 0), None);
        assert_eq!(conversation.question_count(), 2, "nothing has changed");
        assert_eq!(back(&mut conversation, 2), Some("q1"));
        assert_eq!(back(&mut conversation, 1), None);
        assert!(conversation.messages(None, None).is_empty());
        assert!(conversation.last_answer().is_none());
        conversation.add(question("q4"), said("a4"));
        assert_eq!(contents(&conversation.messages(None, None)), ["q4", "a4"]);
        assert_eq!(conversation.branches().len(), 3);
    }

    #[test]
    fn another_answer_stands_beside_the_first() {
        let mut conversation = Conversation::default();
        assert!(conversation.messages_again(None).is_none());
        conversation.add(question("q1"), said("a1"));
        let again = conversation.messages_again(Some("be kind"));
        assert_eq!(contents(&again.expect("a question")), ["be kind", "q1"]);
        conversation.add_again(said("b1"));
        assert_eq!(conversation.answers().len(), 2);
        assert_eq!(contents(&conversation.messages(None, None)), ["q1", "b1"]);
        let questions: Vec<_> = conversation.branches().iter().map(|b| b.question.to_owned()).collect();
        assert_eq!(questions, ["q1", "q1"]);
    }

    #[test]
    fn the_model_is_told_files_first_and_turns_that_alternate() {
        let mut conversation = Conversation::default();
        conversation.add(question("q1"), said(""));
        let file = TextFile { name: "n.md".to_owned(), text: "Hi".to_owned(), tokens: 1 };
        let next = Question { files: vec![file], ..question("q2") };
        let told = "q1\n\n[file name]: n.md\n[file content begin]\nHi\n[file content end]\nq2";
        assert_eq!(contents(&conversation.messages(None, Some(&next))), [told]);
    }
}
