//! `shoal list`.
use crate::args::ListArgs;
use crate::environment::Environment;

pub(crate) fn run(_args: &ListArgs, _environment: &Environment) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
