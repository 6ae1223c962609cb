//! `shoal completions` and `shoal man`: made from the same definitions that parse the arguments.

use std::io::Write;

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "shoal", &mut text);
    Ok(std::io::stdout().write_all(&text)?)
}

/// One page: the program, then each command.
pub(crate) fn man() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut command = Cli::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(&mut out)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("shoal {}", subcommand.get_name());
        let page = clap_mangen::Man::new(subcommand.clone().bin_name(name));
        writeln!(out, ".SH \"SHOAL {}\"", subcommand.get_name().to_uppercase())?;
        page.render_synopsis_section(&mut out)?;
        page.render_description_section(&mut out)?;
        page.render_options_section(&mut out)?;
    }
    Ok(())
}
