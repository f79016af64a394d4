use super::{Entry, List, ListError, ModuleKind, Problem, Variables};
use proptest::prelude::{ProptestConfig, proptest};
use std::fs;
use tempfile::TempDir;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn variables() -> Variables {
    [
        ("ARCH".to_owned(), "amd64".to_owned()),
        ("EXTRA".to_owned(), "more".to_owned()),
    ]
    .into()
}

fn select(text: &str, entry: &str) -> Result<Entry, ListError> {
    let folder = folder(&[("modules.list", text), ("a.lua", ""), ("b.lua", "")]);
    List::read(&folder.path().join("modules.list"), variables())?.select(entry)
}

fn problem(text: &str) -> (usize, Problem) {
    match select(text, "") {
        Err(ListError::Line { at, problem }) => (at.line, problem),
        other => panic!("no line is refused: {other:?}"),
    }
}

fn files(entry: &Entry) -> Vec<&str> {
    entry.modules.iter().map(|module| module.file.as_str()).collect()
}

#[test]
fn an_entry_collects_its_lines() {
    let text = "# comment\nsearchpath lib\nentry hello # the first\nkernel kernel -quiet\nmoe hello.cfg --x\n\
                module ned\nBIN[fname=greet] hello one two\ndata big.bin\nfunction[snapshot] hello noop\n\nentry other\nmodule x\n";
    let entry = select(text, "HELLO").unwrap();
    assert_eq!(entry.name, "hello");
    assert_eq!(entry.kernel.arguments, "-quiet");
    assert_eq!(
        (entry.root_task.file.as_str(), entry.root_task.arguments.as_str()),
        ("moe", "rom/hello.cfg --x")
    );
    assert_eq!(
        files(&entry),
        ["hello.cfg", "ned", "hello", "big.bin", "hello", "noop"]
    );
    assert_eq!(entry.modules[2].rom_name.as_deref(), Some("greet"));
    assert_eq!(entry.modules[2].arguments, "one two");
    assert_eq!(entry.modules[5].kind, ModuleKind::Function);
    assert!(entry.modules[5].has_snapshot && !entry.modules[2].has_snapshot);
    assert!(entry.search_path[0].ends_with("lib"));
    assert_eq!(files(&select(text, "other").unwrap()), ["x"]);
}

#[test]
fn the_first_entry_is_the_default_and_unknown_ones_list_the_known() {
    let text = "entry zeta\nmodule z\nentry alpha\nmodule a\n";
    assert_eq!(select(text, "").unwrap().name, "zeta");
    let message = select(text, "beta").unwrap_err().to_string();
    assert!(
        message.ends_with("there is no entry `beta`; the entries are: alpha, zeta"),
        "{message}"
    );
    assert!(matches!(
        select("module x\n", ""),
        Err(ListError::NoEntries { .. })
    ));
}

#[test]
fn global_defaults_hold_for_each_entry() {
    let text = "default-roottask tests --all\ndefault-kernel k2 -v\nentry a\nentry b\nroottask own\n";
    let entry = select(text, "a").unwrap();
    assert_eq!(
        (entry.root_task.file.as_str(), entry.kernel.file.as_str()),
        ("tests", "k2")
    );
    assert_eq!(select(text, "b").unwrap().root_task.file, "own");
}

#[test]
fn groups_may_stand_anywhere_and_nest() {
    let text = "entry a\nmodule-group one\ngroup one\nmodule x\nmodule-group TWO\ngroup two\nmodule y\n";
    assert_eq!(files(&select(text, "").unwrap()), ["x", "y"]);
}

#[test]
fn other_architectures_are_left_out() {
    let text = "entry a\nmodule[arch=arm64] x\nmodule[arch=arm|amd64,bits=64] y\nmodule[bits=32] z\n";
    assert_eq!(files(&select(text, "").unwrap()), ["y"]);
}

