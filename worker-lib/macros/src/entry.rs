//! What `#[worker::main]` makes of a function.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, ReturnType, Safety, Signature, parse2};

/// Leaves the function as it is and adds the program's entry behind it.
pub(crate) fn expand(arguments: TokenStream, function: TokenStream) -> Result<TokenStream, Error> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(
            arguments,
            "`#[worker::main]` takes no arguments",
        ));
    }
    let item: ItemFn = parse2(function)
        .map_err(|error| Error::new(error.span(), "`#[worker::main]` belongs on a function"))?;
    check(&item.sig)?;
    let name = &item.sig.ident;
    Ok(quote! {
        #item
        ::worker::entry!(#name);
    })
}

fn check(signature: &Signature) -> Result<(), Error> {
    let wanted = "write it as `fn main(request: Request, ctx: &Context) -> Result<Response, Error>`";
    let refuse =
        |what: &dyn quote::ToTokens, why: &str| Err(Error::new_spanned(what, format!("{why}; {wanted}")));
    if let Some(asyncness) = &signature.asyncness {
        return refuse(asyncness, "the function of a worker cannot be async");
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        return refuse(unsafety, "the function of a worker cannot be unsafe");
    }
    if !signature.generics.params.is_empty() {
        return refuse(&signature.generics, "the function of a worker cannot be generic");
    }
    if signature.inputs.len() != 2 {
        return refuse(signature, "the function of a worker takes two arguments");
    }
    if matches!(signature.output, ReturnType::Default) {
        return refuse(signature, "the function of a worker returns a result");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(function: TokenStream) -> String {
        expand(TokenStream::new(), function)
            .map_or_else(|error| error.to_string(), |tokens| tokens.to_string())
    }

    #[test]
    fn the_function_stays_and_an_entry_is_added() {
        let function =
            quote! { fn handle(request: Request, ctx: &Context) -> Result<Response, Error> { todo() } };
        let expanded = expand(TokenStream::new(), function.clone()).unwrap().to_string();
        assert_eq!(
            expanded,
            quote! { #function ::worker::entry!(handle); }.to_string()
        );
    }

    #[test]
    fn wrong_signatures_are_refused_with_the_right_one() {
        let cases = [
            (quote! { async fn f(a: A, b: &B) -> R {} }, "async"),
            (quote! { unsafe fn f(a: A, b: &B) -> R {} }, "unsafe"),
            (quote! { fn f<T>(a: A, b: &B) -> R {} }, "generic"),
            (quote! { fn f(a: A) -> R {} }, "two arguments"),
            (quote! { fn f(a: A, b: &B) {} }, "returns a result"),
        ];
        for (function, reason) in cases {
            let refusal = refusal(function);
            assert!(
                refusal.contains(reason) && refusal.contains("request: Request"),
                "{refusal}"
            );
        }
        assert!(refusal(quote! { struct S; }).contains("belongs on a function"));
        assert!(expand(quote! { fast }, quote! { fn f(a: A, b: &B) -> R {} }).is_err());
    }
}
