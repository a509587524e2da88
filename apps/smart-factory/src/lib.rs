//! Collects readings of a factory's machines and raises an alert when the level of one changes.
//!
//! A machine is a device in the chain's registry that the application's owner has added. Its readings come in
//! batches from the device's owner, or from an operator whom the device's owner named. Each machine has a
//! [`detector`] of its own; alerts are raised and cleared as events, inside the block that brings the reading, and
//! every node computes the same ones.
//!
//! What is kept: a machine's detector for as long as it is here, its last [`READINGS_KEPT`] readings, and its last
//! [`ALERTS_KEPT`] alerts. Older ones are overwritten; the events in the chain's history stay.
#![no_std]

mod alert;
pub mod detector;
mod error;
mod event;
mod machine;
mod reading;

use purlin_sdk::prelude::*;

pub use alert::{ALERTS_KEPT, Alert, AlertKey, AlertPage, AlertState};
use detector::{Change, Thresholds, VALUE_MILLI_MAX};
pub use error::FactoryError;
pub use event::{
    AlertCleared, AlertRaised, MachineAdded, MachineRemoved, OperatorChanged, OwnerChanged, ThresholdsChanged,
};
pub use machine::{Machine, MachinePage, MachineState, MachineStatus, Operator};
pub use reading::{READINGS_KEPT, READINGS_PER_REPORT_MAX, Reading, ReadingPage, ReportSummary};

/// Most entries that a query returns, and its answer when none or more are asked for.
pub const PAGE_MAX: u32 = 100;
/// How far ahead of the block's time a reading may be, in milliseconds. A reading from the far future would shut
/// out all later ones, because times must grow.
pub const CLOCK_TOLERANCE_MS: u64 = 10 * 60 * 1_000;

/// The state of the factory.
#[derive(State)]
pub struct SmartFactory {
    owner: Item<AccountId>,
    /// Of machines without thresholds of their own.
    thresholds: Item<Thresholds>,
    machines: OrderedMap<DeviceId, Machine>,
    /// Ring of chunks of readings; see [`reading`].
    chunks: Map<(DeviceId, u32), Vec<Reading>>,
    alerts: OrderedMap<(DeviceId, u64), Alert>,
}

#[app(events(
    AlertRaised,
    AlertCleared,
    MachineAdded,
    MachineRemoved,
    OperatorChanged,
    ThresholdsChanged,
    OwnerChanged
))]
impl SmartFactory {
    /// Makes whoever installs the application its owner, with thresholds for a reading every five minutes.
    #[init]
    pub fn initialize(&mut self) {
        self.owner.set(&context::caller());
        self.thresholds.set(&Thresholds::default());
    }

    /// Adds a machine, which must be an active device of the registry. Only the application's owner may.
    #[call]
    pub fn add_machine(&mut self, machine: DeviceId) -> Result<(), FactoryError> {
        self.require_owner()?;
        require_active(&machine)?;
        if self.machines.contains(&machine) {
            return Err(FactoryError::MachineExists { machine });
        }
        self.machines.set(&machine, &Machine::default());
        MachineAdded { machine }.emit();
        Ok(())
    }

    /// Removes a machine, its readings and its alerts. Only the application's owner may.
    #[call]
    pub fn remove_machine(&mut self, machine: DeviceId) -> Result<(), FactoryError> {
        self.require_owner()?;
        let record = self.require_machine(&machine)?;
        self.remove_readings(&machine, &record);
        self.remove_alerts(&machine, &record);
        self.machines.remove(&machine);
        MachineRemoved { machine }.emit();
        Ok(())
    }

    /// Lets another account report for a machine as well, or nobody else. Only the device's owner may; the right
    /// ends when the device goes to another owner.
    #[call]
    pub fn set_operator(
        &mut self,
        machine: DeviceId,
        operator: Option<AccountId>,
    ) -> Result<(), FactoryError> {
        let mut record = self.require_machine(&machine)?;
        let device = require_active(&machine)?;
        let caller = context::caller();
        if caller != device.owner {
            return Err(FactoryError::NotDeviceOwner { machine, owner: device.owner });
        }
        record.operator = operator.map(|account| Operator { account, named_by: caller });
        self.machines.set(&machine, &record);
        OperatorChanged { machine, operator }.emit();
        Ok(())
    }

