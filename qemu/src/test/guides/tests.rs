use super::{Guide, Step, guides, is_like, judge, script, slug, without_colours};
use std::path::Path;

const FUNCTIONS: &str = include_str!("../../../../docs/writing-functions.md");
const CLIENTS: &str = include_str!("../../../../docs/writing-clients.md");

const DOCUMENT: &str = "# About\n\n## Rust, C++\n\n1. Do.\n\n   ```sh\n   mkdir a && cd a\n   ```\n\n   `a/b.c`\n\n   ```c\n\
   \x20  int a(void)\n   {\n       return 1;\n   }\n   ```\n\n10. Look.\n\n    ```sh\n    cat b.c\n    ```\n\n    ```text\n\
   \x20   took … us\n    ```\n\n## No guide\n\n`x`\n\ntext\n\n```rust\nfn main() {}\n```\n";

fn sample() -> Guide {
    let mut guides = guides(DOCUMENT);
    assert_eq!(guides.len(), 1);
    guides.remove(0)
}

#[test]
fn steps_come_in_order_and_without_indentation() {
    let guide = sample();
    assert_eq!((guide.name.as_str(), guide.numbered), ("rust-cpp", 2));
    let file = Step::File {
        name: "a/b.c".into(),
        content: "int a(void)\n{\n    return 1;\n}\n".into(),
    };
    assert_eq!(
        guide.steps,
        [
            Step::Commands("mkdir a && cd a\n".into()),
            file,
            Step::Commands("cat b.c\n".into()),
            Step::Shows(vec!["took … us".into()]),
        ]
    );
}

#[test]
fn scripts_write_the_files_between_the_commands() {
    let script = script(&sample(), Path::new("/aerie"), Path::new("/cache"));
    let place = |text: &str| script.find(text).unwrap();
    assert!(place("mkdir a") < place("return 1;") && place("return 1;") < place("cat b.c"));
    assert!(!script.contains("took"));
}

#[test]
fn what_is_shown_is_compared() {
    let guide = sample();
    assert_eq!(judge(&guide, "x\n\x1b[32mtook\x1b[0m 12.5 us \r\n").passed, 1);
    assert_eq!(judge(&guide, "it took 12.5 us\n").failures.len(), 1);
    let silent = Guide {
        steps: vec![Step::Commands("true\n".into())],
        ..guide
    };
    assert_eq!(judge(&silent, "").failures.len(), 1);
    assert!(is_like("a (…)", "a (b)") && !is_like("a (…)", "a [b]"));
    assert_eq!(without_colours("\x1b[1mbold\x1b[0m text"), "bold text");
    assert_eq!(slug("C, as it is"), "c-as-it-is");
}

#[test]
fn each_language_has_five_steps_that_show_something() {
    let all = guides(FUNCTIONS);
    let names: Vec<&str> = all.iter().map(|guide| guide.name.as_str()).collect();
    let languages = [
        "python",
        "rust-native",
        "rust-with-the-standard-library",
        "c-as-it-is",
        "c-with-worker-lib",
        "cpp",
        "go",
        "a-boot-image-of-your-own",
    ];
    assert_eq!(names, languages);
    for guide in &all {
        assert_eq!(guide.numbered, 5, "{}", guide.name);
        assert!(guide.steps.iter().any(|step| matches!(step, Step::Shows(_))));
    }
    assert_eq!(guides(CLIENTS).len(), 1);
}
