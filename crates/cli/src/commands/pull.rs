//! `shoal pull`.
use crate::args::PullArgs;
use crate::environment::Environment;

pub(crate) fn run(_args: &PullArgs, _environment: &Environment) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
