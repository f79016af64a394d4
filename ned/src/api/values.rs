//! What scripts write: texts, and sizes in bytes.

use mlua::Value;

/// A value as a text, if it has one: numbers are written as Lua does.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string_lossy()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A number of bytes: an integer, or a text such as `"64K"`, `"16M"`, `"1G"`.
pub(super) fn size(value: &Value) -> Result<u64, String> {
    let number = match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::Number(bytes) if *bytes >= 0.0 && bytes.fract() == 0.0 && *bytes < 2f64.powi(63) => {
            Some(*bytes as u64)
        }
        Value::String(text) => text.to_str().ok().and_then(|text| parse_size(&text)),
        _ => None,
    };
    number.filter(|bytes| *bytes > 0).ok_or_else(|| {
        String::from("a size is a number of bytes above 0, or a text such as \"64K\", \"16M\", \"1G\"")
    })
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_two() {
        for (text, bytes) in [("1", 1), ("64K", 65536), ("16 M", 16 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1T", "1.5M", "17179869184G"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(parse_size("17179869183G"), Some(u64::MAX - (1 << 30) + 1));
    }

    #[test]
    fn numbers_must_be_positive_and_whole() {
        assert_eq!(size(&Value::Integer(4096)), Ok(4096));
        assert_eq!(size(&Value::Number(4096.0)), Ok(4096));
        for value in [
            Value::Integer(-1),
            Value::Integer(0),
            Value::Number(0.5),
            Value::Nil,
        ] {
            assert!(size(&value).is_err(), "{value:?}");
        }
    }
}
