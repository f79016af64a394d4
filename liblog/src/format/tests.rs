use super::*;
use crate::MESSAGE_LIMIT;
use log::Level;
use proptest::prelude::*;

const ORIGIN: Origin<'_> = Origin {
    package: "manager",
    time: Timestamp(1_795_230_298_000_001_000),
    thread: 7,
};

fn formatted(format: Format, message: fmt::Arguments<'_>) -> String {
    let record = Record::builder()
        .level(Level::Info)
        .target("manager::pool")
        .file(Some("src/pool.rs"))
        .line(Some(31))
        .args(message)
        .build();
    let mut buffer = Buffer::new();
    write_message(format, &ORIGIN, &record, &mut buffer);
    String::from_utf8(buffer.bytes().to_vec()).unwrap()
}

#[test]
fn plain_and_verbose_show_what_they_say() {
    assert_eq!(
        formatted(Format::Plain, format_args!("ready: {}", 1)),
        "INFO  manager: ready: 1\n"
    );
    assert_eq!(
        formatted(Format::Verbose, format_args!("ready")),
        "2026-11-21T03:04:58.000001Z INFO  manager[7] src/pool.rs:31 manager::pool: ready\n"
    );
}

#[test]
fn text_from_outside_cannot_forge_a_message() {
    let forged = formatted(Format::Plain, format_args!("x\nERROR manager: gone\r\u{1b}[31m"));
    assert_eq!(
        forged,
        "INFO  manager: x\n    ERROR manager: gone\\u{000d}\\u{001b}[31m\n"
    );
}

#[test]
fn json_has_all_fields() {
    let line = formatted(Format::Json, format_args!("a \"b\"\n\u{1}é"));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    let expected = serde_json::json!({
        "time": "2026-11-21T03:04:58.000001Z", "level": "INFO", "thread": 7, "line": 31, "package": "manager",
        "file": "src/pool.rs", "target": "manager::pool", "message": "a \"b\"\n\u{1}é"
    });
    assert_eq!(value, expected);
}

#[test]
fn a_value_that_cannot_be_shown_is_reported() {
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    assert_eq!(
        formatted(Format::Plain, format_args!("a{Broken}")),
        "INFO  manager: a [formatting failed]\n"
    );
    let value: serde_json::Value =
        serde_json::from_str(&formatted(Format::Json, format_args!("{Broken}"))).unwrap();
    assert_eq!(value["formatting_failed"], true);
}

#[test]
fn long_messages_are_cut_and_marked() {
    let long = "é".repeat(MESSAGE_LIMIT);
    let plain = formatted(Format::Plain, format_args!("{long}"));
    assert!(plain.ends_with("é… [cut]\n") && plain.len() <= MESSAGE_LIMIT);
}

#[test]
fn formats_have_names() {
    let parsed: Vec<_> = ["plain", "verbose", "json", "xml"]
        .iter()
        .map(|name| name.parse::<Format>())
        .collect();
    assert_eq!(
        parsed,
        [
            Ok(Format::Plain),
            Ok(Format::Verbose),
            Ok(Format::Json),
            Err(UnknownFormat)
        ]
    );
}

proptest! {
    // Long texts of any character are slow to generate.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn json_is_always_valid(message in "(.|\n|[\u{0}-\u{9f}]|\"|\\\\){0,1200}") {
        let line = formatted(Format::Json, format_args!("{message}"));
        prop_assert!(line.len() <= MESSAGE_LIMIT && line.ends_with('\n') && line.matches('\n').count() == 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let shown = value["message"].as_str().unwrap();
        if value["truncated"] == true {
            prop_assert!(message.starts_with(shown));
        } else {
            prop_assert_eq!(shown, &message);
        }
    }

    #[test]
    fn text_is_one_message_whatever_it_holds(message in "(.|\n|[\u{0}-\u{9f}]){0,1200}") {
        let text = formatted(Format::Plain, format_args!("{message}"));
        prop_assert!(text.len() <= MESSAGE_LIMIT && text.ends_with('\n'));
        prop_assert!(text.trim_end_matches('\n').split('\n').skip(1).all(|line| line.starts_with("    ")));
        prop_assert!(text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
    }
}
