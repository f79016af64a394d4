//! The command `aerie-qemu`; see `make help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use aerie_qemu::cli::{Cli, Subcommands};
use aerie_qemu::run;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Subcommands::Run { image, machine } => run::run(&cli.root, &cli.qemu, image, machine),
        Subcommands::Image { image } => run::image(&cli.root, image),
        Subcommands::List { lists } => run::list(&cli.root, lists),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aerie-qemu: {error}");
            ExitCode::from(error.status())
        }
    }
}
