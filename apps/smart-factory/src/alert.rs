//! Alerts and the history that keeps the last of them.

use core::ops::Bound::{Excluded, Included, Unbounded};
use purlin_sdk::prelude::*;

use crate::detector::{Direction, Raised};
use crate::{Machine, SmartFactory, page};

/// Alerts of a machine that are kept; each takes about 100 bytes.
pub const ALERTS_KEPT: u64 = 256;
/// Most alerts that one query looks at: each costs a storage read.
const EXAMINED_MAX: usize = 1_000;

/// Something that was, or is, wrong with a machine.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Which machine.
    pub machine: DeviceId,
    /// Its number among the machine's alerts, from 0.
    pub alert: u64,
    /// Which way the level moved.
    pub direction: Direction,
    /// When the change is estimated to have begun.
    pub since: TimestampMs,
    /// Time of the reading that raised it.
    pub raised_at: TimestampMs,
    /// Evidence at that reading, in thousandths of the threshold.
    pub score_milli: u32,
    /// Mean of the baseline then, in thousandths of the sensor's unit.
    pub mean_milli: i64,
    /// Time of the reading that cleared it; absent while it is raised.
    pub cleared_at: Option<TimestampMs>,
    /// Largest deviation while it was raised, in thousandths of a standard deviation; 0 until it is cleared.
    pub peak_milli: u32,
}

/// Whether an alert is over.
#[derive(Schema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertState {
    /// It is not.
    Raised,
    /// It is.
    Cleared,
}

/// Names an alert.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct AlertKey {
    /// Which machine.
    pub machine: DeviceId,
    /// Its number among the machine's alerts.
    pub alert: u64,
}

/// A page of alerts.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct AlertPage {
    /// By machine and number.
    pub alerts: Vec<Alert>,
    /// `after` of the next page; absent on the last one.
    pub next: Option<AlertKey>,
}

impl Alert {
    fn state(&self) -> AlertState {
        if self.cleared_at.is_some() { AlertState::Cleared } else { AlertState::Raised }
    }
}

impl SmartFactory {
    /// Records a new alert and returns its number.
    pub(crate) fn raise_alert(
        &mut self,
        machine: &DeviceId,
        record: &mut Machine,
        raised_at: TimestampMs,
        raised: &Raised,
        mean_milli: i64,
    ) -> u64 {
        let alert = record.alerts;
        record.alerts += 1;
        let entry = Alert {
            machine: machine.clone(),
            alert,
            direction: raised.direction,
            since: TimestampMs::new(raised.since),
            raised_at,
            score_milli: raised.score_milli,
            mean_milli,
            cleared_at: None,
            peak_milli: 0,
        };
        self.alerts.set(&(machine.clone(), alert), &entry);
        if let Some(oldest) = alert.checked_sub(ALERTS_KEPT) {
            self.alerts.remove(&(machine.clone(), oldest));
        }
        alert
    }

    /// Records that the machine's newest alert is over and returns its number.
    pub(crate) fn clear_alert(
        &mut self,
        machine: &DeviceId,
        record: &Machine,
        cleared_at: TimestampMs,
        peak_milli: u32,
    ) -> u64 {
        let alert = record.alerts.checked_sub(1).expect("only a raised alert is cleared");
        let key = (machine.clone(), alert);
        let mut entry = self.alerts.get(&key).expect("the newest alert is kept");
        entry.cleared_at = Some(cleared_at);
        entry.peak_milli = peak_milli;
        self.alerts.set(&key, &entry);
        alert
    }

    pub(crate) fn remove_alerts(&mut self, machine: &DeviceId, record: &Machine) {
        for alert in record.alerts.saturating_sub(ALERTS_KEPT)..record.alerts {
            self.alerts.remove(&(machine.clone(), alert));
        }
    }

    pub(crate) fn list_alerts(
        &self,
        machine: Option<DeviceId>,
        state: Option<AlertState>,
        from: Option<TimestampMs>,
        to: Option<TimestampMs>,
        after: Option<AlertKey>,
        limit: u32,
    ) -> AlertPage {
        let low = match (&after, &machine) {
            (Some(after), machine) if machine.as_ref().is_none_or(|machine| *machine == after.machine) => {
                Excluded((after.machine.clone(), after.alert))
            }
            (_, Some(machine)) => Included((machine.clone(), 0)),
            (_, None) => Unbounded,
        };
        let high = match &machine {
            Some(machine) => Included((machine.clone(), u64::MAX)),
            None => Unbounded,
        };
        let limit = page(limit);
        let mut last_examined = after;
        let mut alerts = Vec::new();
        for (examined, ((machine, number), alert)) in self.alerts.range((low, high)).enumerate() {
            if alerts.len() == limit || examined == EXAMINED_MAX {
                return AlertPage { alerts, next: last_examined };
            }
            last_examined = Some(AlertKey { machine, alert: number });
            let wanted = state.is_none_or(|state| alert.state() == state)
                && from.is_none_or(|from| alert.raised_at >= from)
                && to.is_none_or(|to| alert.raised_at < to);
            if wanted {
                alerts.push(alert);
            }
        }
        AlertPage { alerts, next: None }
    }
}
