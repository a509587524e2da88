//! RocksDB against the memory store, its directory, and its durability.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use purlin_state::{Column, Durability, KeyValueStore, MemoryStore, Order, StoreError, WriteBatch};
use purlin_storage::{OpenError, RocksStore, StorageOptions};

fn open(path: &Path) -> RocksStore {
    RocksStore::open(path, &StorageOptions::default()).unwrap()
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }

    fn key(&mut self) -> Vec<u8> {
        (0..self.below(4)).map(|_| [0, 1, 0x7f, 0xff][self.below(4) as usize]).collect()
    }
}

#[test]
fn behaves_like_the_memory_store() {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new();
    let mut rocks = open(directory.path());
    let mut random = Random(11);
    for step in 0..3_000 {
        let column = Column::ALL[random.below(3) as usize * 4];
        match random.below(10) {
            0..=3 => {
                let mut batch = WriteBatch::default();
                for _ in 0..random.below(5) {
                    match random.below(3) {
                        0 => batch.delete(column, random.key()),
                        _ => batch.put(column, random.key(), vec![step as u8; random.below(50) as usize]),
                    }
                }
                let durability = [Durability::Synced, Durability::Buffered][random.below(2) as usize];
                memory.write(batch.clone(), durability).unwrap();
                rocks.write(batch, durability).unwrap();
            }
            4..=5 => {
                let key = random.key();
                assert_eq!(rocks.get(column, &key).unwrap(), memory.get(column, &key).unwrap());
            }
            6 => {
                let keys: Vec<_> = (0..5).map(|_| random.key()).collect();
                let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
                assert_eq!(rocks.get_many(column, &keys).unwrap(), memory.get_many(column, &keys).unwrap());
            }
            7 if step % 200 == 0 => {
                drop(rocks);
                rocks = open(directory.path());
            }
            _ => {
                let (from, to) = (random.key(), random.key());
                let to = (random.below(3) > 0).then_some(to.as_slice());
                let order = [Order::Ascending, Order::Descending][random.below(2) as usize];
                let limit = [0, 1, 3, usize::MAX][random.below(4) as usize];
                assert_eq!(
                    rocks.scan(column, &from, to, order, limit).unwrap(),
                    memory.scan(column, &from, to, order, limit).unwrap(),
                    "step {step}: {from:?}..{to:?} {order:?} {limit}"
                );
            }
        }
    }
    assert!(rocks.usage().unwrap().write_buffer_bytes > 0);
}

#[test]
fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    let refused = RocksStore::open(directory.path(), &StorageOptions::default());
    assert!(matches!(refused, Err(OpenError::InUse { .. })), "{refused:?}");

    let mut other = child("child_that_opens", directory.path());
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines().map_while(Result::ok);
    let answer = lines.find(|line| line.starts_with("open: ")).unwrap();
    assert!(answer.contains("in use by another process"), "{answer}");
    assert!(other.wait().unwrap().success());
    drop(first);
    open(directory.path());
}

#[test]
fn newer_and_foreign_directories_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    drop(open(path));
    let text = std::fs::read_to_string(path.join("FORMAT")).unwrap();
    assert_eq!(text, "purlin storage format 3\n");
    let error = |text: Option<&str>| {
        match text {
            Some(text) => std::fs::write(path.join("FORMAT"), text).unwrap(),
            None => std::fs::remove_file(path.join("FORMAT")).unwrap(),
        }
        RocksStore::open(path, &StorageOptions::default()).unwrap_err()
    };
    for version in [2, 4] {
        let other = error(Some(&format!("purlin storage format {version}\n")));
        let named = matches!(other, OpenError::OtherFormat { found, supported: 3, .. } if found == version);
        assert!(named, "{other}");
    }
    for text in [Some(""), Some("something else"), None] {
        let foreign = error(text);
        assert!(matches!(foreign, OpenError::Foreign { .. }), "{text:?}: {foreign}");
    }
    std::fs::write(path.join("FORMAT"), "purlin storage format 3\n").unwrap();
    drop(open(path));
    let file = path.join("FORMAT");
    assert!(matches!(RocksStore::open(file, &StorageOptions::default()), Err(OpenError::Io { .. })));
}

