//! Why the factory refuses.

use purlin_sdk::prelude::*;

/// Says why a call was refused.
#[derive(AppError, Debug, Clone, PartialEq, Eq)]
pub enum FactoryError {
    /// Only the application's owner may do this.
    #[error("only the application's owner {owner} may do this")]
    NotOwner {
        /// Who may.
        owner: AccountId,
    },
    /// The machine was not added.
    #[error("machine {machine} was not added; the application's owner calls add_machine")]
    UnknownMachine {
        /// Which.
        machine: DeviceId,
    },
    /// The machine was added before.
    #[error("machine {machine} was added already")]
    MachineExists {
        /// Which.
        machine: DeviceId,
    },
    /// The device registry does not know the machine.
    #[error("device {machine} is not registered; register it with `purlin device register`")]
    DeviceNotRegistered {
        /// Which.
        machine: DeviceId,
    },
    /// The machine's device was revoked.
    #[error("device {machine} is revoked")]
    DeviceRevoked {
        /// Which.
        machine: DeviceId,
    },
    /// Only the device's owner may do this.
    #[error("only the owner {owner} of device {machine} may do this")]
    NotDeviceOwner {
        /// Which.
        machine: DeviceId,
        /// Who may.
        owner: AccountId,
    },
    /// The caller may not report for this machine.
    #[error("only the owner {owner} of device {machine}, or the operator whom it named, may report")]
    NotReporter {
        /// Which.
        machine: DeviceId,
        /// Who may.
        owner: AccountId,
    },
    /// The batch is too long.
    #[error("{found} readings in one report; at most {max} are allowed")]
    TooManyReadings {
        /// Readings found.
        found: u32,
        /// Most allowed.
        max: u32,
    },
    /// Times inside a batch must grow.
    #[error("reading {index} has time {time}, which is not after {previous}")]
    TimeNotGrowing {
        /// Its position in the batch, from 0.
        index: u32,
        /// Its time.
        time: TimestampMs,
        /// Time of the reading before it.
        previous: TimestampMs,
    },
    /// A reading lies in the future.
    #[error("a reading has time {time}; nothing after {latest} is taken yet: check the sender's clock")]
    TimeAhead {
        /// Its time.
        time: TimestampMs,
        /// Latest time taken now.
        latest: TimestampMs,
    },
    /// A value is too large to calculate with.
    #[error("reading {index} has value {value_milli}; expected -{max_milli} to {max_milli}")]
    ValueOutOfRange {
        /// Its position in the batch, from 0.
        index: u32,
        /// Its value, in thousandths of the sensor's unit.
        value_milli: i64,
        /// Largest allowed either way.
        max_milli: i64,
    },
    /// A threshold is out of its range.
    #[error("threshold {field} is {found}; expected {min} to {max}")]
    BadThreshold {
        /// Which field.
        field: String,
        /// Least allowed.
        min: u32,
        /// Most allowed.
        max: u32,
        /// What was given.
        found: u32,
    },
}
