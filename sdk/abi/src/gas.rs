//! Prices of everything that is not a plain wasm instruction.

/// Prices in gas; a protocol parameter. One gas is one wasm instruction of fuel, calibrated so that one gas
/// is about 0.25 ns. Set by hand from the call and transfer benches; no bench measures each price by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GasSchedule {
    /// Every transaction: signature, decoding, nonce and balance.
    pub transaction_base: u64,
    /// Every byte of a transaction.
    pub transaction_byte: u64,
    /// Every native action (transfer, device registration, ...).
    pub action_base: u64,
    /// Instantiating a module for one call.
    pub instantiate: u64,
    /// Compiling, per byte of wasm, paid once at install.
    pub compile_byte: u64,
    /// Compiling, per step of what makes code slow to compile: locals times branches, and calls.
    pub compile_step: u64,
    /// Each wasm page a call's memory grows by.
    pub memory_page: u64,
    /// Entering any host function.
    pub host_call: u64,
    /// Each byte that crosses the guest boundary.
    pub copy_byte: u64,
    /// Reading one key.
    pub storage_read: u64,
    /// Each byte read from storage.
    pub storage_read_byte: u64,
    /// Writing or removing one key: the tree's hashing and the disk's share.
    pub storage_write: u64,
    /// Each byte written to storage.
    pub storage_write_byte: u64,
    /// Each entry of a scan, beside its bytes.
    pub scan_entry: u64,
    /// Emitting one event.
    pub event: u64,
    /// Each byte of an event.
    pub event_byte: u64,
    /// A native balance read or transfer.
    pub account: u64,
    /// Reading one device record.
    pub device_read: u64,
    /// Starting a hash.
    pub hash_base: u64,
    /// Each byte hashed.
    pub hash_byte: u64,
    /// Checking one secp256k1 signature.
    pub secp256k1_verify: u64,
    /// Recovering one secp256k1 key.
    pub secp256k1_recover: u64,
    /// Checking one Ed25519 signature.
    pub ed25519_verify: u64,
    /// Checking one P-256 signature.
    pub p256_verify: u64,
}

impl GasSchedule {
    /// The first schedule.
    pub const V1: Self = Self {
        transaction_base: 250_000,
        transaction_byte: 20,
        action_base: 20_000,
        instantiate: 10_000,
        compile_byte: 2_000,
        compile_step: 1_600,
        memory_page: 20_000,
        host_call: 100,
        copy_byte: 1,
        storage_read: 4_000,
        storage_read_byte: 4,
        storage_write: 100_000,
        storage_write_byte: 20,
        scan_entry: 2_000,
        event: 5_000,
        event_byte: 10,
        account: 5_000,
        device_read: 8_000,
        hash_base: 500,
        hash_byte: 8,
        secp256k1_verify: 250_000,
        secp256k1_recover: 400_000,
        ed25519_verify: 200_000,
        p256_verify: 700_000,
    };
}
