//! Checks whole vocabularies, too large for the repository, against their vectors, and says what style their chat
//! template is. Arguments: files that `tools/tokenizer_fixtures.py --full` made.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use shoal_text::{Origin, PromptStyle, Tokenizer};

fn main() {
    let mut wrong = 0;
    for path in std::env::args().skip(1) {
        let fixture = support::Fixture::parse(&std::fs::read_to_string(&path).expect("a readable file"));
        let spec = fixture.spec();
        let start = Instant::now();
        let tokenizer = Tokenizer::new(spec).expect("a usable vocabulary");
        let built = start.elapsed();
        let cases: Vec<_> = fixture.given.iter().chain(&fixture.made).collect();
        let right = cases
            .iter()
            .filter(|(text, ids)| tokenizer.encode(text).iter().map(|id| id.0).eq(ids.iter().copied()))
            .count();
        wrong += cases.len() - right;
        let text: String = cases.iter().map(|(text, _)| text.as_str()).collect::<String>().repeat(200);
        let start = Instant::now();
        let ids = tokenizer.encode(&text);
        let speed = text.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
        let style = PromptStyle::detect(fixture.chat_template.as_deref(), &tokenizer, &Origin::default());
        let style = style.map_or_else(|err| err.to_string(), |style| format!("{} {style:?}", style.name()));
        println!(
            "{path}: {right} of {} right, built in {built:.0?}, {speed:.1} MB/s ({} ids), style {style}",
            cases.len(),
            ids.len()
        );
    }
    assert_eq!(wrong, 0, "cases differ");
}
