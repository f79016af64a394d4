//! The generated server trait, dispatcher and encoders of answers.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::declaration::{Interface, Kind, Operation, elements, kind};
use crate::signature;

/// Writes `trait Name`, `NameInterface` and `NameReply`.
pub(crate) fn expand(interface: &Interface) -> TokenStream {
    let server_trait = server_trait(interface);
    let table = table(interface);
    let replies = replies(interface);
    quote! { #server_trait #table #replies }
}

fn server_trait(interface: &Interface) -> TokenStream {
    let Interface {
        attributes,
        visibility,
        name,
        operations,
        ..
    } = interface;
    let methods = operations.iter().map(|operation| {
        let Operation {
            attributes,
            name,
            result,
            error,
            ..
        } = operation;
        let parameters = operation.parameters.iter().map(|parameter| {
            let (name, ty) = (&parameter.name, &parameter.ty);
            quote! { #name: #ty }
        });
        if operation.options.deferred {
            quote! {
                #(#attributes)*
                fn #name(
                    &mut self,
                    caller: ::l4_rpc::Caller,
                    utcb: &::l4_rpc::generated::Utcb,
                    #(#parameters),*
                ) -> ::l4_rpc::Reply;
            }
        } else {
            quote! {
                #(#attributes)*
                fn #name(
                    &mut self,
                    caller: ::l4_rpc::Caller,
                    #(#parameters),*
                ) -> ::core::result::Result<#result, #error>;
            }
        }
    });
    quote! {
        #(#attributes)*
        #visibility trait #name {
            #(#methods)*
        }
    }
}

fn table(interface: &Interface) -> TokenStream {
    let Interface {
        visibility,
        name,
        protocol,
        operations,
        ..
    } = interface;
    let table = format_ident!("{name}Interface");
    let about = format!("The interface [`{name}`]: its numbers, and the way from a message to a server.");
    let entries = operations.iter().map(|operation| {
        let (number, name, text) = (
            operation.number,
            operation.name.to_string(),
            signature::text(operation),
        );
        quote! { ::l4_rpc::Operation { number: #number, name: #name, signature: #text } }
    });
    let arms = operations.iter().map(|operation| arm(interface, operation));
    quote! {
        #[doc = #about]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #table;

        impl #table {
            /// Label of the requests.
            #visibility const PROTOCOL: i64 = #protocol;

            /// The operations, as declared.
            #visibility const OPERATIONS: &'static [::l4_rpc::Operation] = &[#(#entries),*];

            /// Hands a request to `server`. Whatever is wrong with the message becomes an answer with an error.
            #[inline]
            #visibility fn dispatch<S: #name + ?Sized>(
                server: &mut S,
                incoming: &::l4_rpc::Incoming,
                utcb: &::l4_rpc::generated::Utcb,
            ) -> ::l4_rpc::Reply {
                match Self::serve(server, incoming, utcb) {
                    ::core::result::Result::Ok(reply) => reply,
                    ::core::result::Result::Err(error) => ::l4_rpc::Reply::error(error),
                }
            }

            #[inline]
            fn serve<S: #name + ?Sized>(
                server: &mut S,
                incoming: &::l4_rpc::Incoming,
                utcb: &::l4_rpc::generated::Utcb,
            ) -> ::core::result::Result<::l4_rpc::Reply, ::l4_rpc::generated::Error> {
                let (opcode, mut __arguments) = incoming.request(Self::PROTOCOL)?;
                match opcode {
                    #(#arms)*
                    _ => ::core::result::Result::Err(::l4_rpc::generated::Error::NoSystemCall),
                }
            }
        }
    }
}

/// One operation's arm of the dispatcher's `match`.
fn arm(interface: &Interface, operation: &Operation) -> TokenStream {
    let Operation {
        name,
        number,
        options,
        parameters,
        ..
    } = operation;
    let server_trait = &interface.name;
    let replies = format_ident!("{server_trait}Reply");
    let check = options.writes.then(|| {
        quote! {
            if !incoming.caller().rights.contains(::l4_rpc::generated::Rights::WRITE) {
                return ::core::result::Result::Err(::l4_rpc::generated::Error::NotPermitted);
            }
        }
    });
    let decode = arguments(operation);
    let names: Vec<&Ident> = parameters.iter().map(|parameter| &parameter.name).collect();
    let reply = if options.deferred {
        quote! { #server_trait::#name(server, incoming.caller(), utcb, #(#names),*) }
    } else {
        quote! {
            ::l4_rpc::Reply::Now(#replies::#name(
                utcb,
                #server_trait::#name(server, incoming.caller(), #(#names),*).as_ref(),
            ))
        }
    };
    quote! {
        #number => {
            #check
            #decode
            __arguments.finish()?;
            incoming.take_caps();
            ::core::result::Result::Ok(#reply)
        }
    }
}

