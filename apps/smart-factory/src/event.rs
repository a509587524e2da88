//! What the factory says happened.

use purlin_sdk::prelude::*;

use crate::detector::Direction;

/// The level of a machine has changed.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct AlertRaised {
    /// Which machine.
    pub machine: DeviceId,
    /// Number of the alert among the machine's.
    pub alert: u64,
    /// Which way the level moved.
    pub direction: Direction,
    /// When the change is estimated to have begun.
    pub since: TimestampMs,
    /// Time of the reading that raised it.
    pub time: TimestampMs,
    /// Evidence at that reading, in thousandths of the threshold.
    pub score_milli: u32,
    /// Mean of the baseline, in thousandths of the sensor's unit.
    pub mean_milli: i64,
    /// That reading, in thousandths of the sensor's unit.
    pub value_milli: i64,
}

/// The level of a machine is normal again, or has changed the other way.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct AlertCleared {
    /// Which machine.
    pub machine: DeviceId,
    /// Number of the alert among the machine's.
    pub alert: u64,
    /// Time of the reading that cleared it.
    pub time: TimestampMs,
    /// Largest deviation while it was raised, in thousandths of a standard deviation.
    pub peak_milli: u32,
}

/// Readings of a machine are welcome.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct MachineAdded {
    /// Which machine.
    pub machine: DeviceId,
}

/// A machine, its readings and its alerts are gone.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct MachineRemoved {
    /// Which machine.
    pub machine: DeviceId,
}

/// Somebody else may report for a machine.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct OperatorChanged {
    /// Which machine.
    pub machine: DeviceId,
    /// Who may besides the device's owner.
    pub operator: Option<AccountId>,
}

/// Thresholds have changed.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct ThresholdsChanged {
    /// Of which machine; absent for those of machines without their own.
    pub machine: Option<DeviceId>,
}

/// The application has another owner.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct OwnerChanged {
    /// Who was it.
    pub from: AccountId,
    /// Who is it.
    pub to: AccountId,
}
