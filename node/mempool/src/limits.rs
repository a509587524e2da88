//! What bounds the pool.

use purlin_primitives::Gas;

/// Bounds what waits. Whatever is beyond is evicted or refused, see [`crate::Mempool::admit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most transactions.
    pub transactions_max: usize,
    /// Most canonical bytes of all transactions together.
    pub bytes_max: usize,
    /// Most transactions of one sender.
    pub per_sender_max: usize,
}

impl Limits {
    /// Default for [`Self::transactions_max`]: about 20 full blocks. Each one costs about 600 bytes besides
    /// its own.
    pub const TRANSACTIONS_MAX: usize = 100_000;
    /// Default for [`Self::bytes_max`]; room for several packages of the largest size.
    pub const BYTES_MAX: usize = 128 * 1024 * 1024;
    /// Default for [`Self::per_sender_max`]; one sender cannot fill the pool.
    pub const PER_SENDER_MAX: usize = 2_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions_max: Self::TRANSACTIONS_MAX,
            bytes_max: Self::BYTES_MAX,
            per_sender_max: Self::PER_SENDER_MAX,
        }
    }
}

/// Most transactions that one admission may push out. One large package pushing out more than this many small
/// transactions would hold the pool's lock for too long; it is refused instead.
pub const EVICTIONS_MAX: usize = 1_000;

/// Most transactions that [`crate::Mempool::take`] passes over because they do not fit. Past this the block is
/// full enough, and looking on would cost more than it finds.
pub const MISFITS_MAX: usize = 64;

/// What may still go into a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Sum of gas limits.
    pub gas: Gas,
    /// Sum of canonical bytes.
    pub bytes: usize,
    /// Number of transactions.
    pub transactions: usize,
}