    /// Takes readings of a machine, their times growing. Readings up to the last known time are skipped, so that
    /// a sender who does not know whether a batch arrived sends it again.
    #[call]
    pub fn report(
        &mut self,
        machine: DeviceId,
        readings: Vec<Reading>,
    ) -> Result<ReportSummary, FactoryError> {
        let mut record = self.require_machine(&machine)?;
        let device = require_active(&machine)?;
        record.check_reporter(&machine, &device)?;
        let skipped = check_readings(&readings, record.last)?;
        let fresh = &readings[skipped..];
        self.store_readings(&machine, &record, fresh);
        let thresholds = record.thresholds.clone().or_else(|| self.thresholds.get()).unwrap_or_default();
        let (mut raised, mut cleared) = (0, 0);
        for reading in fresh {
            let change = record.detector.observe(&thresholds, reading.time.get(), reading.value_milli);
            record.last = Some(*reading);
            cleared += u32::from(change.cleared.is_some());
            raised += u32::from(change.raised.is_some());
            self.apply(&machine, &mut record, *reading, change);
        }
        if !fresh.is_empty() {
            self.machines.set(&machine, &record);
        }
        Ok(ReportSummary {
            accepted: fresh.len() as u32,
            skipped: skipped as u32,
            last_time: record.last.map(|reading| reading.time),
            alerts_raised: raised,
            alerts_cleared: cleared,
        })
    }

    /// Sets the thresholds of all machines without their own, from their next reading on. Only the application's
    /// owner may.
    #[call]
    pub fn set_thresholds(&mut self, thresholds: Thresholds) -> Result<(), FactoryError> {
        self.require_owner()?;
        check_thresholds(&thresholds)?;
        self.thresholds.set(&thresholds);
        ThresholdsChanged { machine: None }.emit();
        Ok(())
    }

    /// Gives a machine thresholds of its own, or takes them back. Only the application's owner may.
    #[call]
    pub fn set_machine_thresholds(
        &mut self,
        machine: DeviceId,
        thresholds: Option<Thresholds>,
    ) -> Result<(), FactoryError> {
        self.require_owner()?;
        let mut record = self.require_machine(&machine)?;
        thresholds.as_ref().map_or(Ok(()), check_thresholds)?;
        record.thresholds = thresholds;
        self.machines.set(&machine, &record);
        ThresholdsChanged { machine: Some(machine) }.emit();
        Ok(())
    }

    /// Makes another account the application's owner. Only the owner may.
    #[call]
    pub fn transfer_ownership(&mut self, to: AccountId) -> Result<(), FactoryError> {
        let from = self.require_owner()?;
        self.owner.set(&to);
        OwnerChanged { from, to }.emit();
        Ok(())
    }

    /// Who adds machines and sets thresholds.
    #[query]
    pub fn owner(&self) -> AccountId {
        self.owner.get().expect("initialize sets it")
    }

    /// The thresholds that hold for a machine, or those of machines without their own.
    #[query]
    pub fn thresholds(&self, machine: Option<DeviceId>) -> Result<Thresholds, FactoryError> {
        let own = match machine {
            Some(machine) => self.require_machine(&machine)?.thresholds,
            None => None,
        };
        Ok(own.or_else(|| self.thresholds.get()).unwrap_or_default())
    }

    /// One machine.
    #[query]
    pub fn machine(&self, machine: DeviceId) -> Result<MachineStatus, FactoryError> {
        let record = self.require_machine(&machine)?;
        Ok(record.status(machine, &self.thresholds.get().unwrap_or_default()))
    }

    /// Machines by name, all or those in one state, after the last one of the page before. A page may be short or
    /// empty and still have a `next`.
    #[query]
    pub fn machines(&self, state: Option<MachineState>, after: Option<DeviceId>, limit: u32) -> MachinePage {
        self.list_machines(state, after, limit)
    }

    /// The last reading of a machine: where a sender goes on.
    #[query]
    pub fn last_reading(&self, machine: DeviceId) -> Result<Option<Reading>, FactoryError> {
        Ok(self.require_machine(&machine)?.last)
    }

    /// Readings of a machine with `from <= time < to` among those still kept, oldest first.
    #[query]
    pub fn readings(
        &self,
        machine: DeviceId,
        from: Option<TimestampMs>,
        to: Option<TimestampMs>,
        limit: u32,
    ) -> Result<ReadingPage, FactoryError> {
        let record = self.require_machine(&machine)?;
        Ok(self.list_readings(&machine, &record, from, to, limit))
    }

