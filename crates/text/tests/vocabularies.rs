//! Vocabularies that are wrong, strange or minimal.

use std::collections::HashSet;

use shoal_base::TokenId;
use shoal_text::{Error, Piece, Tokenizer, VocabSpec};

/// The letters of all bytes, in the order of byte-level BPE.
fn letters() -> Vec<String> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut letters: Vec<u32> = (0..256).filter(|&byte| printable(byte)).collect();
    letters.extend((0..256).filter(|&byte| !printable(byte)).enumerate().map(|(idx, _)| 0x100 + idx as u32));
    letters.into_iter().map(|letter| char::from_u32(letter).unwrap().to_string()).collect()
}

/// Letters, a few words and a few special tokens.
fn spec() -> VocabSpec {
    let mut tokens = letters();
    let words = ["he", "ll", "hell", "hello", "Ġw", "Ġwo"];
    let specials = [
        ("<s>", 3),
        ("</s>", 3),
        ("<think>", 4),
        ("</think>", 4),
        ("ü", 4),
        ("[PAD]", 4),
        ("üb", 4),
        ("gap", 5),
    ];
    tokens.extend(words.iter().chain(specials.iter().map(|(text, _)| text)).map(|&text| text.to_owned()));
    let mut token_types = vec![1; 256 + words.len()];
    token_types.extend(specials.iter().map(|(_, kind)| kind));
    VocabSpec {
        model: "gpt2".into(),
        pre: "deepseek-v3".into(),
        tokens,
        token_types,
        merges: ["h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o"].map(str::to_owned).into(),
        bos: Some(TokenId(262)),
        eos: Some(TokenId(263)),
        add_bos: Some(true),
        ..VocabSpec::default()
    }
}

fn refusal(change: impl FnOnce(&mut VocabSpec)) -> String {
    let mut spec = spec();
    change(&mut spec);
    Tokenizer::new(spec).unwrap_err().to_string()
}

#[test]
fn a_small_vocabulary_works() {
    let tokenizer = Tokenizer::new(spec()).unwrap();
    let texts = |text: &str| -> Vec<String> {
        let ids = tokenizer.encode(text);
        ids.iter().map(|&id| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned()).collect()
    };
    assert_eq!(texts("hello world"), ["hello", " wo", "r", "l", "d"]);
    assert_eq!(texts("üübx"), ["ü", "üb", "x"]);
    assert_eq!(texts("</s>[PAD]").concat(), "</s>[PAD]");
    assert_eq!(texts("</s>").len(), 4);
    assert!(tokenizer.adds_bos() && tokenizer.is_end(TokenId(263)) && !tokenizer.is_end(TokenId(262)));
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(TokenId(262)), Some(TokenId(263))));
    assert_eq!(tokenizer.vocab_len(), 270);
    assert_eq!(tokenizer.special("</s>"), Some(TokenId(263)));
    assert_eq!(tokenizer.special("hello"), None);
    assert!(
        tokenizer.token_bytes(TokenId(270)).is_empty() && tokenizer.token_bytes(TokenId(u32::MAX)).is_empty()
    );
    assert_eq!(tokenizer.token_bytes(TokenId(269)), b"gap");
}

#[test]
fn pieces_join_texts_and_keep_specials_apart() {
    let tokenizer = Tokenizer::new(spec()).unwrap();
    let text = |text: &str| Piece::Text(text.into());
    let special = |text: &str| Piece::Special(text.into());
    let ids = tokenizer
        .encode_pieces(&[special("<s>"), text("hel"), text("lo"), special("</s>"), text("")])
        .unwrap();
    assert_eq!(ids[0], TokenId(262));
    assert_eq!(ids[1..2], tokenizer.encode("hello")[..]);
    assert_eq!(ids[2..], [TokenId(263)]);
    let missing = tokenizer.encode_pieces(&[special("<|im_end|>")]).unwrap_err();
    assert_eq!(missing, Error::SpecialMissing { text: "<|im_end|>".into() });
}

#[test]
fn control_tokens_print_nothing_but_reasoning_shows() {
    let mut spec = spec();
    spec.token_types[264] = 3;
    let tokenizer = Tokenizer::new(spec).unwrap();
    let ids: Vec<_> = [262, 264, 104 - 33, 265, 263].map(TokenId).into();
    assert_eq!(tokenizer.decode(&ids), "<think>h</think>");
    assert!(tokenizer.is_control(TokenId(264)) && tokenizer.is_visible(TokenId(264)));
    assert!(!tokenizer.is_visible(TokenId(263)));
}

