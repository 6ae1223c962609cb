//! What may stand where: unsafe code, the environment, names of tensors, and the opening of every file.

use super::source::SourceFile;

/// Files that may contain `unsafe`, each with the reason. A `*` stands for anything.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("crates/kernels/src/*/avx2.rs", "loads and stores of AVX2 intrinsics"),
    ("crates/kernels/src/*/avx512.rs", "loads and stores of AVX-512 intrinsics"),
    ("crates/kernels/src/lanes/blocks.rs", "loads from rows at one distance, whose last was checked"),
    ("crates/kernels/src/*/x86.rs", "calls into functions of a target feature, guarded by a proof value"),
    ("crates/kernels/src/isa.rs", "calls into functions of a target feature, guarded by a proof value"),
    ("crates/kernels/src/pool/*.rs", "one job and its slices shared by the workers of the pool"),
    ("crates/base/src/slab.rs", "parts of one mapping, each with one owner"),
    ("crates/store/src/disk/uring.rs", "places in memory that the kernel writes to"),
];

/// Where the environment and the arguments may be read.
const ENV_FILES: &[&str] = &["crates/cli/*", "xtask/*", "crates/*/examples/*", "crates/*/benches/*"];

/// Where names of tensors may stand: the crate that knows models, the folder that knows what the hub calls the same, the crate of the
/// shapes of models that are not here, and the tools
/// that make files.
const TENSOR_NAME_FILES: &[&str] = &[
    "crates/model/src/*",
    "crates/plan/src/*",
    "crates/checkpoint/src/hub_layout/*",
    "crates/testkit/*",
    "xtask/*",
    "fuzz/*",
    "crates/cli/src/commands/inspect.rs",
];

/// Applies every rule to every file.
pub(crate) fn check(files: &[SourceFile]) -> Vec<String> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<String> {
    let path = &file.path;
    let mut findings = Vec::new();
    if !file.first_line.starts_with("//!") {
        findings.push(format!("{path}:1: the file does not open with `//!` and its idea in prose"));
    }
    if !UNSAFE_FILES.iter().any(|(pattern, _)| matches(pattern, path)) {
        let places = file.words("unsafe").map(|at| file.line(at));
        findings.extend(places.map(|line| {
            format!("{path}:{line}: unsafe code in a file that xtask/src/tidy/rules.rs does not list")
        }));
    }
    if !is_among(ENV_FILES, path) {
        let uses =
            ["std::env", "env::var", "env::var_os", "env::args"].iter().flat_map(|word| file.words(word));
        let places = uses.filter(|&at| !file.is_test(at)).map(|at| file.line(at));
        findings.extend(places.map(|line| format!("{path}:{line}: only cli reads the environment")));
    }
    if !is_among(TENSOR_NAME_FILES, path) {
        let is_name = |text: &str| text.starts_with("blk.") || text.ends_with(".weight");
        let names = file.strings.iter().filter(|(at, text)| is_name(text) && !file.is_test(*at));
        findings.extend(names.map(|(at, text)| {
            format!("{path}:{}: `{text}` is the name of a tensor, and only model knows those", file.line(*at))
        }));
    }
    findings
}

fn is_among(patterns: &[&str], path: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, path))
}

/// Whether `path` is what `pattern` says; `*` stands for any text, `/` included.
fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check_file(&SourceFile::parse(path, text)).len()
    }

    #[test]
    fn patterns_match_whole_paths() {
        assert!(matches("crates/kernels/src/*/avx2.rs", "crates/kernels/src/dot/avx2.rs"));
        assert!(matches("crates/kernels/src/*/avx2.rs", "crates/kernels/src/a/b/avx2.rs"));
        assert!(!matches("crates/kernels/src/*/avx2.rs", "crates/kernels/src/avx2_helper.rs"));
        assert!(
            matches("a/b.rs", "a/b.rs")
                && !matches("a/b.rs", "a/b.rs2")
                && matches("crates/*/x/*", "crates/y/x/z")
        );
    }

    #[test]
    fn each_rule_finds_its_breach() {
        assert_eq!(findings("crates/a/src/b.rs", "fn a() {}"), 1);
        assert_eq!(findings("crates/a/src/b.rs", "//! unsafe\nfn a() { \"unsafe\"; }"), 0);
        assert_eq!(findings("crates/a/src/b.rs", "//! x\nunsafe fn a() {}"), 1);
        assert_eq!(findings("crates/kernels/src/pool/mod.rs", "//! x\nunsafe fn a() {}"), 0);
        assert_eq!(findings("crates/a/src/b.rs", "//! x\nuse std::env;"), 1);
        assert_eq!(findings("crates/cli/src/b.rs", "//! x\nuse std::env;"), 0);
        assert_eq!(findings("crates/a/src/b.rs", "//! x\nconst A: &str = \"blk.0.x\";"), 1);
        assert_eq!(findings("crates/a/src/b.rs", "//! x\nconst A: &str = \"output.weight\";"), 1);
        assert_eq!(findings("crates/model/src/b.rs", "//! x\nconst A: &str = \"output.weight\";"), 0);
        let test = "//! x\n#[cfg(test)]\nmod tests {\n    const A: &str = \"output.weight\";\n}\n";
        assert_eq!(findings("crates/a/src/b.rs", test), 0);
    }
}
