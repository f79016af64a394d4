//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Builds Aerie's boot images, runs them in QEMU, tests and measures them.
///
/// Exit status: 0 success; 1 the system, a build or a test failed; 2 wrong usage or a missing tool; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "aerie-qemu", version)]
pub struct Cli {
    /// Folder of the project
    #[arg(long, global = true, value_name = "FOLDER", default_value = ".")]
    pub root: PathBuf,
    /// QEMU program to run
    #[arg(
        long,
        global = true,
        value_name = "PROGRAM",
        default_value = "",
        env = "QEMU_PATH",
        hide_env_values = true
    )]
    pub qemu: String,
    /// What to do
    #[command(subcommand)]
    pub command: Subcommands,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Subcommands {
    /// Build an entry's boot image and run it
    Run {
        /// The image
        #[command(flatten)]
        image: ImageArguments,
        /// The machine
        #[command(flatten)]
        machine: MachineArguments,
    },
    /// Build a boot image around one function folder, boot it and invoke the function once
    Invoke {
        /// The function
        #[command(flatten)]
        function: InvokeArguments,
        /// The machine
        #[command(flatten)]
        machine: MachineArguments,
    },
    /// Build an entry's boot image only, and print where it is
    Image {
        /// The image
        #[command(flatten)]
        image: ImageArguments,
    },
    /// List the entries of modules.list
    List {
        /// The description
        #[command(flatten)]
        lists: ListArguments,
    },
    /// Run all tests: on the host, of the kernel in QEMU, of the whole system in QEMU
    Test {
        /// Only tests whose name contains this
        #[arg(
            long,
            value_name = "NAME",
            default_value = "",
            env = "ONLY",
            hide_env_values = true
        )]
        only: String,
    },
    /// Measure Aerie, and Linux under the same settings
    Bench {
        /// Leave the Linux guest out
        #[arg(long)]
        no_peer: bool,
    },
    /// Measure more, beside CPython and Wasmtime in Linux too, and make one page of all
    BenchReport,
}

/// Where image descriptions and modules are.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// Description of the boot images
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        env = "MODULES_LIST",
        hide_env_values = true
    )]
    pub modules_list: String,
    /// Folders in which modules and functions are looked for first, separated by colons
    #[arg(
        long,
        value_name = "FOLDERS",
        default_value = "",
        env = "MODULE_SEARCH_PATH",
        hide_env_values = true
    )]
    pub module_search_path: String,
}

/// Which image to build.
#[derive(Clone, Debug, Args)]
pub struct ImageArguments {
    /// The description
    #[command(flatten)]
    pub lists: ListArguments,
    /// Entry of the description; the first one if not given
    #[arg(
        short,
        long,
        value_name = "NAME",
        default_value = "",
        env = "E",
        hide_env_values = true
    )]
    pub entry: String,
    /// Arguments for the clients that the boot script starts
    #[arg(
        long,
        value_name = "ARGUMENTS",
        default_value = "",
        env = "CLIENT_ARGS",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub client_args: String,
    /// Compile every invariant check in
    #[arg(long)]
    pub checked: bool,
}

/// Which function to invoke, and how.
#[derive(Clone, Debug, Args)]
pub struct InvokeArguments {
    /// Folder of the function
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "",
        env = "FUNCTION",
        hide_env_values = true
    )]
    pub function: PathBuf,
    /// Folders in which modules are looked for first, behind the function's own, separated by colons
    #[arg(
        long,
        value_name = "FOLDERS",
        default_value = "",
        env = "MODULE_SEARCH_PATH",
        hide_env_values = true
    )]
    pub module_search_path: String,
    /// Text that the function gets
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        env = "REQUEST",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub request: String,
    /// Further arguments for the client, such as `--mode=warm --iterations=3`
    #[arg(
        long,
        value_name = "ARGUMENTS",
        default_value = "",
        env = "CLIENT_ARGS",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub client_args: String,
}

/// How to run the machine.
#[derive(Clone, Debug, Args)]
pub struct MachineArguments {
    /// Further options for QEMU, such as `-smp 3`
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        env = "QEMU_OPTIONS",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub qemu_options: String,
    /// Seconds of silence on the console that count as a hang; 0 waits for ever
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "60",
        env = "TIMEOUT",
        hide_env_values = true
    )]
    pub timeout: String,
}
