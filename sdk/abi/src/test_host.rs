//! The protocol between an application's tests and the host that runs its compiled wasm.
//!
//! `purlin-testing` does not link a wasm engine: it starts `purlin app test-host` and speaks this over the
//! child's stdin and stdout, one [`Response`] for each [`Request`], in order. The host runs the executor that
//! nodes run, over a store in memory; it lives as long as its stdin is open. Everything else the host has to
//! say goes to stderr.
//!
//! ```text
//! length u32 little-endian | borsh of Request or Response, `length` bytes
//! ```
//!
//! Blocks: the chain starts at height 0 and [`GENESIS_TIME`]. Each request whose answer is a [`Report`] is one
//! block with one transaction: height one more than the head, time [`BLOCK_INTERVAL_MS`] later, unless
//! [`Request::SetBlock`] said otherwise. Transactions carry no fee and need no funds; nonces and signatures
//! are the host's business. A query reads the head: its height and time, or those of a pending `SetBlock`.
//!
//! ```
//! use purlin_abi::test_host::{PROTOCOL_VERSION, Request, read_frame, write_frame};
//! let mut pipe = Vec::new();
//! write_frame(&mut pipe, &Request::Hello { version: PROTOCOL_VERSION })?;
//! let request: Option<Request> = read_frame(&mut pipe.as_slice())?;
//! assert_eq!(request, Some(Request::Hello { version: PROTOCOL_VERSION }));
//! # Ok::<(), purlin_abi::test_host::FrameError>(())
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};
use std::io::{self, Read, Write};

use crate::{
    AccountId, Amount, AppId, CallOutcome, DeviceId, DeviceKey, Event, Gas, Height, StorageEntry,
    TimestampMs, limits,
};

/// Version of this protocol; host and tests refuse each other when theirs differ.
pub const PROTOCOL_VERSION: u32 = 2;
/// Largest frame, in bytes, without its length: leaves room for the largest wasm with manifest and arguments.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Time of block 0: 2026-01-01T00:00:00Z.
pub const GENESIS_TIME: TimestampMs = TimestampMs::new(1_767_225_600_000);
/// Milliseconds from one block to the next.
pub const BLOCK_INTERVAL_MS: u64 = 1_000;
/// Gas limit of a transaction that does not name one; the manifest's `gas_per_call` still holds.
pub const GAS_LIMIT_DEFAULT: Gas = Gas::new(1_000_000_000);
/// Most events or storage entries in one response; the caller asks again from where it stopped.
pub const PAGE_ENTRIES_MAX: u32 = limits::SCAN_ENTRIES_MAX;

