//! Watches one stream of readings for a change of level, in integer arithmetic and constant memory.
//!
//! The steps for each reading:
//!
//! 1. The *baseline* is an exponentially weighted mean and variance over about
//!    [`Thresholds::baseline_readings`]. During warm-up it is the plain mean and variance, and nothing is tested.
//! 2. The residual is standardised, `z = (value - mean) / deviation`, and cut at [`Z_LIMIT`], so that a single
//!    broken reading cannot raise an alert.
//! 3. A two-sided CUSUM (Page 1954) adds up what exceeds the drift: `high = max(0, high + z - drift)`, and the
//!    same downwards. An alert is raised when a sum passes the threshold; the change is said to have begun when
//!    that sum was last zero, which is the usual estimate of the change point.
//! 4. The alert clears when the mean of the last [`WINDOW`] readings has stayed within
//!    [`Thresholds::clear_milli`] of the baseline for [`Thresholds::clear_readings`] readings in a row, or when
//!    the sum of the other direction passes the threshold, which raises the next one.
//! 5. The baseline learns from the residual cut at [`Thresholds::outlier_milli`] deviations: a fault hardly moves
//!    it, while a level that stays for weeks becomes the new normal.
//!
//! Fixed point: values are in thousandths (`milli`) of the sensor's unit, at most [`VALUE_MILLI_MAX`] either
//! way. Means, deviations and sums are Q16 (`x * 2^16`), the variance is Q32. With those limits a squared
//! residual is below `2^82`, its Q32 form below `2^114`; every product is made in 128 bits. Divisions round
//! towards zero. There are no floats, so every machine computes the same alert at the same reading.

use purlin_sdk::Schema;

/// Readings in the short window whose mean decides about clearing: an hour of 5-minute readings.
pub const WINDOW: usize = 12;
/// Largest standardised residual that one reading can contribute, in deviations. Larger means that a single
/// spike weighs more; the threshold must be far above it.
pub const Z_LIMIT: i64 = 8;
/// Largest value either way, in thousandths of the sensor's unit; bounds every intermediate result.
pub const VALUE_MILLI_MAX: i64 = 1_000_000_000_000;

const ONE: i64 = 1 << 16;
const MILLI: i64 = 1_000;

/// Decides what is normal and what is an alert. Counts are in readings, so they scale with the sensor's
/// interval; numbers ending in `_milli` are thousandths.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct Thresholds {
    /// Readings from which the first baseline is made; nothing is tested before.
    pub warm_up_readings: u32,
    /// Memory of the baseline, in readings.
    pub baseline_readings: u32,
    /// Deviation that is still normal for every single reading, in thousandths of a standard deviation.
    pub drift_milli: u32,
    /// Sum of deviations beyond the drift at which an alert is raised, in thousandths of a standard deviation.
    pub alarm_milli: u32,
    /// Deviation beyond which a reading teaches the baseline no more, in thousandths of a standard deviation.
    pub outlier_milli: u32,
    /// Deviation of the short window below which an alert may clear, in thousandths of a standard deviation.
    pub clear_milli: u32,
    /// Readings in a row for which that must hold.
    pub clear_readings: u32,
    /// Least standard deviation assumed, in thousandths of the sensor's unit: the sensor's own noise.
    pub deviation_min_milli: u32,
}

impl Default for Thresholds {
    /// Suits a reading every five minutes. README.md tells how the numbers were chosen and how little they
    /// matter.
    fn default() -> Self {
        Self {
            warm_up_readings: 576,
            baseline_readings: 4_032,
            drift_milli: 1_500,
            alarm_milli: 100_000,
            outlier_milli: 3_000,
            clear_milli: 1_000,
            clear_readings: 36,
            deviation_min_milli: 100,
        }
    }
}

/// A threshold that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadThreshold {
    /// Which field.
    pub field: &'static str,
    /// Least value allowed.
    pub min: u32,
    /// Largest value allowed.
    pub max: u32,
    /// What was given.
    pub found: u32,
}

impl Thresholds {
    /// Checks every field; the limits of some depend on others.
    pub fn check(&self) -> Result<(), BadThreshold> {
        let z_limit = (Z_LIMIT * MILLI) as u32;
        let rules = [
            ("warm_up_readings", self.warm_up_readings, WINDOW as u32, 100_000),
            ("baseline_readings", self.baseline_readings, self.warm_up_readings, 1_000_000),
            ("drift_milli", self.drift_milli, 100, z_limit - 1),
            // Below twice the limit of one reading, a spike and its neighbour would be an alert.
            ("alarm_milli", self.alarm_milli, 2 * z_limit, 1_000_000_000),
            ("outlier_milli", self.outlier_milli, 1_000, z_limit),
            // Above the drift an alert could clear while its sum still grows.
            ("clear_milli", self.clear_milli, 1, self.drift_milli),
            ("clear_readings", self.clear_readings, 1, 100_000),
            ("deviation_min_milli", self.deviation_min_milli, 1, 1_000_000_000),
        ];
        match rules.into_iter().find(|(_, found, min, max)| !(*min..=*max).contains(found)) {
            Some((field, found, min, max)) => Err(BadThreshold { field, min, max, found }),
            None => Ok(()),
        }
    }
}

