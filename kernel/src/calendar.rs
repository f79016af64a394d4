//! The real-time clock's registers as a point in time.

/// The clock's registers as they are read (MC146818: 0 second, 2 minute, 4 hour, 7 day, 8 month, 9 year,
/// 0x32 or what the FADT says century, 0x0b status B).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the clock's registers")]
pub struct ClockRegisters {
    pub second: u8,
    pub minute: u8,
    pub hour: u8,
    pub day: u8,
    pub month: u8,
    pub year: u8,
    /// `None` if the machine has no century register.
    pub century: Option<u8>,
    pub status_b: u8,
}

const STATUS_B_24_HOURS: u8 = 1 << 1;
const STATUS_B_BINARY: u8 = 1 << 2;
const HOUR_PM: u8 = 1 << 7;

impl ClockRegisters {
    /// Seconds since 1970-01-01 00:00:00 UTC, taking the clock to run in UTC; `None` if the registers hold no
    /// date, as where there is no clock.
    #[must_use]
    pub fn unix_seconds(&self) -> Option<u64> {
        let number = |value: u8| self.number(value);
        let (second, minute) = (number(self.second)?, number(self.minute)?);
        let (day, month) = (number(self.day)?, number(self.month)?);
        let hour = self.hour()?;
        let valid =
            second < 60 && minute < 60 && hour < 24 && (1..=31).contains(&day) && (1..=12).contains(&month);
        if !valid {
            return None;
        }
        let century = self
            .century
            .and_then(number)
            .filter(|century| (19..=25).contains(century))
            .unwrap_or(20);
        let year = century * 100 + number(self.year).filter(|&year| year < 100)?;
        let days = days_since_1970(year, month, day)?;
        Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
    }

    fn hour(&self) -> Option<u64> {
        if self.status_b & STATUS_B_24_HOURS != 0 {
            return self.number(self.hour);
        }
        let twelve = self
            .number(self.hour & !HOUR_PM)
            .filter(|hour| (1..=12).contains(hour))?;
        Some(twelve % 12 + if self.hour & HOUR_PM != 0 { 12 } else { 0 })
    }

    fn number(&self, value: u8) -> Option<u64> {
        if self.status_b & STATUS_B_BINARY != 0 {
            return Some(u64::from(value));
        }
        let (tens, ones) = (value >> 4, value & 15);
        (tens < 10 && ones < 10).then_some(u64::from(tens * 10 + ones))
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None` before it.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years begin in March here, so that the leap day is the last day of a year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    // The same sum for 1970-01-01.
    days.checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCD: ClockRegisters = ClockRegisters {
        second: 0x56,
        minute: 0x34,
        hour: 0x12,
        day: 0x21,
        month: 0x11,
        year: 0x26,
        century: Some(0x20),
        status_b: STATUS_B_24_HOURS,
    };

    #[test]
    fn bcd_registers_give_the_time() {
        assert_eq!(BCD.unix_seconds(), Some(1_795_264_496));
        assert_eq!(
            ClockRegisters { century: None, ..BCD }.unix_seconds(),
            BCD.unix_seconds()
        );
    }

    #[test]
    fn binary_registers_give_the_same_time() {
        let binary = ClockRegisters {
            second: 56,
            minute: 34,
            hour: 12,
            day: 21,
            month: 11,
            year: 26,
            century: Some(20),
            status_b: STATUS_B_24_HOURS | STATUS_B_BINARY,
        };
        assert_eq!(binary.unix_seconds(), BCD.unix_seconds());
    }

    #[test]
    fn twelve_hour_clocks_know_noon_and_midnight() {
        let at = |hour| {
            ClockRegisters {
                hour,
                status_b: 0,
                ..BCD
            }
            .unix_seconds()
        };
        assert_eq!(at(0x12 | HOUR_PM), BCD.unix_seconds());
        assert_eq!(at(0x12), BCD.unix_seconds().map(|s| s - 12 * 3_600));
        assert_eq!(at(0x01 | HOUR_PM), BCD.unix_seconds().map(|s| s + 3_600));
    }

    #[test]
    fn the_calendar_knows_leap_years() {
        assert_eq!(days_since_1970(1970, 1, 1), Some(0));
        assert_eq!(days_since_1970(2000, 2, 29), Some(11_016));
        assert_eq!(days_since_1970(2000, 3, 1), Some(11_017));
        assert_eq!(
            days_since_1970(2100, 3, 1),
            days_since_1970(2100, 2, 28).map(|d| d + 1)
        );
        assert_eq!(days_since_1970(1969, 12, 31), None);
    }

    #[test]
    fn a_missing_clock_has_no_time() {
        let floating = ClockRegisters {
            second: 0xff,
            minute: 0xff,
            hour: 0xff,
            day: 0xff,
            month: 0xff,
            year: 0xff,
            century: Some(0xff),
            status_b: 0xff,
        };
        assert_eq!(floating.unix_seconds(), None);
        assert_eq!(ClockRegisters::default().unix_seconds(), None);
    }
}
