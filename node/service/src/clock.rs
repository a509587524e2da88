//! The machine's clock; the only place that reads the time of day.

use purlin_primitives::TimestampMs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the time of day. May go backwards; 0 before 1970.
pub fn system_time() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