/// Which way the level moved.
#[derive(Schema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Above the baseline.
    High,
    /// Below the baseline.
    Low,
}

/// An alert that was raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// Which way.
    pub direction: Direction,
    /// When the change is estimated to have begun, in milliseconds.
    pub since: u64,
    /// The sum, in thousandths of the threshold; at least 1,000.
    pub score_milli: u32,
}

/// An alert that was cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// Largest deviation of the short window during the alert, in thousandths of a standard deviation.
    pub peak_milli: u32,
}

/// What a reading changed, in this order. Both when an alert gives way to one in the other direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The alert that ended.
    pub cleared: Option<Cleared>,
    /// The alert that began.
    pub raised: Option<Raised>,
}

/// Everything known about one stream; about 250 bytes.
#[derive(Schema, Debug, Clone, Default, PartialEq, Eq)]
pub struct Detector {
    /// Readings seen.
    count: u64,
    /// Baseline mean, Q16 of thousandths.
    mean: i64,
    /// Baseline variance, Q32 of square thousandths.
    variance: u128,
    /// The last readings in thousandths, oldest first once turned at `count`.
    window: [i64; WINDOW],
    /// CUSUM upwards, Q16 of deviations.
    high: Sum,
    /// CUSUM downwards, Q16 of deviations.
    low: Sum,
    /// The alert that is raised, if any.
    alert: Option<Alert>,
}

#[derive(Schema, Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    value: i64,
    since: u64,
}

#[derive(Schema, Debug, Clone, Copy, PartialEq, Eq)]
struct Alert {
    direction: Direction,
    calm_readings: u32,
    peak_milli: u32,
}

impl Sum {
    fn add(&mut self, excess: i64, time: u64) {
        if self.value == 0 {
            self.since = time;
        }
        self.value = self.value.saturating_add(excess).max(0);
    }
}

impl Detector {
    /// Takes the next reading. `time` is in milliseconds and must grow; `value_milli` beyond
    /// [`VALUE_MILLI_MAX`] counts as that.
    pub fn observe(&mut self, thresholds: &Thresholds, time: u64, value_milli: i64) -> Change {
        let value_milli = value_milli.clamp(-VALUE_MILLI_MAX, VALUE_MILLI_MAX);
        self.window[(self.count % WINDOW as u64) as usize] = value_milli;
        self.count = self.count.saturating_add(1);
        let residual = value_milli * ONE - self.mean;
        if self.count <= u64::from(thresholds.warm_up_readings) {
            self.learn(residual, self.count);
            return Change::default();
        }
        let deviation = self.deviation(thresholds);
        let z = standardise(residual, deviation).clamp(-Z_LIMIT * ONE, Z_LIMIT * ONE);
        let drift = from_milli(thresholds.drift_milli);
        self.high.add(z - drift, time);
        self.low.add(-z - drift, time);
        let cleared = self.clear(thresholds, deviation);
        let raised = self.raise(thresholds);
        let limit = product(deviation, from_milli(thresholds.outlier_milli));
        self.learn(residual.clamp(-limit, limit), self.count.min(u64::from(thresholds.baseline_readings)));
        Change { cleared, raised }
    }

    /// Ends the alert when the level is back to normal for long enough, or far off in the other direction.
    fn clear(&mut self, thresholds: &Thresholds, deviation: i64) -> Option<Cleared> {
        let mut alert = self.alert?;
        let z = i128::from(standardise(self.window_mean() - self.mean, deviation)).abs();
        let z_milli = saturate(z * i128::from(MILLI) / i128::from(ONE));
        let opposite = match alert.direction {
            Direction::High => self.low,
            Direction::Low => self.high,
        };
        let turned = opposite.value >= from_milli(thresholds.alarm_milli);
        alert.peak_milli = alert.peak_milli.max(z_milli);
        alert.calm_readings = if z_milli < thresholds.clear_milli { alert.calm_readings + 1 } else { 0 };
        if !turned && alert.calm_readings < thresholds.clear_readings {
            self.alert = Some(alert);
            return None;
        }
        self.alert = None;
        // What the old alert added up must not raise it again at once.
        match (turned, alert.direction) {
            (true, Direction::High) => self.high = Sum::default(),
            (true, Direction::Low) => self.low = Sum::default(),
            (false, _) => (self.high, self.low) = (Sum::default(), Sum::default()),
        }
        Some(Cleared { peak_milli: alert.peak_milli })
    }

