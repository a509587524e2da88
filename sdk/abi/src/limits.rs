//! Caps on everything a guest, a package or a transaction can make large. Each is a protocol constant: a
//! change is a change of consensus.

/// Shortest application name, in characters.
pub const APP_ID_LENGTH_MIN: usize = 2;
/// Longest application name, in characters.
pub const APP_ID_LENGTH_MAX: usize = 63;
/// Longest device name, in characters.
pub const DEVICE_ID_LENGTH_MAX: usize = 64;

/// Longest storage key a guest may use, in bytes.
pub const STORAGE_KEY_BYTES_MAX: usize = 256;
/// Longest storage value, in bytes.
pub const STORAGE_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most entries that one scan returns.
pub const SCAN_ENTRIES_MAX: u32 = 256;
/// Most bytes that one scan returns; it stops early and the caller goes on from the last key.
pub const SCAN_BYTES_MAX: usize = 256 * 1024;

/// Longest method name, in bytes.
pub const METHOD_NAME_BYTES_MAX: usize = 64;
/// Longest arguments of one call, in bytes.
pub const INPUT_BYTES_MAX: usize = 256 * 1024;
/// Longest result of one call, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Longest panic or error message kept, in bytes; more is cut at a character boundary.
pub const MESSAGE_BYTES_MAX: usize = 1024;
/// Longest log line kept, in bytes.
pub const LOG_BYTES_MAX: usize = 1024;
/// Most log lines kept per transaction; later ones are dropped and counted.
pub const LOG_LINES_MAX: usize = 100;

/// Longest event topic, in bytes.
pub const EVENT_TOPIC_BYTES_MAX: usize = 64;
/// Longest event payload, in bytes.
pub const EVENT_PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// Most events one transaction may emit.
pub const EVENTS_PER_TRANSACTION_MAX: usize = 1_000;

/// Deepest chain of app-to-app calls; the transaction's own call is depth 1.
pub const CALL_DEPTH_MAX: usize = 8;

/// Bytes in a wasm page.
pub const WASM_PAGE_BYTES: usize = 64 * 1024;
/// Most linear memory an application may ask for in its manifest, in pages (16 MiB).
pub const MEMORY_PAGES_MAX: u32 = 256;
/// Linear memory when the manifest does not say, in pages (4 MiB).
pub const MEMORY_PAGES_DEFAULT: u32 = 64;
/// Metered wasm stack of one call, in units of `8 bytes x (locals + operands) + 64` per active frame. The
/// engine's native stack is sized from it, so that metering always trips first.
pub const STACK_UNITS_MAX: u32 = 256 * 1024;

/// Largest wasm module, in bytes.
pub const WASM_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most types of functions and blocks in a module.
pub const WASM_TYPES_MAX: u32 = 1_000;
/// Most functions in a module.
pub const WASM_FUNCTIONS_MAX: u32 = 20_000;
/// Most locals in one function, parameters included.
pub const WASM_LOCALS_MAX: u32 = 2_000;
/// Most globals in a module.
pub const WASM_GLOBALS_MAX: u32 = 1_000;
/// Most tables in a module.
pub const WASM_TABLES_MAX: u32 = 4;
/// Most elements in one table.
pub const WASM_TABLE_ELEMENTS_MAX: u32 = 20_000;
/// Most data segments in a module.
pub const WASM_DATA_SEGMENTS_MAX: u32 = 10_000;
/// Most exports of a module.
pub const WASM_EXPORTS_MAX: u32 = 1_000;
/// Most imports of a module.
pub const WASM_IMPORTS_MAX: u32 = 200;

/// Gas of one call when the manifest does not say.
pub const GAS_PER_CALL_DEFAULT: u64 = 100_000_000;
/// Storage of one application when the manifest does not say, in bytes (64 MiB).
pub const STORAGE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Most storage a manifest may ask for, in bytes (16 GiB).
pub const STORAGE_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// Largest package, compressed, in bytes.
pub const PACKAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest package, unpacked, in bytes.
pub const PACKAGE_UNPACKED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Highest ratio of unpacked to compressed bytes.
pub const PACKAGE_RATIO_MAX: usize = 100;
/// Most entries in a package.
pub const PACKAGE_ENTRIES_MAX: usize = 1_000;
/// Longest path in a package, in bytes.
pub const PACKAGE_PATH_BYTES_MAX: usize = 200;
/// Deepest path in a package, in components.
pub const PACKAGE_PATH_DEPTH_MAX: usize = 8;
/// Largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;
/// Most dependencies of a package.
pub const DEPENDENCIES_MAX: usize = 32;

/// Largest Thing Description, in bytes.
pub const THING_DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
/// Most capabilities, and separately most tags, of a device.
pub const DEVICE_LABELS_MAX: usize = 32;
/// Longest device type, capability, area or tag, in bytes.
pub const DEVICE_LABEL_BYTES_MAX: usize = 64;
/// Most devices one list call returns.
pub const DEVICE_LIST_MAX: u32 = 100;
/// Most index entries that one look-up of devices reads. Only a filter of several fields that seldom meet comes near it.
pub const DEVICES_EXAMINED_MAX: u32 = 1_000;

/// Most actions in a transaction.
pub const ACTIONS_MAX: usize = 64;
/// Most applications in an access list.
pub const ACCESS_LIST_MAX: usize = 64;
/// Largest transaction, in bytes; leaves room for the largest package.
pub const TRANSACTION_BYTES_MAX: usize = PACKAGE_BYTES_MAX + 512 * 1024;