/// Runs an ignored test of this file in a process of its own.
fn child(name: &str, directory: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("PURLIN_TEST_DIRECTORY", directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn child_directory() -> Option<std::path::PathBuf> {
    std::env::var_os("PURLIN_TEST_DIRECTORY").map(Into::into)
}

#[test]
#[ignore = "runs as a child of one_process_at_a_time"]
fn child_that_opens() {
    let Some(directory) = child_directory() else { return };
    match RocksStore::open(directory, &StorageOptions::default()) {
        Ok(_) => println!("\nopen: it opened"),
        Err(error) => println!("\nopen: {error}"),
    }
}

/// Batch `n` writes `n` to two columns, and a value whose length shows torn writes.
fn numbered(n: u64) -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.put(Column::Meta, *b"last", n.to_be_bytes());
    batch.put(Column::Blocks, n.to_be_bytes(), vec![n as u8; 5_000]);
    batch.put(Column::Index, n.to_le_bytes(), n.to_be_bytes());
    batch
}

#[test]
#[ignore = "runs as a child of what_was_acknowledged_survives_kill_9"]
fn child_that_writes() {
    let Some(directory) = child_directory() else { return };
    let store = open(&directory);
    let last = store.get(Column::Meta, b"last").unwrap();
    let mut n = last.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    loop {
        n += 1;
        store.write(numbered(n), Durability::Synced).unwrap();
        println!("\nwrote {n}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(3);
    for round in 0..8 {
        let mut writer = child("child_that_writes", directory.path());
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut numbers = lines.filter_map(|line| line.strip_prefix("wrote ")?.parse::<u64>().ok());
        let mut acknowledged = 0;
        for _ in 0..1 + random.below(60) {
            acknowledged = numbers.next().unwrap();
        }
        writer.kill().unwrap();
        acknowledged = numbers.last().unwrap_or(acknowledged);
        writer.wait().unwrap();

        let store = open(directory.path());
        let last = store.get(Column::Meta, b"last").unwrap().unwrap();
        let last = u64::from_be_bytes(last.try_into().unwrap());
        assert!(last >= acknowledged, "round {round}: {acknowledged} was acknowledged, {last} is there");
        let blocks = store.scan(Column::Blocks, &[], None, Order::Ascending, usize::MAX).unwrap();
        assert_eq!(blocks.len() as u64, last, "round {round}: nothing of a batch without the rest");
        for (n, (key, value)) in (1..).zip(blocks) {
            assert_eq!((key, value), (u64::to_be_bytes(n).to_vec(), vec![n as u8; 5_000]));
            assert_eq!(store.get(Column::Index, &n.to_le_bytes()).unwrap(), Some(n.to_be_bytes().to_vec()));
        }
    }
}

#[test]
fn a_torn_tail_of_the_log_is_dropped_and_damage_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (1..=20).for_each(|n| store.write(numbered(n), Durability::Synced).unwrap());
    drop(store);
    let files = |suffix: &str| {
        let entries = std::fs::read_dir(directory.path().join("db")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect::<Vec<_>>()
    };
    // A record whose header promises more than was written, as after a power cut.
    let log = files(".log").into_iter().max().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    let whole = bytes.clone();
    bytes.extend_from_slice(&[1, 2, 3, 4, 200, 1, 1, 9, 9]);
    std::fs::write(&log, &bytes).unwrap();
    let store = open(directory.path());
    assert_eq!(store.get(Column::Meta, b"last").unwrap(), Some(20u64.to_be_bytes().to_vec()));
    drop(store);

    // Damage in the middle of what was acknowledged is an error, not a shorter history.
    let second = tempfile::tempdir().unwrap();
    let store = open(second.path());
    (1..=20).for_each(|n| store.write(numbered(n), Durability::Synced).unwrap());
    drop(store);
    let entries = std::fs::read_dir(second.path().join("db")).unwrap();
    let log = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".log"))
        .max()
        .unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    assert!(bytes.len() > 50_000 && whole.len() > 50_000);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&log, &bytes).unwrap();
    let refused = RocksStore::open(second.path(), &StorageOptions::default());
    assert!(
        matches!(refused, Err(OpenError::Store { source: StoreError::Corrupt { .. }, .. })),
        "{refused:?}"
    );
}

#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_synced_batches() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let store = open(directory.path());
    let mut random = Random(9);
    for (records, bytes) in [(1, 100), (1_000, 100), (10_000, 200), (10_000, 200)] {
        let rounds = 20;
        let mut spent = std::time::Duration::ZERO;
        for _ in 0..rounds {
            let mut batch = WriteBatch::default();
            for _ in 0..records {
                let key =
                    [random.below(u64::MAX).to_be_bytes(), random.below(100_000).to_be_bytes()].concat();
                batch.put(Column::Values, key, vec![7; bytes]);
            }
            let start = std::time::Instant::now();
            store.write(batch, Durability::Synced).unwrap();
            spent += start.elapsed();
        }
        println!(
            "{records} records of {bytes} bytes: {:.2} ms per batch",
            spent.as_secs_f64() * 1e3 / f64::from(rounds)
        );
    }
    println!("{:?}", store.usage().unwrap());
}

#[test]
fn space_of_removed_entries_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut random = Random(5);
    let key = |n: u64| n.to_be_bytes();
    for n in 0..200 {
        let mut batch = WriteBatch::default();
        // Bytes that do not compress.
        let value: Vec<u8> = (0..20_000).map(|_| random.below(256) as u8).collect();
        batch.put(Column::Blocks, key(n), value);
        store.write(batch, Durability::Buffered).unwrap();
    }
    store.reclaim(Column::Blocks, &key(0), &key(200)).unwrap();
    let before = store.disk_bytes().unwrap().unwrap();
    assert!(before > 3_500_000, "{before}");
    let mut batch = WriteBatch::default();
    (0..150).for_each(|n| batch.delete(Column::Blocks, key(n)));
    store.write(batch, Durability::Synced).unwrap();
    store.reclaim(Column::Blocks, &key(0), &key(150)).unwrap();
    let after = store.disk_bytes().unwrap().unwrap();
    assert!(after < before / 3, "{after} of {before}");
    assert_eq!(store.scan(Column::Blocks, &[], None, Order::Ascending, 500).unwrap().len(), 50);
}