/// What tests ask of the host.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Request {
    /// First request: agrees on [`PROTOCOL_VERSION`]. Answered by [`Response::Hello`].
    Hello {
        /// Version that the tests speak.
        version: u32,
    },
    /// Packs, installs and starts an application, so that `initialize` runs. [`Response::Report`].
    Install {
        /// Who installs and owns it.
        owner: AccountId,
        /// The text of its `manifest.json`; `files` is filled in by the host.
        manifest: String,
        /// Its compiled module.
        wasm: Vec<u8>,
        /// Borsh arguments of `initialize`.
        arguments: Vec<u8>,
    },
    /// Replaces an application's code and runs `migrate`. [`Response::Report`].
    Upgrade {
        /// Who upgrades; only the owner may.
        owner: AccountId,
        /// The text of the newer `manifest.json`.
        manifest: String,
        /// The newer module.
        wasm: Vec<u8>,
        /// Borsh arguments of `migrate` after the old version.
        arguments: Vec<u8>,
    },
    /// Starts a stopped application. [`Response::Report`].
    Start {
        /// Who starts it; only the owner may.
        owner: AccountId,
        /// Which.
        app: AppId,
    },
    /// Stops a running application. [`Response::Report`].
    Stop {
        /// Who stops it; only the owner may.
        owner: AccountId,
        /// Which.
        app: AppId,
    },
    /// Removes a stopped application and its state. [`Response::Report`].
    Uninstall {
        /// Who removes it; only the owner may.
        owner: AccountId,
        /// Which.
        app: AppId,
    },
    /// Calls a method in a block of its own. [`Response::Report`].
    Call {
        /// Who calls.
        caller: AccountId,
        /// Which application.
        app: AppId,
        /// Method, as in its schema.
        method: String,
        /// Borsh arguments.
        arguments: Vec<u8>,
        /// Native units that go to the application with the call; the caller must have them.
        deposit: Amount,
        /// Gas limit of the transaction; `None` means [`GAS_LIMIT_DEFAULT`].
        gas_limit: Option<Gas>,
    },
    /// Runs a query at the head; makes no block. [`Response::Answer`].
    Query {
        /// Who asks.
        caller: AccountId,
        /// Which application.
        app: AppId,
        /// Query name without the `query_` prefix.
        method: String,
        /// Borsh arguments.
        arguments: Vec<u8>,
        /// Most gas it may use; `None` means [`GAS_LIMIT_DEFAULT`].
        gas_limit: Option<Gas>,
    },
    /// Adds newly made native units to an account; makes no block. [`Response::Done`].
    Fund {
        /// Whose.
        account: AccountId,
        /// How much more.
        amount: Amount,
    },
    /// Reads a native balance. [`Response::Balance`].
    Balance {
        /// Whose.
        account: AccountId,
    },
    /// Reads the account that an application owns, installed or not. [`Response::Account`].
    AppAccount {
        /// Which.
        app: AppId,
    },
    /// Chooses height and time of the next block; until then queries see them as if an empty block had been
    /// made. Heights must grow and times must not go back. [`Response::Block`] with what was chosen.
    SetBlock {
        /// Height; `None` leaves what the next block would have.
        height: Option<Height>,
        /// Time; `None` leaves what the next block would have.
        time: Option<TimestampMs>,
    },
    /// Makes empty blocks. [`Response::Block`] with the new head.
    Advance {
        /// How many.
        blocks: u64,
    },
    /// Reads height and time that a query would see now. [`Response::Block`].
    Block,
    /// Lists events of all applications since the start, in order of emission. [`Response::Events`].
    Events {
        /// Position of the first one wanted; the first event of the chain is 0.
        from: u64,
        /// At most this many; 0 or more than [`PAGE_ENTRIES_MAX`] means that.
        limit: u32,
    },
    /// Registers a device. [`Response::Report`].
    RegisterDevice {
        /// Who registers and owns it.
        owner: AccountId,
        /// Its name.
        id: DeviceId,
        /// W3C WoT Thing Description 1.1, JSON.
        description: String,
        /// Where it is; may be empty.
        area: String,
        /// Free labels.
        tags: Vec<String>,
        /// Its public key.
        key: DeviceKey,
    },
    /// Gives a device to another owner. [`Response::Report`].
    TransferDevice {
        /// Its owner.
        owner: AccountId,
        /// Which.
        id: DeviceId,
        /// New owner.
        to: AccountId,
    },
    /// Takes a device out for good. [`Response::Report`].
    RevokeDevice {
        /// Its owner.
        owner: AccountId,
        /// Which.
        id: DeviceId,
    },
    /// Reads one value of an application's storage. [`Response::Value`].
    StorageGet {
        /// Which application.
        app: AppId,
        /// Which key.
        key: Vec<u8>,
    },
    /// Lists an application's storage in key order. [`Response::Entries`]; an empty list is the end.
    StorageScan {
        /// Which application.
        app: AppId,
        /// First key wanted, included; empty for the start.
        from: Vec<u8>,
        /// At most this many; 0 or more than [`PAGE_ENTRIES_MAX`] means that. The host may stop earlier to
        /// keep the frame small, but not before one entry.
        limit: u32,
    },
    /// Chooses how many blocks on top make a block final, which applications may ask; 0 at the start.
    /// [`Response::Done`].
    SetConfirmationDepth {
        /// How many.
        blocks: u64,
    },
}

/// What the host answers.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Response {
    /// To [`Request::Hello`].
    Hello {
        /// Version that the host speaks.
        version: u32,
        /// Name and version of the host's binary, for people.
        host: String,
    },
    /// What a block with one transaction did.
    Report(Report),
    /// What a query gave.
    Answer(Answer),
    /// It is done and there is nothing to tell.
    Done,
    /// A balance.
    Balance(Amount),
    /// An account.
    Account(AccountId),
    /// A height and its time.
    Block {
        /// Height.
        height: Height,
        /// Time.
        time: TimestampMs,
    },
    /// A page of events.
    Events(Vec<EmittedEvent>),
    /// A value, or `None` when the key is not there.
    Value(Option<Vec<u8>>),
    /// A page of storage.
    Entries(Vec<StorageEntry>),
    /// The request itself makes no sense, and nothing has changed: a time in the past, an unreadable manifest.
    Refused {
        /// What was wrong and what was expected.
        message: String,
    },
    /// The host cannot go on and ends.
    Fault {
        /// What failed.
        message: String,
    },
}

/// What a block with one transaction did.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Report {
    /// The action's result, empty for actions without one; or why nothing took effect.
    pub outcome: CallOutcome,
    /// Work done, the transaction's base price included.
    pub gas_used: Gas,
    /// In order of emission; empty when it failed.
    pub events: Vec<Event>,
    /// Height of the block.
    pub height: Height,
    /// Time of the block.
    pub time: TimestampMs,
    /// Log lines and a symbolised backtrace, for people.
    pub diagnostic: Option<String>,
}

