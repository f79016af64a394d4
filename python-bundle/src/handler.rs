//! Which function of a bundle serves requests.

use alloc::string::String;
use alloc::{borrow::ToOwned, format};

use crate::Bundle;

/// Module and function of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// The module, with dots between packages.
    pub module: String,
    /// The function; empty if it is to be looked for in the module.
    pub function: String,
}

impl Handler {
    /// The handler that `text` names, `module.function` or `function` or nothing, in the single file of the function
    /// called `name`.
    #[must_use]
    pub fn of_file(text: &str, name: &str) -> Self {
        let (module, function) = split(text);
        let module = if module.is_empty() {
            identifier(name)
        } else {
            module.into()
        };
        Self {
            module,
            function: function.into(),
        }
    }

    /// The handler that `text` names in a bundle of the function called `name`. Without a module it is that of `main`,
    /// `handler`, the one called as the function, or the only one; `None` if there is no such choice.
    #[must_use]
    pub fn of_bundle(text: &str, name: &str, bundle: &Bundle<'_>) -> Option<Self> {
        let (module, function) = split(text);
        let module = if module.is_empty() {
            main_module(bundle, &identifier(name))?
        } else {
            module.into()
        };
        Some(Self {
            module,
            function: function.into(),
        })
    }
}

fn split(text: &str) -> (&str, &str) {
    text.rsplit_once('.').unwrap_or(("", text))
}

fn main_module(bundle: &Bundle<'_>, function: &str) -> Option<String> {
    let names = ["main", "handler", function];
    if let Some(name) = names.iter().find(|name| bundle.has_file(&format!("{name}.py"))) {
        return Some((*name).to_owned());
    }
    let mut top = bundle
        .names()
        .filter_map(|name| name.strip_suffix(".py"))
        .filter(|name| !name.contains('/'));
    match (top.next(), top.next()) {
        (Some(only), None) => Some(only.into()),
        _ => None,
    }
}

/// A function's name as the name of a module.
fn identifier(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Handler;
    use crate::{Bundle, pack};
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn handler(module: &str, function: &str) -> Handler {
        Handler {
            module: module.into(),
            function: function.into(),
        }
    }

    fn in_zip(text: &str, names: &[&str]) -> Option<Handler> {
        let files: BTreeMap<_, _> = names.iter().map(|name| (name.to_string(), Vec::new())).collect();
        let zip = pack(&files).unwrap();
        Handler::of_bundle(text, "x", &Bundle::open(&zip).unwrap())
    }

    #[test]
    fn the_handler_of_a_file_names_module_and_function() {
        assert_eq!(Handler::of_file("", "say-hello"), handler("say_hello", ""));
        assert_eq!(Handler::of_file("main", "x"), handler("x", "main"));
        assert_eq!(Handler::of_file("a.b.go", "x"), handler("a.b", "go"));
    }

    #[test]
    fn the_module_of_a_zip_is_guessed_if_there_is_one_choice() {
        assert_eq!(
            in_zip("pkg.go", &["pkg.py", "main.py"]),
            Some(handler("pkg", "go"))
        );
        assert_eq!(in_zip("", &["main.py", "handler.py"]), Some(handler("main", "")));
        assert_eq!(in_zip("go", &["x.py", "y.py"]), Some(handler("x", "go")));
        assert_eq!(
            in_zip("", &["only.py", "pkg/__init__.py"]),
            Some(handler("only", ""))
        );
        assert_eq!(in_zip("", &["a.py", "b.py"]), None);
        assert_eq!(in_zip("", &[]), None);
    }
}
