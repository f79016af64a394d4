//! The command `invoke`: a boot image around one function folder, and one invocation.

use std::path::Path;

use interfaces::manifest::Runtime;

use crate::cli::{ImageArguments, InvokeArguments, ListArguments, MachineArguments};
use crate::error::Error;
use crate::function::{self, Function};
use crate::machine::Emulator;
use crate::project::Project;
use crate::run;

/// What the client does unless `CLIENT_ARGS` say otherwise: they come later, and the last one counts.
const CLIENT_ARGUMENTS: &str = "--iterations=1 --warmup=0 --show --format=none";

/// Boots an image with the function in a folder, wherever that is, and invokes it once.
///
/// # Errors
/// The folder is no function's; whatever keeps the system from running; its verdict if that is not success.
pub fn invoke(
    root: &Path,
    qemu: &str,
    arguments: &InvokeArguments,
    machine: &MachineArguments,
) -> Result<(), Error> {
    if arguments.function.as_os_str().is_empty() {
        return Err(Error::Usage(
            "name the folder of a function: make invoke FUNCTION=../hello REQUEST=Ada".into(),
        ));
    }
    let io = |source| Error::Io {
        path: arguments.function.clone(),
        source,
    };
    let folder = arguments.function.canonicalize().map_err(io)?;
    let function = function::read(&folder)?;
    let list = Project::open(root, Emulator::default())?
        .target("invoke")
        .join(format!("{}.list", function.name));
    write(&list, &list_text(&function))?;
    let image = ImageArguments {
        lists: ListArguments {
            modules_list: list.display().to_string(),
            module_search_path: search_path(&folder, &arguments.module_search_path)?,
        },
        entry: function.name.clone(),
        client_args: client_arguments(&function.name, &arguments.request, &arguments.client_args)?,
        checked: false,
    };
    run::run(root, qemu, &image, machine)
}

/// A description of an image with the function and what its runtime needs.
fn list_text(function: &Function) -> String {
    let name = &function.name;
    let python = match function.manifest.runtime {
        Runtime::Python => "module python-runtime\n",
        Runtime::Native | Runtime::Linux => "",
    };
    format!(
        "entry {name}\nmoe invoke.cfg\nmodule ned\nmodule linux-abi\n{python}module manager\nmodule client-bench\nfunction {name}\n"
    )
}

/// The folder with the function's folder, then the user's.
fn search_path(function: &Path, further: &str) -> Result<String, Error> {
    let own = function.parent().unwrap_or(function).to_owned();
    let folders = [own].into_iter().chain(std::env::split_paths(further));
    let joined = std::env::join_paths(folders)
        .map_err(|error| Error::Usage(format!("{}: {error}", function.display())))?;
    Ok(joined.to_string_lossy().into_owned())
}

/// The client's command line.
fn client_arguments(name: &str, request: &str, further: &str) -> Result<String, Error> {
    let payload = match request {
        "" => "--payload=0".to_owned(),
        request => format!("--payload=text:{request}"),
    };
    let payload = shlex::try_quote(&payload)
        .map_err(|_| Error::Usage("REQUEST has a zero byte, which no command line can have".into()))?;
    Ok(
        format!("--function={name} {payload} {CLIENT_ARGUMENTS} {further}")
            .trim_end()
            .to_owned(),
    )
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let error = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(error)?;
    }
    std::fs::write(path, text).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::{client_arguments, list_text, search_path};
    use crate::function;
    use crate::list::{List, Variables};
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn the_image_has_what_the_runtime_needs() {
        let root = TempDir::new().unwrap();
        let folder = root.path().join("greet");
        fs::create_dir(&folder).unwrap();
        for (runtime, has_python) in [("python", true), ("linux", false), ("native", false)] {
            fs::write(folder.join("function.toml"), format!("runtime = \"{runtime}\"\n")).unwrap();
            let list = root.path().join("a.list");
            fs::write(&list, list_text(&function::read(&folder).unwrap())).unwrap();
            let entry = List::read(&list, Variables::new())
                .unwrap()
                .select("greet")
                .unwrap();
            let files: Vec<_> = entry.modules.iter().map(|module| module.file.as_str()).collect();
            assert_eq!(files.contains(&"python-runtime"), has_python, "{runtime}");
            assert!(
                files.contains(&"greet") && files.contains(&"invoke.cfg"),
                "{files:?}"
            );
        }
    }

    #[test]
    fn the_functions_folder_is_found_first() {
        let path = search_path("/a/greet".as_ref(), "/b:/c").unwrap();
        assert_eq!(path, "/a:/b:/c");
        let error = search_path("/a:b/greet".as_ref(), "").unwrap_err();
        assert!(error.to_string().contains("/a:b/greet"), "{error}");
    }

    #[test]
    fn requests_are_quoted_and_further_arguments_come_last() {
        let words =
            |request: &str| shlex::split(&client_arguments("f", request, "--mode=warm").unwrap()).unwrap();
        assert_eq!(words("a \"b\" $c'd")[1], "--payload=text:a \"b\" $c'd");
        assert_eq!(words("")[1], "--payload=0");
        assert_eq!(words("x").last().map(String::as_str), Some("--mode=warm"));
        assert!(client_arguments("f", "\0", "").is_err());
    }
}
