//! Readings and the ring that keeps the last of them.
//!
//! Readings of a machine are numbered from 0 and lie in chunks of [`CHUNK`]; chunk `n` is stored in slot
//! `n % SLOTS`, over what was there. One storage write for a chunk instead of one for a reading makes a batch of
//! 500 cost five writes.

use purlin_sdk::prelude::*;

use crate::{Machine, SmartFactory, page};

/// Readings in a chunk: 2 KiB.
const CHUNK: u64 = 128;
/// Chunks that are kept.
const SLOTS: u64 = 32;
/// Readings that are kept for certain; up to a chunk more are while the newest one fills.
pub const READINGS_KEPT: u64 = CHUNK * (SLOTS - 1);
/// Most readings in one report. A full one is 16 KiB of arguments and costs well under the gas of one call.
pub const READINGS_PER_REPORT_MAX: usize = 1_000;

/// One measurement.
#[derive(Schema, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When it was taken, in milliseconds since 1970.
    pub time: TimestampMs,
    /// What was measured, in thousandths of the sensor's unit.
    pub value_milli: i64,
}

/// What became of a report.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct ReportSummary {
    /// Readings taken.
    pub accepted: u32,
    /// Readings that were known already, or older.
    pub skipped: u32,
    /// Time of the last reading known now.
    pub last_time: Option<TimestampMs>,
    /// Alerts raised by these readings.
    pub alerts_raised: u32,
    /// Alerts cleared by these readings.
    pub alerts_cleared: u32,
}

/// A page of readings.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct ReadingPage {
    /// Oldest first.
    pub readings: Vec<Reading>,
    /// `from` of the next page; absent on the last one.
    pub next: Option<TimestampMs>,
}

fn slot(chunk: u64) -> u32 {
    (chunk % SLOTS) as u32
}

/// Numbers of the oldest chunk that is kept and of the one behind the newest.
fn kept(count: u64) -> (u64, u64) {
    let end = count.div_ceil(CHUNK);
    (end.saturating_sub(SLOTS), end)
}

impl SmartFactory {
    /// Adds readings behind those that `record` has seen.
    pub(crate) fn store_readings(&mut self, machine: &DeviceId, record: &Machine, readings: &[Reading]) {
        let mut number = record.detector.count();
        let mut rest = readings;
        while !rest.is_empty() {
            let key = (machine.clone(), slot(number / CHUNK));
            let filled = number % CHUNK;
            let mut chunk = if filled == 0 { Vec::new() } else { self.chunks.get_or_default(&key) };
            let (now, later) = rest.split_at(rest.len().min((CHUNK - filled) as usize));
            chunk.extend_from_slice(now);
            self.chunks.set(&key, &chunk);
            number += now.len() as u64;
            rest = later;
        }
    }

    pub(crate) fn remove_readings(&mut self, machine: &DeviceId, record: &Machine) {
        let (oldest, end) = kept(record.detector.count());
        for chunk in oldest..end {
            self.chunks.remove(&(machine.clone(), slot(chunk)));
        }
    }

    pub(crate) fn list_readings(
        &self,
        machine: &DeviceId,
        record: &Machine,
        from: Option<TimestampMs>,
        to: Option<TimestampMs>,
        limit: u32,
    ) -> ReadingPage {
        let from = from.unwrap_or(TimestampMs::ZERO);
        let wanted = |reading: &Reading| reading.time >= from && to.is_none_or(|to| reading.time < to);
        let read = |chunk: u64| self.chunks.get_or_default(&(machine.clone(), slot(chunk)));
        let (oldest, end) = kept(record.detector.count());
        // Finds the first chunk that ends at or after `from`: times grow.
        let (mut low, mut high) = (oldest, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if read(middle).last().is_some_and(|last| last.time < from) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let limit = page(limit);
        let mut readings: Vec<Reading> = Vec::new();
        for chunk in low..end {
            let chunk = read(chunk);
            let past_end = chunk.last().is_some_and(|last| to.is_some_and(|to| last.time >= to));
            readings.extend(chunk.into_iter().filter(wanted).take(limit + 1 - readings.len()));
            if past_end || readings.len() > limit {
                break;
            }
        }
        let next = readings.get(limit).map(|reading| reading.time);
        readings.truncate(limit);
        ReadingPage { readings, next }
    }
}
