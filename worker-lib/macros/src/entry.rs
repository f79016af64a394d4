//! What `#[worker::main]` makes of a function.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ItemFn, MetaNameValue, Path, ReturnType, Safety, Signature, parse2};

/// The attribute's arguments: none, or `init = FUNCTION`.
struct Arguments {
    /// What runs before the first request.
    init: Option<Path>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self, Error> {
        if input.is_empty() {
            return Ok(Self { init: None });
        }
        let argument: MetaNameValue = input.parse()?;
        let init = match &argument.value {
            Expr::Path(function) if argument.path.is_ident("init") && input.is_empty() => {
                Some(function.path.clone())
            }
            _ => None,
        };
        match init {
            Some(init) => Ok(Self { init: Some(init) }),
            None => Err(Error::new_spanned(
                argument,
                "`#[worker::main]` takes one argument at most, `init = FUNCTION`",
            )),
        }
    }
}

/// Leaves the function as it is and adds the program's entry behind it.
pub(crate) fn expand(arguments: TokenStream, function: TokenStream) -> Result<TokenStream, Error> {
    let Arguments { init } = parse2(arguments)?;
    let item: ItemFn = parse2(function)
        .map_err(|error| Error::new(error.span(), "`#[worker::main]` belongs on a function"))?;
    check(&item.sig)?;
    let name = &item.sig.ident;
    let init = init.iter();
    Ok(quote! {
        #item
        ::worker::entry!(#name #(, #init)*);
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
    fn what_runs_before_the_first_request_is_named() {
        let function = quote! { fn handle(request: Request, ctx: &Context) -> R {} };
        let expanded = expand(quote! { init = start::prepare }, function.clone()).unwrap();
        assert_eq!(
            expanded.to_string(),
            quote! { #function ::worker::entry!(handle, start::prepare); }.to_string()
        );
        for wrong in [
            quote! { fast },
            quote! { exit = prepare },
            quote! { init = 5 },
            quote! { init = a, init = b },
        ] {
            assert!(expand(wrong.clone(), function.clone()).is_err(), "{wrong}");
        }
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
    }
}
