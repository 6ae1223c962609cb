//! Templates that try to run for ever, to fill memory or to exhaust the stack. Each must end in an error, soon.

mod support;

use std::time::{Duration, Instant};

use shoal_text::prompt::ForeignTemplate;
use shoal_text::{Error, Message, PromptStyle, Role, Thinking, Tokenizer};
use support::Fixture;

/// Generous for a debug build on a busy machine; unbounded work takes far longer.
const TIME_MAX: Duration = Duration::from_secs(20);

fn tokenizer() -> Tokenizer {
    Tokenizer::new(Fixture::parse(include_str!("../../../tests/golden/tokenizers/smollm.json")).spec())
        .unwrap()
}

fn run(source: &str) -> Result<usize, Error> {
    let start = Instant::now();
    let message = Message::new(Role::User, "text");
    let result = ForeignTemplate::new(source, &tokenizer()).and_then(|template| {
        let style = PromptStyle::Template(Box::new(template));
        style.render(&[message], Thinking::Default).map(|prompt| prompt.text().len())
    });
    let shown: String = source.chars().take(80).collect();
    assert!(start.elapsed() < TIME_MAX, "{:?}: {shown}", start.elapsed());
    result
}

fn refused(source: &str) {
    let shown: String = source.chars().take(80).collect();
    let message = run(source).expect_err(&shown).to_string();
    assert!(message.starts_with("the chat template ") && !message.contains('\n'), "{message}");
}

#[test]
fn loops_end() {
    refused("{% for i in range(1000000000) %}{% endfor %}");
    refused("{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}");
    refused("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}");
    refused("{% for i in [[1]] recursive %}{{ loop([[1]]) }}{{ loop([[1]]) }}{% endfor %}");
    refused(
        "{{ range(99999) | map('string') | map('upper') | sort | join(',') | length }}\
         {% for i in range(9999) %}{{ range(9999) | sum }}{% endfor %}",
    );
}

#[test]
fn lists_that_double_end() {
    for step in [
        "n.x + n.x",
        "[n.x, n.x] | sum",
        "n.x | chain(n.x)",
        "n.x + [n.x][0]",
        "[*n.x, *n.x]",
        "n.x * 2",
        "(n.x | list) + (n.x | list)",
    ] {
        let double = format!(
            "{{% set n = namespace(x=[1]) %}}{{% for i in range(60) %}}{{% set n.x = {step} %}}{{% endfor %}}"
        );
        refused(&format!("{double}{{{{ n.x | length }}}}"));
    }
    refused(
        "{% macro f(d) %}{% if d > 60 %}{{ varargs | length }}{% else %}\
         {{ f(d + 1, *varargs, *varargs) }}{% endif %}{% endmacro %}{{ f(0, 1) }}",
    );
    refused(
        "{% set n = namespace(x=(1,)) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}\
         {{ n.x | length }}",
    );
    refused(
        "{% set n = namespace(x={'a': 1}) %}{% for i in range(60) %}\
         {% set n.x = [n.x, n.x] | map('items') | list + [n.x] * 9 %}{% endfor %}{{ n.x }}",
    );
}

#[test]
fn large_outputs_end() {
    refused("{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}");
    refused("{{ 'x' * 1000000000 }}");
    refused("{{ ['x'] * 1000000000 }}");
    refused(
        "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    );
    refused("{% set s = 'x' * 4000 %}{% set t = s.replace('x', s) %}{% set u = t.replace('x', t) %}{{ u }}");
    refused("{% set s = 'x' * 4000 %}{% set t = s | replace('x', s) %}{{ t | replace('x', t) }}");
    refused("{{ '%1000000000d' | format(1) }}");
    refused("{{ '{:>1000000000}'.format('x') }}");
    refused("{{ 'x' | center(1000000000) }}");
    refused("{{ 'x\ny' | indent(1000000000) }}");
    refused("{{ [1] | tojson(indent=1000000000) }}");
    refused("{{ ['a', 'b'] | join('x' * 1000000000) }}");
    refused("{% for i in range(100000) %}{{ messages[0].content }}{{ messages[0].content }}{% endfor %}");
}

#[test]
fn values_that_unfold_or_nest_end() {
    // Fifty steps make two lists that are equal, small in memory and 2^50 values long when unfolded.
    let step = "{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}";
    let unfold = format!("{{% set n = namespace(x=1, y=1) %}}{{% for i in range(50) %}}{step}{{% endfor %}}");
    for used in [
        "n.x",
        "n.x ~ ''",
        "n.x | string",
        "[n.x] | join",
        "''.join([n.x])",
        "n.x | tojson",
        "n.x == n.y",
        "n.x < n.y",
        "n.x in [n.y]",
        "[n.x, n.y] | unique | list",
        "[n.x, n.y] | sort",
        "{n.x: 1}[n.y]",
        "raise_exception(n.x)",
    ] {
        refused(&format!("{unfold}{{{{ {used} }}}}"));
    }
    for step in [
        "(n.x, n.x)",
        "{'a': n.x, 'b': n.x}",
        "[n.x] * 2",
        "[0, 0] | map('default', n.x, true) | list",
        "{'a': n.x}.items() | list + {'b': n.x}.items() | list",
        "[n.x] + [n.x]",
        "[n.x]",
        "{'k': n.x}",
    ] {
        refused(&format!(
            "{{% set n = namespace(x=1) %}}{{% for i in range(30000) %}}{{% set n.x = {step} %}}{{% endfor %}}\
             {{{{ n.x }}}}"
        ));
    }
    // A value that holds itself.
    refused("{% set n = namespace() %}{% set n.x = n %}{{ n }}");
    refused("{% set n = namespace() %}{% set n.x = [n] %}{{ n.x }}");
    refused("{% set n = namespace() %}{% set m = namespace(x=n) %}{% set n.x = m %}{{ n.x }}");
    refused("{% set make = namespace %}{% set n = make() %}{{ n }}");
    refused("{{ [namespace(x=1)] }}");
}

#[test]
fn deep_syntax_ends() {
    refused(&format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)));
    refused(&format!("{{{{ {}1 }}}}", "[".repeat(100_000)));
    refused(&"{% if x %}".repeat(100_000));
    refused(&"x".repeat(2 << 20));
    refused(&format!("{{{{ 1{} }}}}", "~1".repeat(2000)));
    // Chains that parse without nesting but build a tree as deep as they are long.
    for link in ["+1", ".a", "|string", "[0]", " and 1", "~1", "()", " if 1 else 1"] {
        let _ = run(&format!("{{{{ 1{} }}}}", link.repeat(500)));
    }
    let _ = run(&format!("{{{{ {}1 }}}}", "not ".repeat(100_000)));
    let _ = run(&format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(20_000)));
}
