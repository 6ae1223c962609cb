//! A draft layer in a file of its own, joined with the model that it guesses for.
//!
//! V4's draft layer is published apart from the layers that it follows, in one of two forms. Joined, it stands after the model's own
//! layers, N of them, as if one file held all:
//!
//! ```text
//! llama.cpp's mtp-*.gguf   blk.N.*, output_hc_*        ──►  blk.N.*, blk.N.nextn.hc_head_*
//! ds4's *-MTP-*.gguf       mtp.0.*, mtp.0.hc_head_*    ──►  blk.N.*, blk.N.nextn.*
//! ```
//! What the first form has beside it (embedding, norm, head) are copies of the model's own.

use shoal_checkpoint::{Checkpoint, Value};

use crate::Error;

/// The same model with the draft layer in `draft` behind its own layers.
///
/// # Errors
/// If the model has a draft layer already, or there is none for it in `draft`.
pub fn with_draft_layer(model: Checkpoint, draft: Checkpoint) -> Result<Checkpoint, Error> {
    let architecture = model.metadata().required_str("general.architecture")?.to_owned();
    let [blocks, drafts] =
        ["block_count", "nextn_predict_layers"].map(|name| format!("{architecture}.{name}"));
    let file = draft.metadata().file().to_owned();
    // Some files count draft layers that were left out of them.
    let counted = model.metadata().u32(&drafts)?.unwrap_or(0);
    let layer = model.metadata().required_u32(&blocks)?.saturating_sub(counted);
    let entry = format!("blk.{layer}.nextn.enorm.weight");
    if model.tensor(&entry).is_some() {
        return Err(Error::SecondDraftLayer { model: model.name(), file });
    }
    let name = |name: &str| name_in_model(name, layer);
    if !draft.tensors().iter().any(|tensor| name(&tensor.name).as_deref() == Some(&entry)) {
        return Err(Error::NoDraftLayer { file, layer });
    }
    let pairs = [(blocks, Value::U32(layer.saturating_add(1))), (drafts, Value::U32(1))];
    Ok(model.joined(draft, name, pairs)?)
}

/// What a tensor of a draft's file is called in the model, whose draft layer is number `layer`; `None` for what the model has itself.
fn name_in_model(name: &str, layer: u32) -> Option<String> {
    let block = format!("blk.{layer}.");
    if name.starts_with(&block) {
        return Some(name.to_owned());
    }
    if let Some(part) = name.strip_prefix("output_hc_") {
        return Some(format!("{block}nextn.hc_head_{part}"));
    }
    let part = name.strip_prefix("mtp.0.")?;
    Some(match part {
        "norm.weight" => format!("{block}nextn.shared_head_norm.weight"),
        "e_proj.weight" | "h_proj.weight" | "enorm.weight" | "hnorm.weight" => format!("{block}nextn.{part}"),
        _ if part.starts_with("hc_head_") => format!("{block}nextn.{part}"),
        _ => format!("{block}{part}"),
    })
}
