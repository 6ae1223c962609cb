//! Plans for programs: what a server says of its own model and of others.

use shoal_checkpoint::Checkpoint;
use shoal_plan::Model;
use shoal_plan::forecast::Ask;
use shoal_server::{Planned, Planner};

use crate::environment::Environment;
use crate::loaded::Runtime;
use crate::planner::here::{Here, Local, formats};
use crate::planner::question::candidates;

/// The model in `checkpoint` and the whole family on this machine; `None` if it was not measured for them, which a server has no time for.
pub(crate) fn planner(
    checkpoint: &Checkpoint,
    runtime: &Runtime,
    environment: &Environment,
) -> Option<Planner> {
    let own = Model { name: checkpoint.name(), ..Model::of_checkpoint(checkpoint).ok()? };
    let family = candidates(&[], environment).ok()?;
    // The server's own may have formats that no other has; the most similar one stands for them then.
    let here = Here::kept(runtime, environment, &formats(family.iter().map(|candidate| &candidate.model)))?;
    let local = here.with_header(&own, checkpoint, true, runtime, Ask::default()).ok()?;
    let planned = |model: &Model, local: Local, is_served| Planned {
        model: model.clone(),
        machine: local.machine,
        ask: local.ask,
        lacks: local.lacks,
        is_served,
    };
    let mut all = vec![planned(&own, local, true)];
    for candidate in &family {
        let local = here.meet(candidate, runtime, Ask::default(), environment).ok()?;
        all.push(planned(&candidate.model, local, false));
    }
    Some(Planner { machine: here.line(), models: all })
}
