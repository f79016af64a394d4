//! The command `aerie-qemu`; see `make help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use aerie_qemu::bench::Scope;
use aerie_qemu::cli::{Cli, Subcommands};
use aerie_qemu::error::Error;
use aerie_qemu::{bench, invoke, run, test};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Subcommands::Run { image, machine } => run::run(&cli.root, &cli.qemu, image, machine),
        Subcommands::Invoke { function, machine } => invoke::invoke(&cli.root, &cli.qemu, function, machine),
        Subcommands::Image { image } => run::image(&cli.root, &cli.qemu, image),
        Subcommands::List { lists } => run::list(&cli.root, lists),
        Subcommands::Test { only } => test::test(&cli.root, &cli.qemu, only),
        Subcommands::Bench { no_peer: true } => bench::bench(&cli.root, &cli.qemu, Scope::Alone),
        Subcommands::Bench { no_peer: false } => bench::bench(&cli.root, &cli.qemu, Scope::Both),
        Subcommands::BenchReport => bench::bench(&cli.root, &cli.qemu, Scope::Report),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, Error::Reported) {
                eprintln!("aerie-qemu: {error}");
            }
            ExitCode::from(error.status())
        }
    }
}