    fn raise(&mut self, thresholds: &Thresholds) -> Option<Raised> {
        if self.alert.is_some() {
            return None;
        }
        let threshold = from_milli(thresholds.alarm_milli);
        let (direction, sum) = match (self.high, self.low) {
            (high, _) if high.value >= threshold => (Direction::High, high),
            (_, low) if low.value >= threshold => (Direction::Low, low),
            _ => return None,
        };
        self.alert = Some(Alert { direction, calm_readings: 0, peak_milli: 0 });
        let score_milli = i128::from(sum.value) * i128::from(MILLI) / i128::from(threshold);
        Some(Raised { direction, since: sum.since, score_milli: saturate(score_milli) })
    }

    /// Moves mean and variance by `1 / weight` of the residual: Welford's update while `weight` is the count,
    /// an exponential window afterwards.
    fn learn(&mut self, residual: i64, weight: u64) {
        let weight = i128::from(weight);
        let step = (i128::from(residual) / weight) as i64;
        self.mean += step;
        // The residual before times the residual after the step; both have the same sign.
        let square = i128::from(residual) * i128::from(residual - step);
        let variance = self.variance as i128;
        self.variance = (variance + (square - variance) / weight).max(0) as u128;
    }

    /// Says how many readings were seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Says whether the baseline is made and readings are tested.
    pub fn is_warm(&self, thresholds: &Thresholds) -> bool {
        self.count >= u64::from(thresholds.warm_up_readings)
    }

    /// Returns the direction of the alert that is raised.
    pub fn alert(&self) -> Option<Direction> {
        self.alert.map(|alert| alert.direction)
    }

    /// Returns the baseline mean, in thousandths.
    pub fn mean_milli(&self) -> i64 {
        self.mean / ONE
    }

    /// Returns the baseline standard deviation, in thousandths, without its least value.
    pub fn deviation_milli(&self) -> i64 {
        square_root(self.variance) / ONE
    }

    /// Returns mean and standard deviation of the last [`WINDOW`] readings, in thousandths.
    pub fn window_milli(&self) -> (i64, i64) {
        let readings = self.readings();
        if readings.is_empty() {
            return (0, 0);
        }
        let mean = self.window_mean();
        let squares: u128 = readings
            .iter()
            .map(|value| {
                let residual = i128::from(value * ONE - mean);
                (residual * residual) as u128
            })
            .sum();
        (mean / ONE, square_root(squares / readings.len() as u128) / ONE)
    }

    /// Returns the sums (upwards, downwards) in thousandths of a standard deviation.
    pub fn sums_milli(&self) -> (i64, i64) {
        let milli = |sum: Sum| (i128::from(sum.value) * i128::from(MILLI) / i128::from(ONE)) as i64;
        (milli(self.high), milli(self.low))
    }

    fn readings(&self) -> &[i64] {
        &self.window[..self.count.min(WINDOW as u64) as usize]
    }

    /// Q16 of thousandths; zero before the first reading.
    fn window_mean(&self) -> i64 {
        let readings = self.readings();
        let sum: i128 = readings.iter().map(|value| i128::from(*value) * i128::from(ONE)).sum();
        (sum / (readings.len().max(1) as i128)) as i64
    }

    /// Q16 of thousandths.
    fn deviation(&self, thresholds: &Thresholds) -> i64 {
        square_root(self.variance).max(i64::from(thresholds.deviation_min_milli) * ONE)
    }
}

/// Divides two Q16 numbers.
fn standardise(residual: i64, deviation: i64) -> i64 {
    (i128::from(residual) * i128::from(ONE) / i128::from(deviation)).clamp(i64::MIN.into(), i64::MAX.into())
        as i64
}

/// Multiplies two Q16 numbers.
fn product(a: i64, b: i64) -> i64 {
    (i128::from(a) * i128::from(b) / i128::from(ONE)) as i64
}

/// Q32 to the Q16 of its root. Most variances fit 64 bits, where the root is much cheaper.
fn square_root(variance: u128) -> i64 {
    match u64::try_from(variance) {
        Ok(small) => small.isqrt() as i64,
        Err(_) => variance.isqrt() as i64,
    }
}

fn from_milli(milli: u32) -> i64 {
    i64::from(milli) * ONE / MILLI
}

fn saturate(value: i128) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}