/// Statements that decode the arguments.
fn arguments(operation: &Operation) -> TokenStream {
    if operation.options.words {
        let lines = operation.parameters.iter().map(|parameter| {
            let (name, ty) = (&parameter.name, &parameter.ty);
            quote! { let #name: #ty = ::l4_rpc::Decode::decode(&mut __arguments)?; }
        });
        return quote! { #(#lines)* };
    }
    let mut values = Vec::new();
    let mut types = Vec::new();
    let mut caps = Vec::new();
    for parameter in &operation.parameters {
        let (name, ty) = (&parameter.name, &parameter.ty);
        match kind(ty) {
            Kind::Value => {
                values.push(name);
                types.push(quote! { #ty });
            }
            Kind::Cap => caps.push(quote! { let #name: #ty = ::l4_rpc::Decode::decode(&mut __arguments)?; }),
            Kind::OptionalCap => {
                values.push(name);
                types.push(quote! { bool });
                caps.push(quote! {
                    let #name: #ty = match #name {
                        true => ::core::option::Option::Some(::l4_rpc::Decode::decode(&mut __arguments)?),
                        false => ::core::option::Option::None,
                    };
                });
            }
        }
    }
    let payload = (!values.is_empty()).then(|| {
        quote! { let (#(#values,)*): (#(#types,)*) = __arguments.payload()?; }
    });
    quote! { #payload #(#caps)* }
}

fn replies(interface: &Interface) -> TokenStream {
    let Interface {
        visibility,
        name,
        operations,
        ..
    } = interface;
    let replies = format_ident!("{name}Reply");
    let about = format!(
        "Encodes the answers of [`{name}`]'s operations; each returns the tag to answer with. The message is in the \
         UTCB then, and nothing may come between."
    );
    let functions = operations.iter().map(|operation| {
        let Operation {
            name, result, error, ..
        } = operation;
        let about = format!("Encodes the answer of `{name}`.");
        let (tail, encode_tail) = match &operation.buffer {
            Some(buffer) => {
                let buffer = &buffer.name;
                (
                    Some(quote! { #buffer: &[u8], }),
                    Some(quote! { ::l4_rpc::Encode::encode(&#buffer, __answer); }),
                )
            }
            None => (None, None),
        };
        let encode = results(operation);
        quote! {
            #[doc = #about]
            #[inline]
            #visibility fn #name(
                utcb: &::l4_rpc::generated::Utcb,
                result: ::core::result::Result<&#result, &#error>,
                #tail
            ) -> ::l4_rpc::generated::Tag {
                ::l4_rpc::server::answer(utcb, result, |__value, __answer| {
                    #encode
                    #encode_tail
                })
            }
        }
    });
    quote! {
        #[doc = #about]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #replies;

        impl #replies {
            #(#functions)*
        }
    }
}

/// Statements that encode the result `__value`, a reference.
fn results(operation: &Operation) -> TokenStream {
    if operation.options.words {
        return quote! { ::l4_rpc::Encode::encode(__value, __answer); };
    }
    let parts = elements(&operation.result);
    let names: Vec<Ident> = (0..parts.len())
        .map(|index| format_ident!("__part{index}"))
        .collect();
    let mut values = Vec::new();
    let mut caps = Vec::new();
    for (name, ty) in names.iter().zip(&parts) {
        match kind(ty) {
            Kind::Value => values.push(quote! { #name }),
            Kind::Cap => caps.push(quote! { __answer.cap(*#name); }),
            Kind::OptionalCap => {
                values.push(quote! { #name.is_some() });
                caps.push(
                    quote! { if let ::core::option::Option::Some(cap) = #name { __answer.cap(*cap); } },
                );
            }
        }
    }
    let pattern = match &operation.result {
        syn::Type::Tuple(_) => quote! { (#(#names,)*) },
        _ => quote! { #(#names)* },
    };
    let payload = (!values.is_empty()).then(|| quote! { __answer.payload(&(#(#values,)*)); });
    quote! { let #pattern = __value; #payload #(#caps)* }
}
