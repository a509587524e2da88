//! When a block may say that it was made.

use purlin_primitives::TimestampMs;

/// Blocks whose median time a block must be after.
pub const MEDIAN_TIME_BLOCKS: usize = 11;

/// Returns the median of the times of the last [`MEDIAN_TIME_BLOCKS`] blocks, or of as many as there are: the
/// upper of the middle two when they are even in number, as `GetMedianTimePast` of Bitcoin Core (src/chain.h).
/// `None` without any. The order of the times does not matter.
pub fn median_time_past(last: &[TimestampMs]) -> Option<TimestampMs> {
    let mut times: Vec<_> = last.iter().take(MEDIAN_TIME_BLOCKS).copied().collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_middle_of_the_last_eleven() {
        let median = |times: &[u64]| {
            let times: Vec<_> = times.iter().copied().map(TimestampMs::new).collect();
            median_time_past(&times).map(TimestampMs::get)
        };
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7]), Some(7));
        assert_eq!(median(&[7, 9]), Some(9));
        assert_eq!(median(&[9, 7, 8]), Some(8));
        assert_eq!(median(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]), Some(6));
        assert_eq!(
            median(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]),
            Some(6),
            "newest first, eleven of them"
        );
        assert_eq!(median(&[u64::MAX, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), Some(1), "one clock does not move it");
    }
}
