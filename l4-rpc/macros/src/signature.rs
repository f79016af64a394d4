//! Signatures as text, the same with every compiler.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;

use crate::declaration::Operation;

/// The operation's arguments, result and options, as written in its declaration.
pub(crate) fn text(operation: &Operation) -> String {
    let mut arguments: Vec<String> = Vec::new();
    for parameter in operation.parameters.iter().chain(&operation.buffer) {
        arguments.push(format!(
            "{}: {}",
            parameter.name,
            tokens(parameter.ty.to_token_stream())
        ));
    }
    let mut text = format!(
        "({}) -> Result<{}, {}>",
        arguments.join(", "),
        tokens(operation.result.to_token_stream()),
        tokens(operation.error.to_token_stream())
    );
    let options = operation.options;
    for (is_set, name) in [
        (options.words, "words"),
        (options.writes, "writes"),
        (options.deferred, "deferred"),
    ] {
        if is_set {
            text.push(' ');
            text.push_str(name);
        }
    }
    text
}

/// Tokens of a type with the usual spaces: behind commas, semicolons and keywords.
fn tokens(stream: TokenStream) -> String {
    let mut text = String::new();
    for token in stream {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                text.push_str(&tokens(group.stream()));
                text.push_str(close);
            }
            TokenTree::Punct(punct) => {
                text.push(punct.as_char());
                if matches!(punct.as_char(), ',' | ';') && punct.spacing() == Spacing::Alone {
                    text.push(' ');
                }
            }
            TokenTree::Ident(ident) => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                    text.push(' ');
                }
                text.push_str(&ident.to_string());
            }
            TokenTree::Literal(literal) => text.push_str(&literal.to_string()),
        }
    }
    for keyword in ["mut", "dyn"] {
        text = text.replace(&format!("{keyword}["), &format!("{keyword} ["));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::tokens;
    use quote::quote;

    #[test]
    fn types_look_as_written() {
        assert_eq!(tokens(quote! { &str }), "&str");
        assert_eq!(
            tokens(quote! { Option<Cap<dyn Namespace>> }),
            "Option<Cap<dyn Namespace>>"
        );
        assert_eq!(tokens(quote! { (u64, [u64; 4]) }), "(u64, [u64; 4])");
        assert_eq!(tokens(quote! { &mut [u8] }), "&mut [u8]");
        assert_eq!(tokens(quote! { Payload<'_> }), "Payload<'_>");
        assert_eq!(tokens(quote! { () }), "()");
    }
}