    /// Alerts by machine and number, of one machine or all, in one state or any, raised at `from <= time < to`. A
    /// page may be short or empty and still have a `next`, which is the next page's `after`.
    #[query]
    pub fn alerts(
        &self,
        machine: Option<DeviceId>,
        state: Option<AlertState>,
        from: Option<TimestampMs>,
        to: Option<TimestampMs>,
        after: Option<AlertKey>,
        limit: u32,
    ) -> AlertPage {
        self.list_alerts(machine, state, from, to, after, limit)
    }
}

impl SmartFactory {
    fn require_owner(&self) -> Result<AccountId, FactoryError> {
        let owner = self.owner();
        if context::caller() == owner { Ok(owner) } else { Err(FactoryError::NotOwner { owner }) }
    }

    fn require_machine(&self, machine: &DeviceId) -> Result<Machine, FactoryError> {
        self.machines.get(machine).ok_or_else(|| FactoryError::UnknownMachine { machine: machine.clone() })
    }

    /// Records and tells what a reading changed.
    fn apply(&mut self, machine: &DeviceId, record: &mut Machine, reading: Reading, change: Change) {
        if let Some(cleared) = change.cleared {
            let peak_milli = cleared.peak_milli;
            let alert = self.clear_alert(machine, record, reading.time, peak_milli);
            AlertCleared { machine: machine.clone(), alert, time: reading.time, peak_milli }.emit();
        }
        if let Some(raised) = change.raised {
            let since = TimestampMs::new(raised.since);
            let (direction, score_milli) = (raised.direction, raised.score_milli);
            let mean_milli = record.detector.mean_milli();
            let alert = self.raise_alert(machine, record, reading.time, &raised, mean_milli);
            let (time, value_milli) = (reading.time, reading.value_milli);
            AlertRaised {
                machine: machine.clone(),
                alert,
                direction,
                since,
                time,
                score_milli,
                mean_milli,
                value_milli,
            }
            .emit();
        }
    }
}

/// Returns the registry's record of a device that may speak.
fn require_active(machine: &DeviceId) -> Result<DeviceRecord, FactoryError> {
    match devices::get(machine) {
        None => Err(FactoryError::DeviceNotRegistered { machine: machine.clone() }),
        Some(device) if device.status == DeviceStatus::Revoked => {
            Err(FactoryError::DeviceRevoked { machine: machine.clone() })
        }
        Some(device) => Ok(device),
    }
}

fn check_thresholds(thresholds: &Thresholds) -> Result<(), FactoryError> {
    thresholds.check().map_err(|bad| FactoryError::BadThreshold {
        field: bad.field.to_owned(),
        min: bad.min,
        max: bad.max,
        found: bad.found,
    })
}

/// Checks a batch and returns how many of its first readings are known already.
fn check_readings(readings: &[Reading], last: Option<Reading>) -> Result<usize, FactoryError> {
    if readings.len() > READINGS_PER_REPORT_MAX {
        let (found, max) = (readings.len() as u32, READINGS_PER_REPORT_MAX as u32);
        return Err(FactoryError::TooManyReadings { found, max });
    }
    if let Some(index) = readings.windows(2).position(|pair| pair[0].time >= pair[1].time) {
        let (previous, time) = (readings[index].time, readings[index + 1].time);
        return Err(FactoryError::TimeNotGrowing { index: index as u32 + 1, time, previous });
    }
    if let Some(index) =
        readings.iter().position(|reading| reading.value_milli.unsigned_abs() > VALUE_MILLI_MAX as u64)
    {
        let value_milli = readings[index].value_milli;
        return Err(FactoryError::ValueOutOfRange {
            index: index as u32,
            value_milli,
            max_milli: VALUE_MILLI_MAX,
        });
    }
    let latest = context::block_time().saturating_add(TimestampMs::new(CLOCK_TOLERANCE_MS));
    if let Some(newest) = readings.last().filter(|newest| newest.time > latest) {
        return Err(FactoryError::TimeAhead { time: newest.time, latest });
    }
    Ok(last.map_or(0, |last| readings.partition_point(|reading| reading.time <= last.time)))
}

/// The number of entries to return.
fn page(limit: u32) -> usize {
    (if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) }) as usize
}
