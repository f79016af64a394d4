//! A function's code, and which function in it serves requests.

use std::ffi::OsString;

use l4::CapIndex;
use l4::object::Dataspace;
use l4re::memory::SealedView;
use python_bundle::{Bundle, Handler, is_zip};
use worker::{FunctionInfo, InvokeError, Program};

use crate::failure::Failure;
use crate::{WARM_UP, native};

/// Code as it was given, and what was said about it.
pub(crate) struct Given {
    /// Name of the function, from which a single file's module gets its name.
    pub(crate) name: String,
    /// `module.function`, `function` or nothing.
    pub(crate) handler: String,
    /// The source text or zip. It stays for as long as the program.
    pub(crate) code: &'static [u8],
    /// Names and values of its variables.
    pub(crate) variables: Vec<(String, String)>,
}

/// The variables that this program was started with.
pub(crate) fn variables() -> Vec<(String, String)> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// A manager of another version, or one that is gone.
fn no_answer(what: &str, error: &InvokeError) -> Failure {
    Failure::told(format_args!("the manager does not give {what}: {error}"))
}

impl Given {
    /// What a worker runs: what its program was started with, or, if that was before there was a function, what the manager answers.
    ///
    /// # Errors
    /// A manager of another version gives something else.
    pub(crate) fn to(program: &Program) -> Result<Given, Failure> {
        let info = || {
            let info = program.function();
            info.map_err(|error| no_answer("the function's name", &error))
        };
        let (given, info) = match l4re::env::cap(worker::CODE_NAME) {
            Some(cap) => (Self::at_start(cap)?, info()?),
            None => {
                // Waits until there is a function. What was done before is used for this one only.
                let code = program.code().map_err(|error| no_answer("the code", &error))?;
                let info = info()?;
                (Self::later(code, &info)?, info)
            }
        };
        native::adopt_function(info);
        Ok(given)
    }

    /// Arguments with name, length and handler, a capability for the code, and the program's variables.
    fn at_start(cap: CapIndex) -> Result<Given, Failure> {
        let mut arguments = std::env::args();
        let name = arguments.next().unwrap_or_default();
        let length = arguments.next().and_then(|text| text.parse::<usize>().ok());
        let handler = arguments.next().unwrap_or_default();
        let length =
            length.ok_or_else(|| Failure::told("the manager gave no code; build the boot image again"))?;
        let view = SealedView::attach(Dataspace(cap))
            .map_err(|error| Failure::told(format_args!("the code cannot be attached: {error}")))?;
        let view: &'static SealedView = Box::leak(Box::new(view));
        let code = view
            .bytes()
            .get(..length)
            .ok_or_else(|| Failure::told("the code is shorter than the manager says"))?;
        Ok(Given {
            name,
            handler,
            code,
            variables: variables(),
        })
    }

    /// The code of a function, with what the manager says of that.
    fn later(code: &'static [u8], info: &FunctionInfo) -> Result<Given, Failure> {
        let environment = worker::environment().map_err(|error| no_answer("the environment", &error))?;
        let variables = environment.iter();
        Ok(Given {
            name: info.name.clone(),
            handler: info.handler.clone(),
            code,
            variables: variables
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        })
    }

    /// The function's warm-up event, if it has one.
    pub(crate) fn warm_up(&self) -> Option<&[u8]> {
        let mut variables = self.variables.iter();
        variables.find_map(|(name, value)| (name == WARM_UP).then_some(value.as_bytes()))
    }

    /// The variables that the function's code is to find: its warm-up event, which comes as one, is none.
    pub(crate) fn environment(&self) -> impl Iterator<Item = &(String, String)> {
        self.variables.iter().filter(|(name, _)| name != WARM_UP)
    }

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
