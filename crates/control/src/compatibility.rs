//! Compatibility dates and flags: what is refused of them, as workerd refuses it.
//!
//! A flag that nobody knows is a misspelt one, and would change nothing without a word.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::bounds::COMPATIBILITY_FLAGS_MAX;
use crate::error::ControlError;

/// The flags of workerd 1.20261117, by asking it: a line each, with the name that turns it on, the one that turns it off
/// if there is one, and `!` if it is experimental.
const FLAGS: &str = include_str!("compatibility_flags.txt");

/// A flag by its names.
struct Flag {
    on: &'static str,
    off: Option<&'static str>,
    experimental: bool,
}

/// Every flag there is.
fn known() -> impl Iterator<Item = Flag> {
    FLAGS.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let on = words.next()?;
        let (mut off, mut experimental) = (None, false);
        for word in words {
            match word {
                "!" => experimental = true,
                name => off = Some(name),
            }
        }
        Some(Flag { on, off, experimental })
    })
}

/// Checks a compatibility date, by the platform's clock. A day ahead of it is not in the future: somewhere it is today.
pub(crate) fn check_date(date: &str, now_ms: u64) -> Result<(), ControlError> {
    let invalid = |problem: String| Err(ControlError::invalid("compatibility_date", problem));
    match date.parse::<Date>() {
        Ok(read) if date.len() == 10 && read > tomorrow(now_ms) => {
            invalid(format!("Can't set compatibility date in the future: {date}"))
        }
        Ok(_) if date.len() == 10 => Ok(()),
        _ => invalid("it must be a date such as 2026-01-31".into()),
    }
}

fn tomorrow(now_ms: u64) -> Date {
    let now = i64::try_from(now_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    now.and_then(|now| now.to_zoned(TimeZone::UTC).date().tomorrow().ok()).unwrap_or(Date::MAX)
}

/// Checks compatibility flags: each is known, named once, not contradicted by another, and not an experiment.
pub(crate) fn check_flags(flags: &[String]) -> Result<(), ControlError> {
    let invalid = |problem: String| Err(ControlError::invalid("compatibility_flags", problem));
    if flags.len() > COMPATIBILITY_FLAGS_MAX {
        return invalid(format!("there are {}: at most {COMPATIBILITY_FLAGS_MAX} are allowed", flags.len()));
    }
    for (at, flag) in flags.iter().enumerate() {
        let shown = || flag.chars().take(100).filter(|letter| !letter.is_control()).collect::<String>();
        let Some(Flag { on, off, experimental }) = known().find(|one| one.on == flag || one.off == Some(flag.as_str()))
        else {
            return invalid(format!("No such compatibility flag: {}", shown()));
        };
        if flags.iter().skip(at + 1).any(|other| other == flag) {
            return invalid(format!("Compatibility flag specified multiple times: {flag}"));
        }
        if let Some(off) = off
            && [on, off].iter().all(|name| flags.iter().any(|other| other == name))
        {
            return invalid(format!("The compatibility flags {on} and {off} are mutually contradictory"));
        }
        if experimental && on == flag {
            return invalid(format!(
                "The compatibility flag {on} is experimental and cannot be used in deployed Workers"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-01T23:59:59Z.
    const NOW_MS: u64 = 1_772_409_599_000;

    fn refused(flags: &[&str]) -> String {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        check_flags(&flags).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_date_is_a_day_that_has_come_somewhere() {
        for date in ["2021-11-02", "2026-03-01", "2026-03-02"] {
            assert!(check_date(date, NOW_MS).is_ok(), "{date}");
        }
        let future = check_date("2026-03-03", NOW_MS).unwrap_err();
        assert!(future.to_string().contains("in the future: 2026-03-03"), "{future}");
        assert_eq!(future.code(), 10021);
        for bad in ["", "2026-02-30", "2026-3-1", "2026-01-01T00:00:00", "tomorrow"] {
            assert!(check_date(bad, NOW_MS).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_are_those_of_workerd() {
        assert_eq!(refused(&[]), "");
        assert_eq!(refused(&["nodejs_compat", "global_fetch_strictly_public", "url_original"]), "");
        assert_eq!(refused(&["no_nodejs_compat"]), "");
        assert!(refused(&["nope_flag"]).contains("No such compatibility flag: nope_flag"));
        assert!(refused(&["nodejs_als", "nodejs_als"]).contains("multiple times: nodejs_als"));
        let contrary = "nodejs_compat and no_nodejs_compat are mutually contradictory";
        assert!(refused(&["nodejs_compat", "no_nodejs_compat"]).contains(contrary));
        assert!(refused(&["no_nodejs_compat", "nodejs_compat"]).contains(contrary));
        assert!(refused(&["unsafe_module"]).contains("unsafe_module is experimental"));
        assert_eq!(refused(&["no_precise_timers"]), "");
        assert!(refused(&["", "!"]).contains("No such compatibility flag"));
    }

    #[test]
    fn every_flag_is_told_from_all_others() {
        let names: Vec<&str> = known().flat_map(|flag| [Some(flag.on), flag.off]).flatten().collect();
        assert!(names.len() > 300, "{}", names.len());
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }
}
