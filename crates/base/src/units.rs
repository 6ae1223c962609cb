//! Sizes in bytes that print and parse the way people write them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes. Prints with a binary unit (`1.5 GiB`), parses `12GiB`, `12G`, `1.5GB`, `4096`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

const KIB: f64 = 1024.0;

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        let (value, unit) = match self.0 {
            n if n >= 1 << 40 => (bytes / KIB.powi(4), "TiB"),
            n if n >= 1 << 30 => (bytes / KIB.powi(3), "GiB"),
            n if n >= 1 << 20 => (bytes / KIB.powi(2), "MiB"),
            n if n >= 1 << 10 => (bytes / KIB, "KiB"),
            _ => return write!(f, "{} B", self.0),
        };
        let decimals = if value < 10.0 { 2 } else { 1 };
        write!(f, "{value:.decimals$} {unit}")
    }
}

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseBytesError(String);

impl fmt::Display for ParseBytesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a size such as 12GiB, 500MB or 4096, found `{}`", self.0)
    }
}

impl std::error::Error for ParseBytesError {}

impl FromStr for Bytes {
    type Err = ParseBytesError;

    /// Units: `B`, `K`/`KiB`, `M`/`MiB`, `G`/`GiB`, `T`/`TiB` are powers of 1024; `KB`, `MB`, `GB`, `TB` of 1000.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let err = || ParseBytesError(text.to_owned());
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let number: f64 = number.parse().map_err(|_| err())?;
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(err()),
        };
        let bytes = number * factor as f64;
        if !bytes.is_finite() || bytes >= u64::MAX as f64 {
            return Err(err());
        }
        Ok(Self(bytes as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_and_parse() {
        for (text, bytes) in [
            ("12GiB", 12 << 30),
            ("12G", 12 << 30),
            ("1.5 GB", 1_500_000_000),
            ("4096", 4096),
            ("64 kib", 65536),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        assert_eq!(Bytes(1536 << 20).to_string(), "1.50 GiB");
        assert_eq!(Bytes(512).to_string(), "512 B");
        for text in ["", "GiB", "12 apples", "-1", "1e300GB", "."] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
