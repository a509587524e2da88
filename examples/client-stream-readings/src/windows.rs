//! Compares alerts with the windows in which somebody saw a fault.

use anyhow::{Context, Result, bail};
use purlin_abi::TimestampMs;
use purlin_smart_factory::Alert;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::series::{parse_time, text};

/// Labelled windows, first and last moment of each.
#[derive(Debug)]
pub(crate) struct Windows(Vec<(TimestampMs, TimestampMs)>);

/// How alerts and windows match.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Score {
    /// Windows in which an alert was raised.
    pub(crate) found: usize,
    /// Alerts that were raised in no window.
    pub(crate) outside: usize,
}

impl Windows {
    /// Reads the windows of a series: those under the name that ends with the series' file name.
    pub(crate) fn read(path: &Path, series: &Path) -> Result<Self> {
        let json = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name =
            series.file_name().and_then(|name| name.to_str()).context("the CSV's file name is not text")?;
        Self::parse(&json, name).with_context(|| path.display().to_string())
    }

    fn parse(json: &str, name: &str) -> Result<Self> {
        let all: BTreeMap<String, Vec<(String, String)>> =
            serde_json::from_str(json).context("expected an object of lists of [from, to]")?;
        let found = all.iter().find(|(key, _)| key.rsplit('/').next() == Some(name));
        let Some((_, windows)) = found else {
            bail!("there are no windows for {name}; there are some for {:?}", all.keys().collect::<Vec<_>>())
        };
        let windows = windows.iter().map(|(from, to)| Ok((parse_time(from)?, parse_time(to)?)));
        Ok(Self(windows.collect::<Result<_>>()?))
    }

    /// Prints every window with its alerts, and the alerts outside.
    pub(crate) fn print(&self, alerts: &[Alert]) -> Score {
        for (number, (from, to)) in self.0.iter().enumerate() {
            println!("window {}: {} to {}", number + 1, text(*from), text(*to));
            let inside: Vec<&Alert> = alerts.iter().filter(|alert| within(alert, (*from, *to))).collect();
            if inside.is_empty() {
                println!("  no alert");
            }
            inside.iter().for_each(|alert| println!("  {}", line(alert)));
        }
        let outside: Vec<&Alert> = alerts.iter().filter(|alert| self.is_outside(alert)).collect();
        println!("outside all windows:");
        if outside.is_empty() {
            println!("  no alert");
        }
        outside.iter().for_each(|alert| println!("  {}", line(alert)));
        let score = self.score(alerts);
        println!("found {} of {} windows, {} alerts outside", score.found, self.0.len(), score.outside);
        score
    }

    fn score(&self, alerts: &[Alert]) -> Score {
        let found = self.0.iter().filter(|window| alerts.iter().any(|alert| within(alert, **window))).count();
        Score { found, outside: alerts.iter().filter(|alert| self.is_outside(alert)).count() }
    }

    fn is_outside(&self, alert: &Alert) -> bool {
        !self.0.iter().any(|window| within(alert, *window))
    }
}

fn within(alert: &Alert, (from, to): (TimestampMs, TimestampMs)) -> bool {
    (from..=to).contains(&alert.raised_at)
}

fn line(alert: &Alert) -> String {
    let end = alert.cleared_at.map_or("still raised".into(), |time| format!("cleared {}", text(time)));
    format!("alert {} {:?}: raised {}, {end}", alert.alert, alert.direction, text(alert.raised_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_smart_factory::detector::Direction;

    fn alert(raised_at: &str) -> Alert {
        Alert {
            machine: "press-1".parse().unwrap(),
            alert: 0,
            direction: Direction::Low,
            since: TimestampMs::ZERO,
            raised_at: parse_time(raised_at).unwrap(),
            score_milli: 1_000,
            mean_milli: 0,
            cleared_at: None,
            peak_milli: 0,
        }
    }

    #[test]
    fn alerts_are_counted_by_where_they_were_raised() {
        let json = r#"{"a/series.csv": [["2014-01-01 00:00:00.000000", "2014-01-02 00:00:00.000000"],
                                        ["2014-02-01 00:00:00.000000", "2014-02-02 00:00:00.000000"]]}"#;
        let windows = Windows::parse(json, "series.csv").unwrap();
        let score = |times: &[&str]| windows.score(&times.iter().map(|time| alert(time)).collect::<Vec<_>>());
        assert_eq!(score(&[]), Score { found: 0, outside: 0 });
        let times =
            ["2014-01-01 00:00:00", "2014-01-02 00:00:00", "2014-01-02 00:00:01", "2013-12-31 23:59:59"];
        assert_eq!(score(&times), Score { found: 1, outside: 2 });
        assert!(Windows::parse(json, "ries.csv").is_err());
        assert!(Windows::parse("[]", "series.csv").is_err());
    }
}
