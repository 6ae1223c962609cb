//! How long files and functions may be. A listed exception states its exact length: it may shrink, never grow.

use super::source::SourceFile;

/// Longest file, in lines, its test modules not counted.
const FILE_LINES_MAX: usize = 800;
/// Longest function, in lines from `fn` to the closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Something longer than the limit, for a reason.
struct Exception {
    path: &'static str,
    /// Name of the function; empty for the file itself.
    function: &'static str,
    lines: usize,
    #[allow(dead_code, reason = "it is written for whoever reads the table")]
    why: &'static str,
}

/// All exceptions.
const EXCEPTIONS: &[Exception] = &[];

/// Holds every file and function against the limits and the exceptions.
pub(crate) fn check(files: &[SourceFile]) -> Vec<String> {
    check_against(files, EXCEPTIONS)
}

fn check_against(files: &[SourceFile], exceptions: &[Exception]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut used = vec![false; exceptions.len()];
    let mut judge = |path: &str, line: usize, function: &str, lines: usize, max: usize| {
        let listed = exceptions.iter().position(|entry| entry.path == path && entry.function == function);
        let what = if function.is_empty() { "the file".to_owned() } else { format!("`{function}`") };
        match listed {
            Some(entry) if lines > max => {
                used[entry] = true;
                let allowed = exceptions[entry].lines;
                (lines != allowed).then(|| {
                    let verb = if lines > allowed { "grew" } else { "shrank: lower the entry" };
                    format!("{path}:{line}: {what} has {lines} lines and is listed with {allowed}: it {verb}")
                })
            }
            None if lines > max => {
                Some(format!("{path}:{line}: {what} has {lines} lines: expected at most {max}"))
            }
            _ => None,
        }
    };
    for file in files {
        findings.extend(judge(&file.path, 1, "", file.len_without_tests(), FILE_LINES_MAX));
        for function in file.functions() {
            findings.extend(judge(
                &file.path,
                function.line,
                &function.name,
                function.len,
                FUNCTION_LINES_MAX,
            ));
        }
    }
    let unused = exceptions.iter().zip(&used).filter(|(_, used)| !**used);
    findings.extend(unused.map(|(entry, _)| {
        format!(
            "{} {}: the entry in xtask/src/tidy/lengths.rs is no longer needed",
            entry.path, entry.function
        )
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: usize) -> Vec<SourceFile> {
        let text = format!("//! x\nfn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2));
        vec![SourceFile::parse("a.rs", &text)]
    }

    fn listed(lines: usize) -> [Exception; 1] {
        [Exception { path: "a.rs", function: "long", lines, why: "a test" }]
    }

    #[test]
    fn an_exception_may_shrink_but_not_grow_nor_outlive_its_need() {
        assert!(check_against(&file(70), &[]).is_empty());
        assert_eq!(check_against(&file(71), &[]).len(), 1);
        assert!(check_against(&file(90), &listed(90)).is_empty());
        assert!(check_against(&file(91), &listed(90))[0].contains("grew"));
        assert!(check_against(&file(80), &listed(90))[0].contains("lower the entry"));
        assert!(check_against(&file(60), &listed(90))[0].contains("no longer needed"));
        assert_eq!(check_against(&file(800), &listed(800)).len(), 1, "the file is too long, too");
    }
}
