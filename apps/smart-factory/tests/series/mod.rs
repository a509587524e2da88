//! Reads the labelled series of examples/data.

use std::fs;
use std::path::PathBuf;

/// A series and the windows in which its owner says something was wrong. Times in milliseconds since 1970.
pub(crate) struct Series {
    /// Readings (time, thousandths), as they are in the file.
    pub(crate) readings: Vec<(u64, i64)>,
    /// First and last moment of each window.
    pub(crate) windows: Vec<(u64, u64)>,
}

impl Series {
    /// Reads the machine's series.
    pub(crate) fn machine() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
        };
        let readings = read("machine_temperature_system_failure.csv")
            .lines()
            .skip(1)
            .map(|line| {
                let (time, value) = line.split_once(',').expect("a line is `time,value`");
                let value: f64 = value.parse().expect("the value is a number");
                (time_ms(time), (value * 1000.0).round() as i64)
            })
            .collect();
        let windows = read("machine_temperature_windows.json");
        let after =
            windows.split_once("machine_temperature_system_failure.csv").expect("the series is listed").1;
        let quoted: Vec<&str> = after.split('"').skip(2).step_by(2).collect();
        let windows = quoted.chunks_exact(2).map(|pair| (time_ms(pair[0]), time_ms(pair[1]))).collect();
        Self { readings, windows }
    }

    /// Counts the windows in which at least one of `raised` lies, and those of `raised` that lie in none.
    pub(crate) fn score(&self, raised: &[u64]) -> (usize, usize) {
        let within = |time: u64, (from, to): (u64, u64)| (from..=to).contains(&time);
        let found =
            self.windows.iter().filter(|window| raised.iter().any(|time| within(*time, **window))).count();
        let outside = raised.iter().filter(|time| !self.windows.iter().any(|window| within(**time, *window)));
        (found, outside.count())
    }
}

/// Reads `2013-12-02 21:15:00`, with or without fractions, as UTC.
pub(crate) fn time_ms(text: &str) -> u64 {
    let number = |range: std::ops::Range<usize>| -> i64 { text[range].parse().expect("a time has digits") };
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let (hour, minute, second) = (number(11..13), number(14..16), number(17..19));
    // Days since 1970-01-01 in the proleptic Gregorian calendar, years starting in March.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let year_day = (153 * shifted_month + 2) / 5 + day - 1;
    let days =
        365 * shifted_year + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + year_day - 719_468;
    (((days * 24 + hour) * 60 + minute) * 60 + second) as u64 * 1_000
}
