//! The letters that byte-level BPE writes bytes with.
//!
//! A vocabulary in a text format cannot hold raw bytes, so each byte is written as one printable character: printable
//! Latin-1 bytes as themselves, the others as the characters from U+0100 on, in order. A space is `Ġ`, a newline `Ċ`.
//! Source: the encoder of GPT-2; every tokenizer of the family keeps it.

/// First of the characters that stand for bytes which are not printable.
const FIRST_SUBSTITUTE: u32 = 0x100;

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

const LETTERS: [char; 256] = {
    let mut letters = ['\0'; 256];
    let mut substitute = FIRST_SUBSTITUTE;
    let mut byte = 0usize;
    while byte < 256 {
        letters[byte] = if is_printable(byte as u8) {
            byte as u8 as char
        } else {
            substitute += 1;
            char::from_u32(substitute - 1).expect("below the surrogates")
        };
        byte += 1;
    }
    letters
};

/// The bytes that U+0100.. stand for, in order.
const SUBSTITUTED: [u8; 68] = {
    let mut bytes = [0u8; 68];
    let (mut byte, mut next) = (0usize, 0usize);
    while byte < 256 {
        if !is_printable(byte as u8) {
            bytes[next] = byte as u8;
            next += 1;
        }
        byte += 1;
    }
    bytes
};

/// The least vocabulary: one token for each byte, in the order of the bytes.
#[must_use]
pub fn byte_vocabulary() -> Vec<String> {
    LETTERS.iter().map(char::to_string).collect()
}

/// The letter of `byte`.
pub(crate) const fn letter(byte: u8) -> char {
    LETTERS[byte as usize]
}

/// The byte that `letter` stands for, if it stands for one.
pub(crate) fn byte(letter: char) -> Option<u8> {
    match u32::from(letter) {
        code @ 0..0x100 => Some(code as u8).filter(|&byte| is_printable(byte)),
        code => SUBSTITUTED.get((code - FIRST_SUBSTITUTE) as usize).copied(),
    }
}

/// Appends the letters of `text`'s bytes to `out`.
pub(crate) fn push_letters(text: &str, out: &mut String) {
    out.extend(text.bytes().map(letter));
}

/// Appends the bytes that `text` spells to `out`; where one character spells none, `text`'s own bytes.
pub(crate) fn push_bytes(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    for c in text.chars() {
        let Some(byte) = byte(c) else {
            out.truncate(start);
            out.extend_from_slice(text.as_bytes());
            return;
        };
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_gpt2s_and_go_both_ways() {
        for (byte, expected) in
            [(b' ', 'Ġ'), (b'\n', 'Ċ'), (b'\t', 'ĉ'), (b'A', 'A'), (0xAD, 'Ń'), (0x7F, 'ġ'), (0, 'Ā')]
        {
            assert_eq!(letter(byte), expected);
        }
        for b in 0..=255 {
            assert_eq!(byte(letter(b)), Some(b));
        }
        assert_eq!(byte('\u{144}'), None);
        assert_eq!(byte('｜'), None);
        assert_eq!(byte(' '), None);
    }

    #[test]
    fn a_text_outside_the_letters_keeps_its_own_bytes() {
        let mut out = b"x".to_vec();
        push_bytes("a｜", &mut out);
        assert_eq!(out, "xa｜".as_bytes());
        let mut letters = String::new();
        push_letters("é ", &mut letters);
        assert_eq!(letters, "Ã©Ġ");
    }
}
