//! How RocksDB is set up, and why.

use purlin_state::Column;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    WriteBufferManager,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// How much memory a store may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageOptions {
    /// Blocks, indexes and filters read from disk, in bytes.
    pub block_cache_bytes: usize,
    /// Writes not yet in table files, over all columns, in bytes.
    pub write_buffer_bytes: usize,
    /// Files kept open.
    pub open_files_max: i32,
}

impl Default for StorageOptions {
    /// Sized for a node that stays below 64 MiB when idle.
    fn default() -> Self {
        Self { block_cache_bytes: 16 * MIB, write_buffer_bytes: 16 * MIB, open_files_max: 256 }
    }
}

impl StorageOptions {
    /// Options of the whole database. Durability rests on three of them: the write-ahead log is replayed up to a
    /// tail that was never acknowledged (an older damage is an error), every read checks its checksum, and the
    /// manifest names the logs that must be there.
    pub(crate) fn database(&self, cache: &Cache) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_paranoid_checks(true);
        options.set_track_and_verify_wals_in_manifest(true);
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            self.write_buffer_bytes,
            false,
            cache.clone(),
        );
        options.set_write_buffer_manager(&buffers);
        // Columns that are seldom written, such as app_code, would otherwise keep every log alive.
        options.set_max_total_wal_size(8 * self.write_buffer_bytes as u64);
        options.set_max_open_files(self.open_files_max);
        options.set_max_background_jobs(2);
        // Spreads write-back, so that the sync of a block does not wait for a compaction's pages.
        options.set_bytes_per_sync(MIB as u64);
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(MIB);
        options.set_keep_log_file_num(4);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    /// Options of every column.
    pub(crate) fn columns(&self, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
        let descriptor =
            |column: &Column| ColumnFamilyDescriptor::new(column.name(), self.column(*column, cache));
        Column::ALL.iter().map(descriptor).collect()
    }

    fn column(&self, column: Column, cache: &Cache) -> Options {
        let tuning = Tuning::of(column);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(cache);
        // Filters and indexes count against the cache, so that memory does not grow with the chain.
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_format_version(5);
        table.set_block_size(tuning.block_bytes);
        if tuning.filter == Filter::Bloom {
            table.set_bloom_filter(10.0, false);
        }
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_compression_type(tuning.compression);
        options.set_write_buffer_size((self.write_buffer_bytes / 2).max(MIB));
        options.set_arena_block_size(64 * KIB);
        options.set_max_write_buffer_number(3);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_target_file_size_base(16 * MIB as u64);
        options.set_max_bytes_for_level_base(64 * MIB as u64);
        options
    }
}

#[derive(PartialEq)]
enum Filter {
    /// For columns that are asked for keys they may not have, or have many levels to look in.
    Bloom,
    /// For columns that are read in order.
    None,
}

struct Tuning {
    filter: Filter,
    compression: DBCompressionType,
    block_bytes: usize,
}

impl Tuning {
    fn of(column: Column) -> Self {
        use DBCompressionType::{Lz4, None as Plain};
        let (filter, compression, block_bytes) = match column {
            Column::Meta => (Filter::None, Plain, 4 * KIB),
            Column::Values => (Filter::Bloom, Lz4, 4 * KIB),
            // Hashes do not compress.
            Column::TreeNodes => (Filter::Bloom, Plain, 4 * KIB),
            Column::Index => (Filter::Bloom, Plain, 4 * KIB),
            Column::StaleNodes | Column::Undo | Column::Certificates | Column::EventsByApp => {
                (Filter::None, Lz4, 8 * KIB)
            }
            Column::AppCode | Column::Blocks | Column::Receipts | Column::Events | Column::Diagnostics => {
                (Filter::None, Lz4, 16 * KIB)
            }
        };
        Self { filter, compression, block_bytes }
    }
}
