//! Dates in header lines.

use crate::time::UnixMillis;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads the one form of date that may still be sent (RFC 9110 section 5.6.7), such as
/// `Sun, 06 Nov 1994 08:49:37 GMT`. The day of the week is not looked at.
#[must_use]
pub fn parse(text: &str) -> Option<UnixMillis> {
    let (_, date) = text.trim().split_once(", ")?;
    let words: Vec<&str> = date.split(' ').collect();
    let [day, month, year, time, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let days = days_since_1970(number(year, 4, 9_999)?, i64::try_from(month).ok()? + 1, number(day, 2, 31)?);
    let parts: Vec<&str> = time.split(':').collect();
    let [hours, minutes, seconds] = parts[..] else { return None };
    // A leap second is 60.
    let of_day = number(hours, 2, 23)? * 3_600 + number(minutes, 2, 59)? * 60 + number(seconds, 2, 60)?;
    Some(UnixMillis((days * 86_400 + of_day) * 1_000))
}

/// A number of this many digits, up to `max`.
fn number(text: &str, digits: usize, max: i64) -> Option<i64> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| fits && *number <= max)
}

/// The days from 1970-01-01 to a date of the Gregorian calendar; `month` counts from 1. Years are counted from March,
/// so that the day that may be missing is the last one.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_date_is_the_moment_it_names() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            (" Fri, 26 Feb 2027 12:00:00 GMT ", 1_803_643_200),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ] {
            assert_eq!(parse(text), Some(UnixMillis(seconds * 1_000)), "{text}");
        }
    }

    #[test]
    fn what_is_not_such_a_date_is_none() {
        for text in [
            "",
            "120",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nob 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:+7 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut days = days_since_1970(1899, 12, 31);
        for year in 1900..2201 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for day in 1..=length {
                    days += 1;
                    assert_eq!(days_since_1970(year, month, day), days, "{year}-{month}-{day}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in ".{0,40}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
            prop_assert!(parse(&text).is_none_or(|date| date.0.abs() < 300_000_000_000_000));
        }
    }
}
