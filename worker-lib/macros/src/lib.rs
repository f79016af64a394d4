//! The `#[worker::main]` attribute. Use it through `worker-lib`, which documents it.
#![forbid(unsafe_code)]

mod entry;

use proc_macro::TokenStream;

/// Marks the function that handles requests, and declares start-up, heap and panic handler of the program.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, function: TokenStream) -> TokenStream {
    entry::expand(arguments.into(), function.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
