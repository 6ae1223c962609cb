//! `shoal list`: the catalogue, and what of it is on this machine.

use std::io::Write;

use serde::Serialize;
use shoal_base::Bytes;
use shoal_hub::{Catalogue, Model};

use crate::args::ListArgs;
use crate::environment::Environment;
use crate::resolve::{MINNOW, cache};

#[derive(Serialize)]
struct Entry {
    name: &'static str,
    parameters: &'static str,
    architecture: &'static str,
    bytes: Option<u64>,
    memory: &'static str,
    licence: &'static str,
    description: &'static str,
    path: Option<String>,
}

pub(crate) fn run(args: &ListArgs, environment: &Environment) -> anyhow::Result<()> {
    let catalogue = Catalogue::builtin();
    let cache = cache(environment);
    let entries: Vec<Entry> = catalogue
        .models()
        .iter()
        .map(|model| Entry {
            name: model.name,
            parameters: model.parameters,
            architecture: model.architecture,
            bytes: total_bytes(model),
            memory: model.memory,
            licence: model.licence,
            description: model.description,
            path: cache.locate(model).map(|path| path.display().to_string()),
        })
        .collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &entries)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{:<26} {:<18} {:>10}", "name", "parameters", "size")?;
    writeln!(out, "{MINNOW:<26} {:<18} {:>10}  inside this program; tells little stories", "8.5M", "")?;
    for entry in entries {
        let size = entry.bytes.map_or_else(String::new, |bytes| Bytes(bytes).to_string());
        let here = if entry.path.is_some() { "here · " } else { "" };
        writeln!(out, "{:<26} {:<18} {size:>10}  {here}{}", entry.name, entry.parameters, entry.description)?;
    }
    Ok(())
}

/// Size of all files, where all are known.
fn total_bytes(model: &Model) -> Option<u64> {
    model.files.iter().map(|file| file.bytes).sum()
}
