//! The generated client.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::declaration::{Interface, Kind, Operation, elements, kind};

/// Writes `NameClient`.
pub(crate) fn expand(interface: &Interface) -> TokenStream {
    let Interface {
        visibility,
        name,
        operations,
        ..
    } = interface;
    let client = format_ident!("{name}Client");
    let about = format!(
        "Client of [`{name}`]: sends requests through a transport and waits for the answers, for ever unless \
         [`Self::until`] says how long."
    );
    let methods = operations.iter().map(|operation| method(operation, interface));
    quote! {
        #[doc = #about]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #client<T = ::l4_rpc::Gate> {
            transport: T,
            deadline: u64,
        }

        impl<T: ::l4_rpc::Transport> #client<T> {
            /// Sends through `transport`.
            #[inline]
            #visibility const fn new(transport: T) -> Self {
                Self { transport, deadline: ::l4_rpc::generated::NEVER }
            }

            /// The same client, whose calls fail when `deadline` has passed (absolute nanoseconds of the kernel clock).
            #[inline]
            #[must_use]
            #visibility fn until(self, deadline: u64) -> Self {
                Self { deadline, ..self }
            }

            /// What carries the requests.
            #[inline]
            #visibility const fn transport(&self) -> &T {
                &self.transport
            }

            #(#methods)*
        }
    }
}

fn method(operation: &Operation, interface: &Interface) -> TokenStream {
    let Interface {
        visibility, protocol, ..
    } = interface;
    let Operation {
        attributes,
        name,
        number,
        result,
        error,
        ..
    } = operation;
    let parameters = operation
        .parameters
        .iter()
        .chain(&operation.buffer)
        .map(|parameter| {
            let (name, ty) = (&parameter.name, &parameter.ty);
            quote! { #name: #ty }
        });
    let returned = match operation.buffer {
        Some(_) => quote! { (#result, usize) },
        None => quote! { #result },
    };
    let encode = arguments(operation);
    let (caps, decode) = results(operation);
    quote! {
        #(#attributes)*
        #[inline]
        #visibility fn #name(&self, #(#parameters),*) -> ::core::result::Result<#returned, ::l4_rpc::CallError<#error>> {
            let mut __request =
                ::l4_rpc::Encoder::request(::l4_rpc::Transport::utcb(&self.transport), #number);
            #encode
            ::l4_rpc::client::exchange(
                &self.transport,
                __request.finish(#protocol),
                self.deadline,
                #caps,
                |__answer| { #decode },
            )
        }
    }
}

/// Statements that encode the arguments.
fn arguments(operation: &Operation) -> TokenStream {
    if operation.options.words {
        let names = operation.parameters.iter().map(|parameter| &parameter.name);
        return quote! { #(::l4_rpc::Encode::encode(&#names, &mut __request);)* };
    }
    let mut values = Vec::new();
    let mut caps = Vec::new();
    for parameter in &operation.parameters {
        let name = &parameter.name;
        match kind(&parameter.ty) {
            Kind::Value => values.push(quote! { &#name }),
            Kind::Cap => caps.push(quote! { __request.cap(#name); }),
            Kind::OptionalCap => {
                values.push(quote! { #name.is_some() });
                caps.push(
                    quote! { if let ::core::option::Option::Some(cap) = #name { __request.cap(cap); } },
                );
            }
        }
    }
    let payload = (!values.is_empty()).then(|| quote! { __request.payload(&(#(#values,)*)); });
    quote! { #payload #(#caps)* }
}

/// The number of capabilities in the result, and statements that decode it.
fn results(operation: &Operation) -> (TokenStream, TokenStream) {
    let Decoding {
        caps,
        statements,
        value,
    } = if operation.options.words {
        word_results(operation)
    } else {
        postcard_results(operation)
    };
    let decode = match &operation.buffer {
        Some(buffer) => {
            let buffer = &buffer.name;
            quote! {
                #statements
                let __length = __answer.tail(#buffer)?;
                ::core::result::Result::Ok((#value, __length))
            }
        }
        None => quote! { #statements ::core::result::Result::Ok(#value) },
    };
    (caps, decode)
}

/// How a result is read.
struct Decoding {
    /// The number of capabilities in it.
    caps: TokenStream,
    /// What comes first.
    statements: TokenStream,
    /// The result, an expression.
    value: TokenStream,
}

fn word_results(operation: &Operation) -> Decoding {
    let result = &operation.result;
    Decoding {
        caps: quote! { <#result as ::l4_rpc::Decode<::l4_rpc::Answer<'_>>>::CAPS },
        statements: quote! {
            let __value = <#result as ::l4_rpc::Decode<::l4_rpc::Answer<'_>>>::decode(__answer)?;
        },
        value: quote! { __value },
    }
}

fn postcard_results(operation: &Operation) -> Decoding {
    let parts = elements(&operation.result);
    let names: Vec<Ident> = (0..parts.len())
        .map(|index| format_ident!("__part{index}"))
        .collect();
    let mut values = Vec::new();
    let mut types = Vec::new();
    let mut caps = Vec::new();
    for (name, ty) in names.iter().zip(&parts) {
        match kind(ty) {
            Kind::Value => {
                values.push(name);
                types.push(quote! { #ty });
            }
            Kind::Cap => caps.push(quote! {
                let #name = ::l4_rpc::Source::slot(__answer).map(::l4_rpc::Cap::new)?;
            }),
            Kind::OptionalCap => {
                values.push(name);
                types.push(quote! { bool });
                caps.push(quote! {
                    let #name = match #name {
                        true => ::core::option::Option::Some(
                            ::l4_rpc::Source::slot(__answer).map(::l4_rpc::Cap::new)?
                        ),
                        false => ::core::option::Option::None,
                    };
                });
            }
        }
    }
    let count = caps.len();
    let payload = (!values.is_empty()).then(|| {
        quote! { let (#(#values,)*): (#(#types,)*) = __answer.payload()?; }
    });
    let value = match &operation.result {
        syn::Type::Tuple(_) => quote! { (#(#names,)*) },
        _ => quote! { #(#names)* },
    };
    Decoding {
        caps: quote! { #count },
        statements: quote! { #payload #(#caps)* },
        value,
    }
}
