//! What stands in a declaration.

use proc_macro2::{Ident, TokenStream};
use syn::parse::{Parse, ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, FnArg, GenericArgument, ItemTrait, LitInt, Pat, PathArguments, ReceiverKind,
    ReturnType, Token, TraitItem, TraitItemFn, Type, Visibility,
};

/// A declared interface.
pub(crate) struct Interface {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) protocol: Expr,
    pub(crate) operations: Vec<Operation>,
}

/// A declared operation.
pub(crate) struct Operation {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) number: u64,
    pub(crate) options: Options,
    pub(crate) parameters: Vec<Parameter>,
    /// The client's buffer, if there is one.
    pub(crate) buffer: Option<Parameter>,
    pub(crate) result: Type,
    pub(crate) error: Type,
}

/// What stands in `#[op(…)]` behind the number.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) words: bool,
    pub(crate) writes: bool,
    pub(crate) deferred: bool,
}

/// An argument.
pub(crate) struct Parameter {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

/// How a value travels where postcard encodes the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In postcard's encoding.
    Value,
    /// As a capability item.
    Cap,
    /// As a flag in postcard's encoding, and a capability item if it is set.
    OptionalCap,
}

impl Interface {
    /// Reads the attribute's arguments and the trait.
    pub(crate) fn parse(arguments: TokenStream, declaration: TokenStream) -> syn::Result<Interface> {
        let protocol = parse_protocol.parse2(arguments)?;
        let item: ItemTrait = syn::parse2(declaration)?;
        if !item.generics.params.is_empty() {
            return Err(Error::new(
                item.generics.span(),
                "an interface has no generic parameters",
            ));
        }
        let mut operations: Vec<Operation> = Vec::new();
        for entry in item.items {
            let TraitItem::Fn(function) = entry else {
                return Err(Error::new(
                    entry.span(),
                    "an interface consists of operations only",
                ));
            };
            let operation = Operation::parse(function)?;
            if let Some(other) = operations.iter().find(|other| other.number == operation.number) {
                let text = format!(
                    "operation number {} is taken by `{}`; numbers are never used twice",
                    other.number, other.name
                );
                return Err(Error::new(operation.name.span(), text));
            }
            operations.push(operation);
        }
        Ok(Interface {
            attributes: item.attrs,
            visibility: item.vis,
            name: item.ident,
            protocol,
            operations,
        })
    }
}

fn parse_protocol(input: ParseStream<'_>) -> syn::Result<Expr> {
    let missing = "an interface needs its protocol: #[interface(protocol = 0x4001)]";
    let key: Ident = input.parse().map_err(|error| Error::new(error.span(), missing))?;
    if key != "protocol" {
        return Err(Error::new(key.span(), missing));
    }
    input.parse::<Token![=]>()?;
    input.parse()
}

impl Operation {
    fn parse(function: TraitItemFn) -> syn::Result<Operation> {
        let signature = function.sig;
        let span = signature.ident.span();
        let (own, attributes): (Vec<_>, Vec<_>) = function
            .attrs
            .into_iter()
            .partition(|attribute| attribute.path().is_ident("op"));
        let [own] = own.as_slice() else {
            return Err(Error::new(span, "an operation needs its number: #[op(1)]"));
        };
        let OpArguments { number, options } = own.parse_args()?;
        if !signature.generics.params.is_empty() {
            return Err(Error::new(span, "an operation has no generic parameters"));
        }
        let mut inputs = signature.inputs.into_iter();
        let receiver = inputs.next();
        if !matches!(&receiver, Some(FnArg::Receiver(own)) if matches!(own.kind, ReceiverKind::Reference(..)))
        {
            return Err(Error::new(
                span,
                "an operation's first parameter is &self or &mut self",
            ));
        }
        let mut parameters = inputs.map(Parameter::parse).collect::<syn::Result<Vec<_>>>()?;
        let buffer = parameters.pop_if(|last| is_buffer(&last.ty));
        if let Some(other) = parameters.iter().find(|parameter| is_buffer(&parameter.ty)) {
            return Err(Error::new(
                other.name.span(),
                "the buffer `&mut [u8]` must be the last parameter",
            ));
        }
        if buffer.is_some() && !options.deferred {
            return Err(Error::new(
                span,
                "an operation with a buffer `&mut [u8]` must be `deferred`",
            ));
        }
        let (result, error) = parse_result(&signature.output).ok_or_else(|| {
            Error::new(
                span,
                "an operation returns Result<T, E>, where E is the service's own error",
            )
        })?;
        Ok(Operation {
            attributes,
            name: signature.ident,
            number,
            options,
            parameters,
            buffer,
            result,
            error,
        })
    }
}

impl Parameter {
    fn parse(argument: FnArg) -> syn::Result<Parameter> {
        let FnArg::Typed(typed) = argument else {
            return Err(Error::new(
                argument.span(),
                "only the first parameter can be self",
            ));
        };
        let Pat::Ident(pattern) = *typed.pat else {
            return Err(Error::new(typed.pat.span(), "a parameter is a plain name"));
        };
        Ok(Parameter {
            name: pattern.ident,
            ty: *typed.ty,
        })
    }
}

struct OpArguments {
    number: u64,
    options: Options,
}

impl Parse for OpArguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<OpArguments> {
        let number = input.parse::<LitInt>()?.base10_parse()?;
        let mut options = Options::default();
        while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let option: Ident = input.parse()?;
            match option.to_string().as_str() {
                "words" => options.words = true,
                "writes" => options.writes = true,
                "deferred" => options.deferred = true,
                other => {
                    let text =
                        format!("unknown option `{other}`; there are `words`, `writes` and `deferred`");
                    return Err(Error::new(option.span(), text));
                }
            }
        }
        Ok(OpArguments { number, options })
    }
}

/// The two parameters of a `Result`.
fn parse_result(output: &ReturnType) -> Option<(Type, Type)> {
    let ReturnType::Type(_, ty) = output else {
        return None;
    };
    match type_arguments(ty, "Result")?.as_slice() {
        [value, error] => Some(((*value).clone(), (*error).clone())),
        _ => None,
    }
}

/// The type parameters of `ty` if its last path segment is `name`.
fn type_arguments<'t>(ty: &'t Type, name: &str) -> Option<Vec<&'t Type>> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last()?;
    if segment.ident != name {
        return None;
    }
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    Some(types.collect())
}

/// Tells how a value of type `ty` travels. A capability must be written `Cap<…>`: under another name it would reach
/// postcard, for which it has no encoding, and the compiler says so.
pub(crate) fn kind(ty: &Type) -> Kind {
    if type_arguments(ty, "Cap").is_some() {
        return Kind::Cap;
    }
    match type_arguments(ty, "Option").as_deref() {
        Some([inner]) if type_arguments(inner, "Cap").is_some() => Kind::OptionalCap,
        _ => Kind::Value,
    }
}

/// The parts of a result: the elements of a tuple, or the one type that it is.
pub(crate) fn elements(result: &Type) -> Vec<&Type> {
    match result {
        Type::Tuple(tuple) => tuple.elems.iter().collect(),
        other => vec![other],
    }
}

fn is_buffer(ty: &Type) -> bool {
    let Type::Reference(reference) = ty else {
        return false;
    };
    let Type::Slice(slice) = &*reference.elem else {
        return false;
    };
    reference.mutability.is_some() && matches!(&*slice.elem, Type::Path(path) if path.path.is_ident("u8"))
}
