//! Who may import whom: the table of the design, held against what cargo says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Each crate and the crates it may import. A new edge is a change of the design.
const IMPORTS: &[(&str, &[&str])] = &[
    ("shoal-base", &[]),
    ("shoal-quant", &["shoal-base"]),
    ("shoal-kernels", &["shoal-base", "shoal-quant"]),
    ("shoal-checkpoint", &["shoal-base", "shoal-quant"]),
    ("shoal-store", &["shoal-base", "shoal-quant", "shoal-checkpoint"]),
    ("shoal-text", &["shoal-base"]),
    ("shoal-model", &["shoal-base", "shoal-quant", "shoal-kernels", "shoal-checkpoint", "shoal-store"]),
    ("shoal-engine", &["shoal-base", "shoal-model", "shoal-store"]),
    ("shoal-plan", &["shoal-base", "shoal-quant", "shoal-checkpoint"]),
    ("shoal-hub", &["shoal-base"]),
    ("shoal-server", &["shoal-base", "shoal-engine", "shoal-text", "shoal-plan"]),
    (
        "shoal",
        &[
            "shoal-base",
            "shoal-quant",
            "shoal-kernels",
            "shoal-checkpoint",
            "shoal-store",
            "shoal-text",
            "shoal-model",
            "shoal-engine",
            "shoal-plan",
            "shoal-hub",
            "shoal-server",
        ],
    ),
    ("shoal-testkit", &["shoal-base"]),
    ("xtask", &["shoal-base", "shoal-quant", "shoal-checkpoint", "shoal-testkit"]),
];

/// The crate that tests may import anywhere, and nothing else may.
const TESTKIT: &str = "shoal-testkit";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` is a normal one.
    kind: Option<String>,
    /// Where it stands, if it is one of ours.
    path: Option<String>,
}

/// Holds the workspace against the table.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(metadata.packages.iter().flat_map(check_package).collect())
}

fn check_package(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    if imports(name).is_none() {
        return vec![format!(
            "{name}: a crate that the import table in xtask/src/tidy/edges.rs does not have"
        )];
    }
    let allowed: BTreeSet<&str> = imports(name).into_iter().flatten().copied().collect();
    let below = all_below(name);
    let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    ours.filter_map(|dependency| {
        let other = dependency.name.as_str();
        let is_allowed = match dependency.kind.as_deref() {
            // Tests may use what stands anywhere below.
            Some("dev") => other == TESTKIT || below.contains(other),
            _ => allowed.contains(other),
        };
        (!is_allowed).then(|| format!("{name} imports {other}, which the import table does not allow"))
    })
    .collect()
}

fn imports(name: &str) -> Option<&'static [&'static str]> {
    IMPORTS.iter().find(|(crate_name, _)| *crate_name == name).map(|(_, imports)| *imports)
}

/// Every crate that `name` imports, directly or through others.
fn all_below(name: &str) -> BTreeSet<&'static str> {
    let direct = imports(name).unwrap_or_default();
    direct.iter().flat_map(|other| all_below(other).into_iter().chain([*other])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependency: &str, kind: Option<&str>) -> Package {
        let dependency = Dependency {
            name: dependency.to_owned(),
            kind: kind.map(str::to_owned),
            path: Some("somewhere".to_owned()),
        };
        Package { name: name.to_owned(), dependencies: vec![dependency] }
    }

    #[test]
    fn an_edge_against_the_current_is_found() {
        let finds = |name, other, kind| !check_package(&package(name, other, kind)).is_empty();
        assert!(finds("shoal-base", "shoal-quant", None));
        assert!(finds("shoal-text", "shoal-model", None));
        assert!(finds("shoal-model", "shoal-testkit", None));
        assert!(finds("shoal-quant", "shoal-engine", Some("dev")));
        assert!(finds("shoal-unknown", "shoal-base", None));
        assert!(!finds("shoal-model", "shoal-store", None));
        assert!(!finds("shoal-engine", "shoal-checkpoint", Some("dev")), "it stands below model");
        assert!(!finds("shoal-base", "shoal-testkit", Some("dev")));
    }
}