/// What a query gave.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Answer {
    /// Its result, or why not.
    pub outcome: CallOutcome,
    /// Work done.
    pub gas_used: Gas,
    /// Log lines and a symbolised backtrace, for people.
    pub diagnostic: Option<String>,
}

/// An event and where it is in history.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EmittedEvent {
    /// Position in [`Request::Events`].
    pub position: u64,
    /// Height of the block that emitted it.
    pub height: Height,
    /// Time of that block.
    pub time: TimestampMs,
    /// What happened.
    pub event: Event,
}

/// Says why a frame cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than any frame may be.
    #[error("frame has {size_bytes} bytes; at most {FRAME_BYTES_MAX} are allowed")]
    TooLarge {
        /// Bytes announced or needed.
        size_bytes: usize,
    },
    /// Not borsh of the expected type, or followed by other bytes.
    #[error("frame is not a message of protocol version {PROTOCOL_VERSION}: {reason}")]
    Malformed {
        /// What the decoder found.
        reason: String,
    },
    /// The pipe failed, or ended inside a frame.
    #[error("the pipe failed: {0}")]
    Pipe(#[from] io::Error),
}

/// Writes one message and flushes.
pub fn write_frame<W: Write, M: BorshSerialize>(writer: &mut W, message: &M) -> Result<(), FrameError> {
    let bytes = borsh::to_vec(message)?;
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|_| bytes.len() <= FRAME_BYTES_MAX)
        .ok_or(FrameError::TooLarge { size_bytes: bytes.len() })?;
    writer.write_all(&length.to_le_bytes())?;
    writer.write_all(&bytes)?;
    writer.flush()?;
    Ok(())
}

/// Reads one message; `None` when the other side closed the pipe between frames.
pub fn read_frame<R: Read, M: BorshDeserialize>(reader: &mut R) -> Result<Option<M>, FrameError> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match reader.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let size_bytes = u32::from_le_bytes(length) as usize;
    if size_bytes > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { size_bytes });
    }
    // Grows with what arrives, so that a forged length allocates nothing.
    let mut bytes = Vec::new();
    reader.by_ref().take(size_bytes as u64).read_to_end(&mut bytes)?;
    if bytes.len() < size_bytes {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let message = borsh::from_slice(&bytes)
        .map_err(|error| FrameError::Malformed { reason: alloc::string::ToString::to_string(&error) })?;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &impl BorshSerialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, message).unwrap();
        bytes
    }

    #[test]
    fn frames_follow_each_other() {
        let requests = [Request::Block, Request::Advance { blocks: 3 }, Request::Hello { version: 1 }];
        let bytes: Vec<u8> = requests.iter().flat_map(framed).collect();
        let mut reader = bytes.as_slice();
        for request in &requests {
            assert_eq!(read_frame::<_, Request>(&mut reader).unwrap().as_ref(), Some(request));
        }
        assert!(read_frame::<_, Request>(&mut reader).unwrap().is_none(), "a clean end is no error");
    }

    #[test]
    fn the_encoding_is_length_then_borsh() {
        assert_eq!(framed(&Request::Advance { blocks: 2 }), [9, 0, 0, 0, 12, 2, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn broken_frames_are_refused() {
        let good = framed(&Request::Advance { blocks: 2 });
        for cut in 1..good.len() {
            let result = read_frame::<_, Request>(&mut &good[..cut]);
            assert!(matches!(result, Err(FrameError::Pipe(_))), "cut after {cut} bytes: {result:?}");
        }
        let result = read_frame::<_, Request>(&mut &[0xff; 8][..]);
        assert!(matches!(result, Err(FrameError::TooLarge { .. })), "{result:?}");
        let result = read_frame::<_, Request>(&mut &[1, 0, 0, 0, 0xee][..]);
        assert!(matches!(result, Err(FrameError::Malformed { .. })), "{result:?}");
        let mut trailing = good;
        trailing[0] += 1;
        trailing.push(0);
        let result = read_frame::<_, Request>(&mut trailing.as_slice());
        assert!(matches!(result, Err(FrameError::Malformed { .. })), "{result:?}");
        let oversized =
            Request::StorageGet { app: "token".parse().unwrap(), key: alloc::vec![0; FRAME_BYTES_MAX] };
        let result = write_frame(&mut Vec::new(), &oversized);
        assert!(matches!(result, Err(FrameError::TooLarge { .. })), "{result:?}");
    }
}
