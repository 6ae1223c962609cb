//! Writes small valid inputs to `corpus/<target>/`, from which the fuzzer starts.

use std::path::Path;

use shoal_quant::Dtype;
use shoal_testkit::gguf::{GgufWriter, Value};
use shoal_testkit::safetensors::{self, HubTensor};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    save(&corpus.join("gguf"), gguf_files())?;
    save(&corpus.join("safetensors_header"), safetensors_files())?;
    save(&corpus.join("quant_decode"), quant_rows())?;
    save(&corpus.join("tokenizer"), vocabularies())?;
    save(&corpus.join("template"), templates())
}

fn save(folder: &Path, seeds: impl IntoIterator<Item = Vec<u8>>) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (idx, seed) in seeds.into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{idx:02}")), seed)?;
    }
    Ok(())
}

/// Every value type, every element type, several tensors, a split set of one, another version and alignment.
fn gguf_files() -> Vec<Vec<u8>> {
    let new = || GgufWriter::new(3);
    let scalars = new().kv("a", 1u8).kv("b", -1i8).kv("c", 1u16).kv("d", -1i16).kv("e", 1u32).kv("f", -1i32);
    let scalars =
        scalars.kv("g", 1u64).kv("h", -1i64).kv("i", 0.5f32).kv("j", 0.5f64).kv("k", true).kv("l", "text");
    let arrays = new().kv("a", vec![1u8]).kv("b", vec![-1i8]).kv("c", vec![1u16, 2]).kv("d", vec![-1i16]);
    let arrays = arrays.kv("e", vec![1u32]).kv("f", vec![-1i32]).kv("g", vec![1u64]).kv("h", vec![-1i64]);
    let arrays =
        arrays.kv("i", vec![0.5f32]).kv("j", vec![0.5f64]).kv("k", vec![true, false]).kv("l", vec!["", "x"]);
    let nested = Value::Array(vec![Value::Array(vec![1u32.into()])]);
    let split = new().kv("split.no", 0u16).kv("split.count", 1u16).kv("split.tensors.count", 0i32);
    let part = new().kv("split.no", 0u16).kv("split.count", 2u16).kv("split.tensors.count", 0i32);
    let several = GgufWriter::new(2)
        .alignment(8)
        .kv("general.name", "m")
        .tensor("x", 0, &[2, 1], &[0; 8])
        .tensor("y", 1, &[1, 1, 1, 3], &[0; 6])
        .tensor("z", 8, &[32], &[0; 34]);
    let one_each = Dtype::ALL.iter().filter_map(|dtype| {
        let dims = [dtype.block_len() as u64, 1];
        Some(new().tensor("t", dtype.ggml_id()?, &dims, &vec![0; dtype.block_bytes()]))
    });
    let files = [new(), scalars, arrays, new().kv("n", nested), split, part, several];
    files.into_iter().chain(one_each).map(GgufWriter::finish).collect()
}

/// Nothing, one tensor of each type, and several.
fn safetensors_files() -> Vec<Vec<u8>> {
    let tensor = |element: &'static str, size: usize| HubTensor {
        name: format!("t.{element}"),
        element,
        shape: vec![2, 3],
        bytes: vec![0; 6 * size],
    };
    let of_size =
        [("F32", 4), ("F16", 2), ("BF16", 2), ("F8_E4M3", 1), ("F8_E8M0", 1), ("I64", 8), ("I8", 1)];
    let tensors = of_size.map(|(element, size)| tensor(element, size));
    let all: Vec<&HubTensor> = tensors.iter().collect();
    let one_each = all.iter().map(|tensor| safetensors::write(&[*tensor]));
    one_each.chain([safetensors::write(&[]), safetensors::write(&all)]).collect()
}

/// One block of every format, behind the byte that chooses it.
fn quant_rows() -> Vec<Vec<u8>> {
    let row = |(idx, dtype): (usize, &Dtype)| {
        let block = (0..dtype.block_bytes()).map(|at| (at * 37) as u8);
        std::iter::once(idx as u8).chain(block).collect()
    };
    Dtype::ALL.iter().enumerate().map(row).collect()
}

/// A vocabulary with merges and special tokens, and a text, for every pre-tokenizer.
fn vocabularies() -> Vec<Vec<u8>> {
    let tokens = "1he\n1ll\n1hell\n1Ġh\n4ü\n3<s>\n3</s>\n4<think>\n5gap";
    let text = "hello <s> ü 123\n\n  it's 人工 \u{1F642} end ";
    let parts = |pre: u8| {
        let options = [pre, 0, 4, 3];
        let rest = [tokens.as_bytes(), b"h e\nl l\nhe ll\n\xc4\xa0 h", text.as_bytes()];
        std::iter::once(&options[..]).chain(rest).collect::<Vec<_>>().join(&0xFF)
    };
    (0..7).map(parts).collect()
}

/// Templates that use what templates use, each with a short conversation.
fn templates() -> Vec<Vec<u8>> {
    let sources = [
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}{% elif m.role == \
         'assistant' %}<｜Assistant｜>{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% else %}{{ m.content }}\
         {% endif %}{% endfor %}{% if add_generation_prompt %}<｜Assistant｜>{% endif %}",
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] | trim + '<|im_end|>\n' }}{% endfor %}",
        "{%- set ns = namespace(n=0, all=[]) -%}{% for m in messages[1:] %}{% set ns.n = ns.n + 1 %}\
         {% set ns.all = ns.all + [m.content] %}{{ loop.index0 * 2 }}{% endfor %}{{ ns.all | join(', ') ~ ns.n }}",
        "{% macro say(text, who='x') %}[{{ who }}: {{ text | default('', true) | upper }}]{% endmacro %}{{ say(messages[0].content) }}\
         {{ {'a': [1, 2.5, none], 'b': (1, 2)} | tojson(indent=2) }}{{ tools is none and enable_thinking is not defined }}",
        "{% if messages | length > 3 %}{{ raise_exception('too long') }}{% endif %}{{ range(3) | map('string') | list }}\
         {{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first }}{# c #}{% raw %}{{{% endraw %}",
        "{% set x %}a{% for i in 'b,c'.split(',') %}{{ i.strip().title() }}{% endfor %}{% endset %}{{ x[::-1] }}{{ 7 // 2 % 3 ** 2 }}\
         {{ 'y' if x in ['a'] else x.items is defined }}{{ {'k': 'v'}.items() | list }}{% block b %}{{ self }}{% endblock %}",
    ];
    sources
        .iter()
        .map(|source| {
            [source.as_bytes(), "hi\nrules\n<|im_end|>\n<think>a</think>\n\n b ".as_bytes()].join(&0xFF)
        })
        .collect()
}
