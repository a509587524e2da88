//! What is known of a machine.

use purlin_sdk::prelude::*;

use crate::detector::{Detector, Direction, Thresholds};
use crate::{FactoryError, Reading, SmartFactory, page};

/// Most machines that one query looks at: each costs a storage read.
const EXAMINED_MAX: usize = 200;

/// What is stored of a machine, in one value.
#[derive(Schema, Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Who may report besides the device's owner.
    pub operator: Option<Operator>,
    /// Its own thresholds, if it has any.
    pub thresholds: Option<Thresholds>,
    /// Its last reading.
    pub last: Option<Reading>,
    /// Alerts raised since it was added; the next one's number.
    pub alerts: u64,
    /// What its readings so far amount to.
    pub detector: Detector,
}

/// An account that may report.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Which.
    pub account: AccountId,
    /// Who owned the device then; the right ends when somebody else does.
    pub named_by: AccountId,
}

/// How a machine is.
#[derive(Schema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    /// Its readings do not make a baseline yet.
    WarmingUp,
    /// Nothing stands out.
    Normal,
    /// An alert is raised.
    Alert,
}

/// A machine as it is shown.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct MachineStatus {
    /// Its name in the device registry.
    pub machine: DeviceId,
    /// How it is.
    pub state: MachineState,
    /// Which way its level moved, while an alert is raised.
    pub direction: Option<Direction>,
    /// Number of the alert that is raised.
    pub alert: Option<u64>,
    /// Alerts since it was added.
    pub alerts: u64,
    /// Readings since it was added.
    pub readings: u64,
    /// Its last reading.
    pub last: Option<Reading>,
    /// Who was named to report besides the device's owner; void once the device has changed hands.
    pub operator: Option<AccountId>,
    /// Mean of the baseline, in thousandths of the sensor's unit.
    pub mean_milli: i64,
    /// Standard deviation of the baseline, in thousandths of the sensor's unit.
    pub deviation_milli: i64,
    /// Mean of the last readings, in thousandths of the sensor's unit.
    pub window_mean_milli: i64,
    /// Standard deviation of the last readings, in thousandths of the sensor's unit.
    pub window_deviation_milli: i64,
    /// Evidence for a higher level, in thousandths of a standard deviation; an alert is raised at `alarm_milli`.
    pub evidence_high_milli: i64,
    /// Evidence for a lower level, likewise.
    pub evidence_low_milli: i64,
}

/// A page of machines.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct MachinePage {
    /// By name.
    pub machines: Vec<MachineStatus>,
    /// `after` of the next page; absent on the last one.
    pub next: Option<DeviceId>,
}

impl Machine {
    /// Checks that the caller may report for the machine.
    pub(crate) fn check_reporter(
        &self,
        machine: &DeviceId,
        device: &DeviceRecord,
    ) -> Result<(), FactoryError> {
        let caller = context::caller();
        let operates = |operator: &Operator| operator.account == caller && operator.named_by == device.owner;
        if caller == device.owner || self.operator.as_ref().is_some_and(operates) {
            return Ok(());
        }
        Err(FactoryError::NotReporter { machine: machine.clone(), owner: device.owner })
    }

    pub(crate) fn state(&self, defaults: &Thresholds) -> MachineState {
        let thresholds = self.thresholds.as_ref().unwrap_or(defaults);
        match self.detector.alert() {
            Some(_) => MachineState::Alert,
            None if self.detector.is_warm(thresholds) => MachineState::Normal,
            None => MachineState::WarmingUp,
        }
    }

    /// `defaults` are the thresholds of machines without their own.
    pub(crate) fn status(&self, machine: DeviceId, defaults: &Thresholds) -> MachineStatus {
        let direction = self.detector.alert();
        let (window_mean_milli, window_deviation_milli) = self.detector.window_milli();
        let (evidence_high_milli, evidence_low_milli) = self.detector.sums_milli();
        MachineStatus {
            machine,
            state: self.state(defaults),
            direction,
            alert: direction.and_then(|_| self.alerts.checked_sub(1)),
            alerts: self.alerts,
            readings: self.detector.count(),
            last: self.last,
            operator: self.operator.as_ref().map(|operator| operator.account),
            mean_milli: self.detector.mean_milli(),
            deviation_milli: self.detector.deviation_milli(),
            window_mean_milli,
            window_deviation_milli,
            evidence_high_milli,
            evidence_low_milli,
        }
    }
}

impl SmartFactory {
    pub(crate) fn list_machines(
        &self,
        state: Option<MachineState>,
        after: Option<DeviceId>,
        limit: u32,
    ) -> MachinePage {
        use core::ops::Bound::{Excluded, Unbounded};

        let defaults = self.thresholds.get().unwrap_or_default();
        let limit = page(limit);
        let mut last_examined = after.clone();
        let mut machines = Vec::new();
        for (examined, (machine, record)) in
            self.machines.range((after.map_or(Unbounded, Excluded), Unbounded)).enumerate()
        {
            if machines.len() == limit || examined == EXAMINED_MAX {
                return MachinePage { machines, next: last_examined };
            }
            last_examined = Some(machine.clone());
            if state.is_none_or(|state| record.state(&defaults) == state) {
                machines.push(record.status(machine, &defaults));
            }
        }
        MachinePage { machines, next: None }
    }
}
