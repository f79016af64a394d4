//! Points in time as text.

use core::fmt;

const SECONDS_PER_DAY: u64 = 86_400;

/// Nanoseconds since 1970-01-01T00:00:00Z, shown as ISO 8601 with microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let (year, month, day) = date(seconds / SECONDS_PER_DAY);
        let of_day = seconds % SECONDS_PER_DAY;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let micros = self.0 / 1000 % 1_000_000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
///
/// Counted in years that begin in March, so that the leap day is the last one, and in cycles of 400 years.
fn date(days: u64) -> (u64, u64, u64) {
    let since_cycle_start = days + 719_468; // from 0000-03-01
    let (cycle, day_of_cycle) = (since_cycle_start / 146_097, since_cycle_start % 146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_in_time() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_795_230_298, "2026-11-21T03:04:58.000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(Timestamp(seconds * 1_000_000_000).to_string(), text);
        }
        assert_eq!(Timestamp(1_999).to_string(), "1970-01-01T00:00:00.000001Z");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut previous = date(0);
        for days in 1..200_000 {
            let today = date(days);
            let (year, month, day) = previous;
            let possible = [(year, month, day + 1), (year, month + 1, 1), (year + 1, 1, 1)];
            assert!(possible.contains(&today), "{previous:?} is followed by {today:?}");
            assert!((1..=12).contains(&today.1) && (1..=31).contains(&today.2));
            previous = today;
        }
    }
}
