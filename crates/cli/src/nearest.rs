//! What somebody may have meant who mistyped a name.

/// The names of `known`, the likest `name` first, each with how like it is: 1 is the same.
pub(crate) fn ranked<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<(f64, &'a str)> {
    let mut ranked: Vec<_> =
        known.into_iter().map(|other| (strsim::jaro_winkler(other, name), other)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked
}

/// The likest name, if it may well be meant.
pub(crate) fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Of two names with nothing in common but a letter or two it is below that.
    const LIKE_ENOUGH: f64 = 0.75;
    ranked(name, known).first().filter(|(likeness, _)| *likeness >= LIKE_ENOUGH).map(|&(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_through_and_nonsense_is_not() {
        let known = ["help", "back", "branches", "branch", "tokens"];
        assert_eq!(meant("hlep", known), Some("help"));
        assert_eq!(meant("brnach", known), Some("branch"));
        assert_eq!(meant("token", known), Some("tokens"));
        assert_eq!(meant("xyzzy", known), None);
        assert_eq!(meant("", known), None);
    }
}
