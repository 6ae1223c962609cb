//! `shoal pull`: a model of the catalogue into the cache folder.

use crate::args::PullArgs;
use crate::environment::Environment;
use crate::resolve::{MINNOW, fetched, find};

pub(crate) fn run(args: &PullArgs, environment: &Environment) -> anyhow::Result<()> {
    if args.model == MINNOW {
        println!("minnow is part of this program; `shoal run minnow`");
        return Ok(());
    }
    let model = find(&shoal_hub::Catalogue::builtin(), &args.model)?;
    let path = fetched(model, environment)?;
    println!("{}", path.display());
    Ok(())
}