#[test]
fn shell_lines_patterns_and_variables_expand() {
    let text =
        "entry a\nmodule[shell] printf 'm1 %s\\nm2\\n' $EXTRA\ndata[glob] *.lua\nmodule ${EXTRA}/x ${ARCH}\n";
    let entry = select(text, "").unwrap();
    assert_eq!(
        (
            entry.modules[0].file.as_str(),
            entry.modules[0].arguments.as_str()
        ),
        ("m1", "more")
    );
    assert_eq!(entry.modules[1].file, "m2");
    assert!(entry.modules[2].file.ends_with("/a.lua") && entry.modules[3].file.ends_with("/b.lua"));
    assert_eq!(
        (
            entry.modules[4].file.as_str(),
            entry.modules[4].arguments.as_str()
        ),
        ("more/x", "amd64")
    );
}

#[test]
fn included_files_are_read_in_place() {
    let folder = folder(&[
        (
            "modules.list",
            "entry a\nmodule x\ninclude parts*.inc\nmodule z\n",
        ),
        ("parts1.inc", "module y1\n"),
        ("parts2.inc", "module y2\nbroken\n"),
    ]);
    let path = folder.path().join("modules.list");
    let message = List::read(&path, variables()).unwrap_err().to_string();
    assert!(
        message.ends_with("parts2.inc:2: unknown keyword `broken`"),
        "{message}"
    );
    fs::write(folder.path().join("parts2.inc"), "module y2\n").unwrap();
    let entry = List::read(&path, variables()).unwrap().select("a").unwrap();
    assert_eq!(files(&entry), ["x", "y1", "y2", "z"]);
}

#[test]
fn a_file_that_includes_itself_is_refused() {
    assert!(matches!(
        problem("include modules.list\nentry a\n"),
        (1, Problem::IncludeDepth(_))
    ));
}

#[test]
fn wrong_lines_are_named() {
    assert!(matches!(problem("entry a\n\nfrob x\n"), (3, Problem::UnknownKeyword(word)) if word == "frob"));
    assert!(matches!(
        problem("entry a\nsigma0 s\n"),
        (2, Problem::Foreign { .. })
    ));
    assert!(matches!(
        problem("entry a\nmodule[shell x\n"),
        (2, Problem::OpenOptions)
    ));
    assert!(matches!(
        problem("entry a\nmodule[perl] x\n"),
        (2, Problem::UnknownOption(_))
    ));
    assert!(matches!(
        problem("entry a\nmodule[snapshot] x\n"),
        (2, Problem::SnapshotOfNoFunction(keyword)) if keyword == "module"
    ));
    for option in ["fname", "compiler", "package=", "pie=yes", "snapshot=1"] {
        assert!(matches!(
            problem(&format!("entry a\nmodule[{option}] x\n")),
            (2, Problem::MalformedOption(found)) if found == option
        ));
    }
    assert!(matches!(problem("entry a\nmodule\n"), (2, Problem::NoOperand(_))));
    assert!(
        matches!(problem("entry a\nmodule ${NOPE}/x\n"), (2, Problem::UnknownVariable(name)) if name == "NOPE")
    );
    assert!(matches!(
        problem("entry a\nmodule ${NOPE\n"),
        (2, Problem::UnknownVariable(_))
    ));
    assert!(matches!(
        problem("entry a\ndata[glob] *.nope\n"),
        (2, Problem::NoMatch(_))
    ));
    assert!(matches!(
        problem("entry a\nmodule[shell] exit 3\n"),
        (2, Problem::Shell { .. })
    ));
    assert!(matches!(
        problem("entry a\nmodule[fname=n,glob] *.lua\n"),
        (2, Problem::NameForMany(2))
    ));
    assert!(matches!(
        problem("entry a\nentry A\n"),
        (2, Problem::DuplicateSection { .. })
    ));
    assert!(matches!(
        problem("entry a\nmodule-group g\n"),
        (2, Problem::UnknownGroup { .. })
    ));
    assert!(matches!(
        problem("entry a\ndefault-kernel k\n"),
        (2, Problem::OnlyGlobal(_))
    ));
    assert!(matches!(
        problem("entry a\nmodule-group g\ngroup g\nmodule-group g\n"),
        (4, Problem::CircularGroup(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_reader_panic(lines in "((entry|module|group|bin)[\\[\\],=a-r $\\{\\}]{0,12}\n){0,12}") {
        let _ = select(&lines, "");
    }
}
