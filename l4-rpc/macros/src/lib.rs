//! The `#[interface]` attribute of `l4-rpc`, which documents it.
#![forbid(unsafe_code)]

mod client;
mod declaration;
mod server;
mod signature;

use proc_macro2::TokenStream;
use quote::quote;

use declaration::Interface;

/// Declares a service's interface; see the documentation of the crate `l4_rpc`.
#[proc_macro_attribute]
pub fn interface(
    arguments: proc_macro::TokenStream,
    declaration: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand(arguments.into(), declaration.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// Reads the declaration and writes the client, the server trait and the dispatcher.
fn expand(arguments: TokenStream, declaration: TokenStream) -> syn::Result<TokenStream> {
    let interface = Interface::parse(arguments, declaration)?;
    let client = client::expand(&interface);
    let server = server::expand(&interface);
    Ok(quote! { #client #server })
}

#[cfg(test)]
mod tests {
    use super::expand;
    use quote::quote;

    fn message(declaration: proc_macro2::TokenStream) -> String {
        expand(quote! { protocol = 1 }, declaration)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn a_number_is_required() {
        let text = message(quote! { trait T { fn f(&self) -> Result<(), E>; } });
        assert_eq!(text, "an operation needs its number: #[op(1)]");
    }

    #[test]
    fn a_number_is_used_once() {
        let text = message(quote! {
            trait T { #[op(1)] fn f(&self) -> Result<(), E>; #[op(0x1)] fn g(&self) -> Result<(), E>; }
        });
        assert_eq!(
            text,
            "operation number 1 is taken by `f`; numbers are never used twice"
        );
    }

    #[test]
    fn operations_can_fail() {
        let text = message(quote! { trait T { #[op(1)] fn f(&self) -> u64; } });
        assert_eq!(
            text,
            "an operation returns Result<T, E>, where E is the service's own error"
        );
    }

    #[test]
    fn operations_have_a_receiver() {
        let text = message(quote! { trait T { #[op(1)] fn f() -> Result<(), E>; } });
        assert_eq!(text, "an operation's first parameter is &self or &mut self");
    }

    #[test]
    fn unknown_options_are_refused() {
        let text = message(quote! { trait T { #[op(1, fast)] fn f(&self) -> Result<(), E>; } });
        assert_eq!(
            text,
            "unknown option `fast`; there are `words`, `writes` and `deferred`"
        );
    }

    #[test]
    fn buffers_need_deferred_and_the_last_place() {
        let text = message(quote! { trait T { #[op(1)] fn f(&self, out: &mut [u8]) -> Result<(), E>; } });
        assert_eq!(text, "an operation with a buffer `&mut [u8]` must be `deferred`");
        let text = message(
            quote! { trait T { #[op(1, deferred)] fn f(&self, out: &mut [u8], n: u64) -> Result<(), E>; } },
        );
        assert_eq!(text, "the buffer `&mut [u8]` must be the last parameter");
    }

    #[test]
    fn the_protocol_is_required() {
        let error = expand(quote! {}, quote! { trait T {} }).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "an interface needs its protocol: #[interface(protocol = 0x4001)]"
        );
    }

    #[test]
    fn other_items_and_generics_are_refused() {
        assert_eq!(
            message(quote! { trait T { const C: u64; } }),
            "an interface consists of operations only"
        );
        assert_eq!(
            message(quote! { trait T { #[op(1)] fn f<A>(&self) -> Result<(), E>; } }),
            "an operation has no generic parameters"
        );
        assert_eq!(
            message(quote! { trait T<A> {} }),
            "an interface has no generic parameters"
        );
    }
}
