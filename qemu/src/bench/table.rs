//! The table of the results for terminals, and numbers as people read them.

use std::fmt::Write as _;

use super::figures::{Goal, Row};

/// The table. The ratio says how many times as much Linux needs.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<30}{:<14}{:>12}{:>12}{:>13}  {:<27}{}\n",
        "name", "unit", "Aerie", "Linux", "Linux/Aerie", "Linux operation", "goal"
    );
    for row in rows {
        let (peer_value, ratio) = match row.peer_value {
            Some(peer) => (number(peer), format!("{:.1}", peer / row.value)),
            None => ("–".to_owned(), "–".to_owned()),
        };
        let line = format!(
            "{:<30}{:<14}{:>12}{:>12}{:>13}  {:<27}{}",
            row.name,
            row.unit,
            number(row.value),
            peer_value,
            ratio,
            row.peer.unwrap_or("–"),
            goal(row),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn goal(row: &Row) -> String {
    let goal = row.goal.map(|goal| {
        let missed = if row.misses() { " MISSED" } else { "" };
        format!("{}{missed}", bound(goal))
    });
    let aim = row.aim.map(|aim| {
        let state = if row.is_on_the_way() { "not yet" } else { "reached" };
        format!("{state} {}", bound(aim))
    });
    [goal, aim].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A goal with its sign.
pub(super) fn bound(goal: Goal) -> String {
    match goal {
        Goal::AtMost(limit) => format!("≤ {}", number(limit)),
        Goal::AtLeast(limit) => format!("≥ {}", number(limit)),
    }
}

/// A number with separators between thousands, with two decimals if it is small.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, value: f64, goal: Goal) -> Row {
        Row {
            name: name.into(),
            unit: "instructions",
            value,
            peer: Some("getppid"),
            peer_value: Some(323.0),
            what: "",
            goal: Some(goal),
            aim: None,
            peers: Vec::new(),
        }
    }

    #[test]
    fn missed_goals_stand_out() {
        let rows = [
            row("a", 90.0, Goal::AtMost(100.0)),
            row("b", 1.5, Goal::AtLeast(1.75)),
        ];
        let table = table(&rows);
        assert!(
            table.contains("≥ 1.75 MISSED") && table.contains("3.6"),
            "{table}"
        );
        assert_eq!(table.matches("MISSED").count(), 1);
    }

    #[test]
    fn what_is_to_be_reached_yet_is_no_miss() {
        let row = |aim| Row {
            aim: Some(Goal::AtMost(aim)),
            ..row("a", 90.0, Goal::AtMost(100.0))
        };
        assert_eq!(goal(&row(80.0)), "≤ 100, not yet ≤ 80");
        assert_eq!(goal(&row(95.0)), "≤ 100, reached ≤ 95");
        let open = Row {
            goal: None,
            ..row(80.0)
        };
        assert_eq!(goal(&open), "not yet ≤ 80");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(0.5), "0.50");
        assert_eq!(number(84.0), "84");
        assert_eq!(number(999.0), "999");
        assert_eq!(number(-1234.0), "−1,234");
    }
}
