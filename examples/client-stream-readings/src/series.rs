//! Reads a CSV of readings.

use anyhow::{Context, Result, bail, ensure};
use purlin_abi::TimestampMs;
use purlin_smart_factory::Reading;
use std::fs;
use std::path::Path;

/// A file's readings.
#[derive(Debug)]
pub(crate) struct Series {
    /// Their times grow.
    pub(crate) readings: Vec<Reading>,
    /// Lines that were not later than the one before: clocks are set back.
    pub(crate) skipped: usize,
}

impl Series {
    /// Reads a file; an error names the line.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        ensure!(
            header.trim() == "timestamp,value",
            "the first line is {header:?}; expected \"timestamp,value\""
        );
        let mut series = Self { readings: Vec::new(), skipped: 0 };
        for (index, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let reading = parse_line(line).with_context(|| format!("line {}", index + 2))?;
            if series.readings.last().is_some_and(|last| reading.time <= last.time) {
                series.skipped += 1;
            } else {
                series.readings.push(reading);
            }
        }
        Ok(series)
    }
}

fn parse_line(line: &str) -> Result<Reading> {
    let Some((time, value)) = line.split_once(',') else { bail!("{line:?} has no comma") };
    let number: f64 = value.trim().parse().with_context(|| format!("value {value:?} is not a number"))?;
    let milli = (number * 1_000.0).round();
    // Doubles are exact up to 2^53; the application's own limit is far below.
    ensure!(milli.abs() < 9e15, "value {value:?} is too large");
    Ok(Reading { time: parse_time(time.trim())?, value_milli: milli as i64 })
}

/// Reads `2013-12-02 21:15:00` as UTC; fractions of a second are cut.
pub(crate) fn parse_time(text: &str) -> Result<TimestampMs> {
    let expected = || format!("{text:?} is not a time; expected 2013-12-02 21:15:00");
    let number = |from: usize, to: usize| -> Result<u64> {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.with_context(expected)?.parse().with_context(expected)
    };
    let separators = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    ensure!(separators.iter().all(|(at, sign)| text.get(*at..at + 1) == Some(*sign)), expected());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let valid = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    ensure!(valid && hour < 24 && minute < 60 && second < 60, expected());
    let days = days_before(year, month) + day - 1;
    Ok(TimestampMs::new((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    years + (1..month).map(|month| days_in(year, month)).sum::<u64>()
}

/// Writes a time as it stands in the files.
pub(crate) fn text(time: TimestampMs) -> String {
    let seconds = time.get() / 1_000;
    let (mut days, in_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    while days >= if is_leap(year) { 366 } else { 365 } {
        days -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    let mut month = 1;
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    let (hour, minute, second) = (in_day / 3_600, in_day / 60 % 60, in_day % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}", days + 1)
}

/// Writes thousandths with one digit after the point.
pub(crate) fn decimal(milli: i64) -> String {
    format!("{:.1}", milli as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        for (time, ms) in [
            ("1970-01-01 00:00:00", 0),
            ("2000-02-29 23:59:59", 951_868_799_000),
            ("2013-12-02 21:15:00", 1_386_018_900_000),
            ("2100-03-01 00:00:00", 4_107_542_400_000),
        ] {
            assert_eq!(parse_time(time).unwrap(), TimestampMs::new(ms));
            assert_eq!(text(TimestampMs::new(ms)), time);
        }
        assert_eq!(parse_time("2013-12-02 21:15:00.000000").unwrap(), TimestampMs::new(1_386_018_900_000));
        for bad in [
            "",
            "2013",
            "2013-13-01 00:00:00",
            "2013-12-02 24:00:00",
            "2013/12/02 00:00:00",
            "x013-12-02 00:00:00",
        ] {
            assert!(parse_time(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lines_are_read_and_errors_name_them() {
        let good = "timestamp,value\n2013-12-02 21:15:00,73.96732207\n2013-12-02 21:15:00,1\n\n2013-12-02 21:20:00,-0.0006\n";
        let series = Series::parse(good).unwrap();
        let values: Vec<i64> = series.readings.iter().map(|reading| reading.value_milli).collect();
        assert_eq!((values, series.skipped), (vec![73_967, -1], 1));
        for (bad, expected) in [
            ("", "first line"),
            ("time,value\n", "first line"),
            ("timestamp,value\n2013-12-02 21:15:00\n", "line 2"),
            ("timestamp,value\n2013-12-02 21:15:00,x\n", "line 2"),
            ("timestamp,value\n2013-12-02 21:15:00,NaN\n", "line 2"),
        ] {
            let error = format!("{:#}", Series::parse(bad).unwrap_err());
            assert!(error.contains(expected), "{bad:?}: {error}");
        }
    }
}
