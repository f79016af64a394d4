//! A function's code, and which function in it serves requests.

use std::borrow::Cow;

use l4re::memory::SealedView;
use python_bundle::{Bundle, BundleError, is_zip};
use worker::Error;

/// Code as it was given, and what was said about it.
pub(crate) struct Given {
    /// Name of the function, from which a single file's module gets its name.
    pub(crate) name: String,
    /// `module.function`, `function` or nothing.
    pub(crate) handler: String,
    /// The source text or zip. It stays for as long as the program.
    pub(crate) code: &'static [u8],
}

/// Module and function of a handler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handler {
    pub(crate) module: String,
    /// Empty if it is to be looked for.
    pub(crate) function: String,
}

/// What the manager gave: arguments with name, length and handler, and a capability for the code.
///
/// # Errors
/// A manager of another version gives something else.
pub(crate) fn given() -> Result<Given, Error> {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    let length = arguments.next().and_then(|text| text.parse::<usize>().ok());
    let handler = arguments.next().unwrap_or_default();
    let cap = l4re::env::cap(worker::CODE_NAME);
    let (Some(length), Some(cap)) = (length, cap) else {
        return Err(Error::new("the manager gave no code; build the boot image again"));
    };
    let view = SealedView::attach(l4::object::Dataspace(cap))
        .map_err(|error| Error::new(format_args!("the code cannot be attached: {error}")))?;
    let view: &'static SealedView = Box::leak(Box::new(view));
    let code = view
        .bytes()
        .get(..length)
        .ok_or_else(|| Error::new("the code is shorter than the manager says"))?;
    Ok(Given { name, handler, code })
}

impl Given {
    /// The code's files, and the handler in them.
    ///
    /// # Errors
    /// A zip that is refused, or code in which no module can be chosen.
    pub(crate) fn open(&self) -> Result<(Bundle<'static>, Handler), OpenError> {
        let (named, function) = self.handler.rsplit_once('.').unwrap_or(("", &self.handler));
        let function = function.to_owned();
        if !is_zip(self.code) {
            let module = if named.is_empty() {
                identifier(&self.name)
            } else {
                named.into()
            };
            let bundle = Bundle::of_file(format!("{}.py", module.replace('.', "/")), self.code);
            return Ok((bundle, Handler { module, function }));
        }
        let bundle = Bundle::open(self.code).map_err(OpenError::Bundle)?;
        let module = if named.is_empty() {
            main_module(&bundle, &identifier(&self.name)).ok_or(OpenError::NoModule)?
        } else {
            named.into()
        };
        Ok((bundle, Handler { module, function }))
    }
}

/// Why code cannot be loaded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// The zip is refused.
    Bundle(BundleError),
    /// Nothing says which module has the handler.
    NoModule,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bundle(error) => write!(f, "{error}"),
            Self::NoModule => f.write_str(
                "which module has the handler? Call it main.py or handler.py, or say handler = \"module.function\"",
            ),
        }
    }
}

/// The module that has the handler unless somebody says otherwise: `main`, `handler`, the one called as the function, or
/// the only one.
fn main_module(bundle: &Bundle<'_>, function: &str) -> Option<String> {
    let names = ["main", "handler", function];
    if let Some(name) = names.iter().find(|name| bundle.has_file(&format!("{name}.py"))) {
        return Some((*name).into());
    }
    let mut modules = bundle.names().filter_map(|name| name.strip_suffix(".py"));
    let mut top = modules.by_ref().filter(|name| !name.contains('/'));
    match (top.next(), top.next()) {
        (Some(only), None) => Some(only.into()),
        _ => None,
    }
}

/// A function's name as the name of a module.
fn identifier(name: &str) -> String {
    let letter = |c: char| {
        if c.is_alphanumeric() {
            Cow::Owned(c.to_string())
        } else {
            Cow::Borrowed("_")
        }
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::{Given, Handler, OpenError};
    use std::collections::BTreeMap;

    fn open(name: &str, handler: &str, code: Vec<u8>) -> Result<Handler, OpenError> {
        let given = Given {
            name: name.into(),
            handler: handler.into(),
            code: code.leak(),
        };
        given.open().map(|(_, handler)| handler)
    }

    fn zip(names: &[&str]) -> Vec<u8> {
        let files: BTreeMap<_, _> = names
            .iter()
            .map(|name| ((*name).to_owned(), Vec::new()))
            .collect();
        python_bundle::pack(&files).unwrap()
    }

    fn handler(module: &str, function: &str) -> Result<Handler, OpenError> {
        Ok(Handler {
            module: module.into(),
            function: function.into(),
        })
    }

    #[test]
    fn the_handler_names_module_and_function() {
        assert_eq!(open("say-hello", "", Vec::new()), handler("say_hello", ""));
        assert_eq!(open("x", "main", Vec::new()), handler("x", "main"));
        assert_eq!(open("x", "a.b.go", Vec::new()), handler("a.b", "go"));
        assert_eq!(
            open("x", "pkg.go", zip(&["pkg.py", "main.py"])),
            handler("pkg", "go")
        );
    }

    #[test]
    fn the_module_of_a_zip_is_guessed_if_there_is_one_choice() {
        assert_eq!(
            open("x", "", zip(&["main.py", "handler.py"])),
            handler("main", "")
        );
        assert_eq!(open("x", "go", zip(&["x.py", "y.py"])), handler("x", "go"));
        assert_eq!(
            open("x", "", zip(&["only.py", "pkg/__init__.py"])),
            handler("only", "")
        );
        assert_eq!(open("x", "", zip(&["a.py", "b.py"])), Err(OpenError::NoModule));
        assert_eq!(open("x", "", zip(&[])), Err(OpenError::NoModule));
    }
}
