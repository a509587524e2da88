//! The one list of settings.

use super::value;

/// One setting.
#[derive(Debug)]
pub struct SettingSpec {
    /// Name in the file, with its table: `api.listen`.
    pub key: &'static str,
    /// Value when nobody says anything.
    pub default: &'static str,
    /// What it is, for help and the written file.
    pub doc: &'static str,
    /// How the value is written in the file.
    pub(crate) kind: Kind,
    /// Returns what was expected when a value does not fit.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// How a value is written in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
}

const fn setting(
    key: &'static str,
    default: &'static str,
    kind: Kind,
    check: fn(&str) -> Result<(), String>,
    doc: &'static str,
) -> SettingSpec {
    SettingSpec { key, default, doc, kind, check }
}

/// Every setting, in the order in which they are shown.
pub const SETTINGS: &[SettingSpec] = &[
    setting(
        "api.listen",
        "127.0.0.1:7420",
        Kind::Text,
        |text| value::address(text).map(drop),
        "address of the HTTP API, or `off`; other addresses than loopback need TLS in front",
    ),
    setting(
        "api.socket",
        "auto",
        Kind::Text,
        |text| value::socket(text).map(drop),
        "unix socket of the API: a path, `auto` for purlin.sock in the home, or `off`",
    ),
    setting(
        "chain.block_interval_ms",
        "0",
        Kind::Number,
        |text| value::milliseconds(text).map(drop),
        "least time between blocks; 0 makes one as soon as a transaction waits",
    ),
    setting(
        "chain.anchor_after_ms",
        "500",
        Kind::Number,
        |text| value::milliseconds(text).map(drop),
        "quiet time before one empty block puts the newest state root into a header",
    ),
    setting(
        "chain.idle_ms",
        "5000",
        Kind::Number,
        |text| value::milliseconds(text).map(drop),
        "how long several validators wait for a transaction before they agree on an empty block; the same on all",
    ),
    setting(
        "chain.validator_key",
        "validator",
        Kind::Text,
        |text| value::key_name(text).map(drop),
        "name of the key that signs blocks, or `off` to make none",
    ),
    setting(
        "mining.threads",
        "1",
        Kind::Number,
        |text| value::mining_threads(text).map(drop),
        "threads that mine on a proof-of-work chain for the key in `chain.validator_key`; 0 only follows",
    ),
    setting(
        "mining.hashes_per_second_max",
        "off",
        Kind::Text,
        |text| value::hash_rate(text).map(drop),
        "most hashes per second of all mining threads together, or `off` for as many as they can",
    ),
    setting(
        "network.listen",
        "",
        Kind::Text,
        |text| value::addresses(text).map(drop),
        "where peers connect, comma-separated, such as /ip4/0.0.0.0/tcp/7421; no network without any here, in `peers` and in `reserved`",
    ),
    setting(
        "network.peers",
        "",
        Kind::Text,
        |text| value::addresses(text).map(drop),
        "nodes to ask first, comma-separated, such as /ip4/192.0.2.1/tcp/7421/p2p/12D3Koo...",
    ),
    setting(
        "network.reserved",
        "",
        Kind::Text,
        |text| value::addresses(text).map(drop),
        "nodes that are always reconnected and never banned, comma-separated; for validators that know each other",
    ),
    setting(
        "network.external",
        "",
        Kind::Text,
        |text| value::addresses(text).map(drop),
        "where others reach this node when it cannot know, such as behind a router that forwards a port, comma-separated; whoever says it need not set `network.reachable` to `yes`",
    ),
    setting(
        "network.reachable",
        "auto",
        Kind::Text,
        |text| value::reachable(text).map(drop),
        "whether others can dial this node, which then helps newcomers to find nodes: `auto` finds out by having other nodes dial back, where an address of the local network counts for its nodes, so that a LAN needs no setting; `yes` when every listen address can be dialled; `no` when none can",
    ),
    setting(
        "network.allowed",
        "",
        Kind::Text,
        |text| value::peer_ids(text).map(drop),
        "ids of the only nodes that may connect, comma-separated, such as 12D3Koo...; empty for all. Those in `reserved` always may",
    ),
    setting(
        "network.denied",
        "",
        Kind::Text,
        |text| value::peer_ids(text).map(drop),
        "ids of nodes that may not connect, comma-separated",
    ),
    setting(
        "network.relays",
        "",
        Kind::Text,
        |text| value::addresses(text).map(drop),
        "nodes that carry connections to this one when nobody can dial it, comma-separated",
    ),
    setting(
        "network.relay_server",
        "off",
        Kind::Text,
        |text| value::switch(text).map(drop),
        "`on` carries connections of others that cannot be dialled",
    ),
    setting(
        "network.key",
        "off",
        Kind::Text,
        |text| value::network_key(text).map(drop),
        "64 hexadecimal digits that all nodes of a private network share, or `off`; TCP only",
    ),
    setting(
        "network.mdns",
        "off",
        Kind::Text,
        |text| value::switch(text).map(drop),
        "`on` finds nodes of the same chain on the local network",
    ),
    setting(
        "network.upnp",
        "off",
        Kind::Text,
        |text| value::switch(text).map(drop),
        "`on` asks the router to forward a port",
    ),
    setting(
        "network.sync",
        "replay",
        Kind::Text,
        |text| value::sync(text).map(drop),
        "how a node without data joins: `replay` executes every block itself and has all of history, `snapshot` fetches the state of a recent block, which validators have signed",
    ),
    setting(
        "network.checkpoint",
        "off",
        Kind::Text,
        |text| value::checkpoint(text).map(drop),
        "a recent block that you trust, as HEIGHT:BLOCKID from `purlin status` on another node, or `off`; needed after longer than the unbonding period",
    ),
    setting(
        "mempool.transactions_max",
        "100000",
        Kind::Number,
        |text| value::count(text).map(drop),
        "most transactions that wait; the cheapest go first",
    ),
    setting(
        "mempool.bytes_max",
        "128MiB",
        Kind::Text,
        |text| value::bytes(text).map(drop),
        "most bytes of waiting transactions",
    ),
    setting(
        "mempool.per_sender_max",
        "2000",
        Kind::Number,
        |text| value::count(text).map(drop),
        "most waiting transactions of one sender",
    ),
    setting(
        "mempool.signature_threads",
        "auto",
        Kind::Text,
        |text| value::threads(text).map(drop),
        "threads that check signatures, or `auto` for one per processor",
    ),
    setting(
        "engine.backend",
        "cranelift-speed",
        Kind::Text,
        |text| value::backend(text).map(drop),
        "how wasm runs: cranelift-speed, cranelift-none or pulley; results are the same",
    ),
    setting(
        "engine.allocation",
        "auto",
        Kind::Text,
        |text| value::allocation(text).map(drop),
        "memory of instances: `auto` uses a pool when there is address space, else `on-demand`",
    ),
    setting(
        "engine.instances_max",
        "256",
        Kind::Number,
        |text| value::instances(text).map(drop),
        "most wasm instances at once",
    ),
    setting(
        "engine.modules_bytes_max",
        "64MiB",
        Kind::Text,
        |text| value::bytes(text).map(drop),
        "most compiled code kept in memory",
    ),
    setting(
        "engine.cache_bytes_max",
        "1GiB",
        Kind::Text,
        |text| value::bytes(text).map(drop),
        "most compiled code kept on disk",
    ),
    setting(
        "storage.cache_bytes",
        "32MiB",
        Kind::Text,
        |text| value::bytes(text).map(drop),
        "memory of the database's block cache",
    ),
    setting(
        "storage.snapshot_blocks",
        "1000",
        Kind::Text,
        |text| value::blocks(text).map(drop),
        "a snapshot of state is made for newcomers at heights that are multiples of this, or `off`; the same on all nodes, so that parts can be fetched from several",
    ),
    setting(
        "storage.keep_blocks",
        "off",
        Kind::Text,
        |text| value::blocks(text).map(drop),
        "how many of the last blocks keep transactions, receipts and events, at least 256 whatever is said here, or `off` for all",
    ),
    setting(
        "storage.keep_days",
        "off",
        Kind::Text,
        |text| value::days(text).map(drop),
        "for how many days blocks keep transactions, receipts and events, or `off` for ever",
    ),
    setting(
        "storage.disk_bytes_max",
        "off",
        Kind::Text,
        |text| value::budget(text).map(drop),
        "size of the database above which the oldest transactions, receipts and events are removed, or `off`",
    ),
    setting("log.filter", "info", Kind::Text, |_| Ok(()), "which log lines are written, as in RUST_LOG"),
    setting(
        "log.format",
        "text",
        Kind::Text,
        |text| value::log_format(text).map(drop),
        "log lines as `text` or `json`",
    ),
];

/// Returns a setting by name.
pub fn find_setting(key: &str) -> Option<&'static SettingSpec> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Returns the environment variable of a setting: `PURLIN_API_LISTEN` for `api.listen`.
pub fn environment_name(key: &str) -> String {
    format!("PURLIN_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Returns the known name nearest to a misspelt one, when it is near enough to be meant.
pub(crate) fn nearest(key: &str) -> Option<&'static str> {
    let (table, name) = split(key);
    SETTINGS
        .iter()
        .map(|setting| {
            let (known_table, known_name) = split(setting.key);
            let typing = strsim::damerau_levenshtein(key, setting.key);
            // Finds the right name in the wrong table or in none, and the right words in the wrong order.
            let words = strsim::damerau_levenshtein(&sorted_words(name), &sorted_words(known_name));
            (typing.min(words + usize::from(table != known_table)), setting.key)
        })
        .min()
        .filter(|(distance, found)| *distance <= (split(found).1.len().max(name.len()) / 3).max(2))
        .map(|(_, found)| found)
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

fn sorted_words(name: &str) -> String {
    let mut words: Vec<&str> = name.split('_').collect();
    words.sort_unstable();
    words.join("_")
}
