//! The program of the Python runtime; all it does is in the library, which is quick to check without linking.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    python_runtime::main()
}