#[test]
fn what_ends_a_turn_is_a_control_token_whatever_its_type() {
    let mut spec = spec();
    spec.tokens[267] = "<|EOT|>".into();
    spec.token_types[263] = 4;
    let tokenizer = Tokenizer::new(spec).unwrap();
    for id in [263, 267].map(TokenId) {
        assert!(tokenizer.is_end(id) && tokenizer.is_control(id));
    }
    assert!(tokenizer.encode("</s><|EOT|>").len() > 2);
}

#[test]
fn a_file_without_types_still_has_its_ends() {
    let mut spec = spec();
    spec.token_types.clear();
    let tokenizer = Tokenizer::new(spec).unwrap();
    assert!(tokenizer.is_control(TokenId(262)) && tokenizer.is_control(TokenId(263)));
    assert!(!tokenizer.is_control(TokenId(264)));
}

#[test]
fn duplicates_and_useless_merges_are_tolerated() {
    let mut changed = spec();
    changed.tokens.push("hello".into());
    changed.tokens.push("</s>".into());
    changed.tokens.push(String::new());
    changed.token_types.extend([1, 3, 1]);
    changed.merges.extend(["he ll".into(), "no such".into(), "hello hello".into(), "</s> h".into()]);
    let tokenizer = Tokenizer::new(changed).unwrap();
    assert_eq!(tokenizer.encode("hello"), Tokenizer::new(spec()).unwrap().encode("hello"));
    assert_eq!(tokenizer.special("</s>"), Some(TokenId(263)));
}

#[test]
fn rare_bytes_may_be_missing_and_are_left_out() {
    let mut spec = spec();
    let idx = spec.tokens.iter().position(|token| token == "Ą").unwrap(); // byte 0x04
    spec.tokens[idx] = "filler".into();
    let tokenizer = Tokenizer::new(spec).unwrap();
    assert_eq!(tokenizer.encode("a\u{4}b"), [tokenizer.encode("a"), tokenizer.encode("b")].concat());
}

#[test]
fn every_letter_is_an_id_of_its_own() {
    let tokenizer = Tokenizer::new(spec()).unwrap();
    let mut seen = HashSet::new();
    for byte in 0..128u8 {
        let text = char::from(byte).to_string();
        let ids = tokenizer.encode(&text);
        assert_eq!(ids.len(), 1);
        assert_eq!(tokenizer.token_bytes(ids[0]), [byte]);
        assert!(seen.insert(ids[0]));
    }
}

#[test]
fn each_fault_has_its_sentence() {
    for (message, expected) in [
        (
            refusal(|s| s.model = "llama".into()),
            "the tokenizer model is `llama`, expected `gpt2` (byte-level BPE)",
        ),
        (refusal(|s| s.tokens.clear()), "the vocabulary has no tokens, expected at least one"),
        (
            refusal(|s| s.token_types.truncate(3)),
            "the vocabulary has 270 tokens and 3 token types, expected as many types or none",
        ),
        (refusal(|s| s.token_types[7] = 9), "token 7 has type 9, expected 0 to 6"),
        (refusal(|s| s.token_types[7] = -1), "token 7 has type -1, expected 0 to 6"),
        (
            refusal(|s| s.eot = Some(TokenId(270))),
            "the eot token is 270, expected an id below 270, the length of the vocabulary",
        ),
        (
            refusal(|s| s.merges[1] = "ll".into()),
            "merge 1 is `ll`, expected two parts separated by one space",
        ),
        (
            refusal(|s| s.merges[1] = "l  l".into()),
            "merge 1 is `l  l`, expected two parts separated by one space",
        ),
        (
            refusal(|s| s.merges[1] = " l".into()),
            "merge 1 is ` l`, expected two parts separated by one space",
        ),
        (
            refusal(|s| s.tokens[0] = "x".into()),
            "the vocabulary has no token for byte 0x21 (letter `!`), so text with it cannot be encoded",
        ),
        (
            refusal(|s| s.token_types = vec![3; 270]),
            "the vocabulary has no token for byte 0x09 (letter `ĉ`), so text with it cannot be encoded",
        ),
    ] {
        assert_eq!(message, expected);
    }
    let many = refusal(|s| {
        s.tokens.extend((0..70_000).map(|n| format!("<{n}>")));
        s.token_types.resize(s.tokens.len(), 4);
    });
    assert_eq!(many, "the vocabulary has 70007 special tokens, expected at most 65536");
}
