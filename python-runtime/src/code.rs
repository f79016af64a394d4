//! A function's code, and which function in it serves requests.

use l4re::memory::SealedView;
use python_bundle::{Bundle, Handler, is_zip};

use crate::failure::Failure;

/// Code as it was given, and what was said about it.
pub(crate) struct Given {
    /// Name of the function, from which a single file's module gets its name.
    pub(crate) name: String,
    /// `module.function`, `function` or nothing.
    pub(crate) handler: String,
    /// The source text or zip. It stays for as long as the program.
    pub(crate) code: &'static [u8],
}

/// What the manager gave: arguments with name, length and handler, and a capability for the code.
///
/// # Errors
/// A manager of another version gives something else.
pub(crate) fn given() -> Result<Given, Failure> {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    let length = arguments.next().and_then(|text| text.parse::<usize>().ok());
    let handler = arguments.next().unwrap_or_default();
    let cap = l4re::env::cap(worker::CODE_NAME);
    let (Some(length), Some(cap)) = (length, cap) else {
        return Err(Failure::told(
            "the manager gave no code; build the boot image again",
        ));
    };
    let view = SealedView::attach(l4::object::Dataspace(cap))
        .map_err(|error| Failure::told(format_args!("the code cannot be attached: {error}")))?;
    let view: &'static SealedView = Box::leak(Box::new(view));
    let code = view
        .bytes()
        .get(..length)
        .ok_or_else(|| Failure::told("the code is shorter than the manager says"))?;
    Ok(Given { name, handler, code })
}

impl Given {
    /// The code's files, and the handler in them.
    ///
    /// # Errors
    /// A zip that is refused, or code in which no module can be chosen.
    pub(crate) fn open(&self) -> Result<(Bundle<'static>, Handler), Failure> {
        if !is_zip(self.code) {
            let handler = Handler::of_file(&self.handler, &self.name);
            let file = format!("{}.py", handler.module.replace('.', "/"));
            return Ok((Bundle::of_file(file, self.code), handler));
        }
        let bundle = Bundle::open(self.code).map_err(Failure::told)?;
        let handler = Handler::of_bundle(&self.handler, &self.name, &bundle).ok_or_else(|| {
            Failure::told(
                "which module has the handler? Call it main.py or handler.py, or say handler = \"module.function\"",
            )
        })?;
        Ok((bundle, handler))
    }
}
