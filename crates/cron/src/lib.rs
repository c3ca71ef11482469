//! Cron expressions in the platform's dialect: five fields, in UTC; days of the week from 1 (Sunday) to 7 (Saturday) or
//! by their names; `L`, `W` and `#`.
#![forbid(unsafe_code)]

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 256;

/// The text is not a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("it is longer than {EXPRESSION_BYTES_MAX} bytes")]
    TooLong,
    #[error("it has {fields} fields, and must have five: minute, hour, day of the month, month, day of the week")]
    Fields { fields: usize },
    #[error("it has characters that no field takes")]
    Characters,
    #[error("a list has an item that is empty")]
    EmptyItem,
    #[error("{problem}")]
    Field { problem: String },
    #[error("no day is ever such a day")]
    Never,
}

/// A cron expression, checked.
#[derive(Debug, Clone)]
pub struct Expression(Cron);

/// Reads an expression.
pub fn parse(text: &str) -> Result<Expression, CronError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(CronError::TooLong);
    }
    let fields = text.split_whitespace().count();
    if fields != 5 {
        return Err(CronError::Fields { fields });
    }
    let known =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'*' | b'/' | b',' | b'-' | b'#' | b'?');
    if !text.bytes().all(known) {
        return Err(CronError::Characters);
    }
    // Taken for a set of nothing, of which no next minute is ever found.
    if text.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
        return Err(CronError::EmptyItem);
    }
    let cron = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .alternative_weekdays(true)
        .build()
        .parse(text)
        .map_err(|error| CronError::Field { problem: error.to_string() })?;
    let expression = Expression(cron);
    // 1970 to where a leap day has been on each day of the week.
    if expression.next_after(Timestamp::UNIX_EPOCH).is_none() {
        return Err(CronError::Never);
    }
    Ok(expression)
}

impl Expression {
    /// The first minute after `after` that it is due at; none if there never is one again.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let next: DateTime = self.0.find_next_occurrence(&civil(after), false).ok()?;
        next.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }

    /// Whether it is due at the minute that `at` is in.
    pub fn is_due(&self, at: Timestamp) -> bool {
        let at = civil(at);
        at.with()
            .second(0)
            .subsec_nanosecond(0)
            .build()
            .is_ok_and(|minute| self.0.is_time_matching(&minute).unwrap_or(false))
    }
}

fn civil(at: Timestamp) -> DateTime {
    at.to_zoned(TimeZone::UTC).datetime()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn days_of_the_week_begin_with_sunday_at_one() {
        // 2026-11-22 is a Sunday.
        for (text, next) in [
            ("0 12 * * 1", "2026-11-22T12:00:00Z"),
            ("0 12 * * SUN", "2026-11-22T12:00:00Z"),
            ("0 12 * * 7", "2026-11-21T12:00:00Z"),
            ("0 12 * * MON-FRI", "2026-11-23T12:00:00Z"),
            ("0 12 * * 2-6", "2026-11-23T12:00:00Z"),
            ("*/5 * * * *", "2026-11-21T00:05:00Z"),
            ("59 23 LW * *", "2026-11-30T23:59:00Z"),
            ("0 0 L * *", "2026-11-30T00:00:00Z"),
            ("0 0 15W * *", "2026-12-15T00:00:00Z"),
            ("0 0 * * 6#2", "2026-12-11T00:00:00Z"),
            ("0 0 * * 6L", "2026-11-27T00:00:00Z"),
            ("0 0 1 JAN *", "2027-01-01T00:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ] {
            let expression = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(expression.next_after(at("2026-11-21T00:00:00Z")), Some(at(next)), "{text}");
            assert!(expression.is_due(at(next)), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_expression_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "@daily",
            "60 * * * *",
            "* 24 * * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "* * * * 0",
            "*/0 * * * *",
            "5-1 * * * *",
            "a b c d e",
            "0 0 30 2 *",
            "; drop * * *",
            ", * * * *",
            "1,,2 * * * *",
            "* * 1, * *",
            "* * * * *\u{0}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse(&"*".repeat(300)).unwrap_err(), CronError::TooLong);
    }
}
