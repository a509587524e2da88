//! State of one call between the guest and its host, and the conventions that all functions share.

use purlin_abi::host::ABSENT;
use purlin_abi::{FailureCode, GasSchedule};
use purlin_engine::{Guest, GuestMemory, HostFault};

use crate::Host;

/// Prices of this version of the rules.
pub(crate) const GAS: GasSchedule = GasSchedule::V1;

/// What one call keeps; the engine's data.
pub(crate) struct Context<H> {
    /// `None` only while another application runs.
    host: Option<H>,
    pub(crate) arguments: Vec<u8>,
    pub(crate) output: Vec<u8>,
    /// A result that did not fit into what the guest offered.
    pending: Option<Pending>,
}

/// A result paid for and not delivered yet.
struct Pending {
    function: Function,
    numbers: [u64; 2],
    /// The guest's input bytes, one after the other, with their lengths.
    inputs: Vec<(u32, Vec<u8>)>,
    result: Vec<u8>,
}

/// The functions that return bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Input,
    AppId,
    StorageGet,
    StorageScan,
    AppsCall,
    AppsQuery,
    DevicesGet,
    DevicesList,
}

/// A pointer and length that a guest gave.
pub(crate) type Slice = (u32, u32);

/// Where a guest wants a result: pointer and capacity.
pub(crate) type Space = (u32, u32);

impl<H: Host> Context<H> {
    pub(crate) fn new(host: H, arguments: Vec<u8>) -> Self {
        Self { host: Some(host), arguments, output: Vec::new(), pending: None }
    }

    /// Returns the host.
    #[inline]
    pub(crate) fn host(&self) -> &H {
        self.host.as_ref().expect("the host is away only while another application runs")
    }

    /// Returns the host, to be changed.
    #[inline]
    pub(crate) fn host_mut(&mut self) -> &mut H {
        self.host.as_mut().expect("the host is away only while another application runs")
    }

    /// Hands the host to `work` and takes it back.
    pub(crate) fn lend_host<R>(&mut self, work: impl FnOnce(H) -> (H, R)) -> R {
        let host = self.host.take().expect("the host is away only while another application runs");
        let (host, result) = work(host);
        self.host = Some(host);
        result
    }

    /// Tells whether a result waits to be delivered.
    pub(crate) fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    pub(crate) fn into_parts(self) -> (H, Vec<u8>) {
        (self.host.expect("the host was given back"), self.output)
    }

    /// Refuses a write in a query.
    #[inline]
    pub(crate) fn check_write(&self) -> Result<(), HostFault> {
        if self.host().read_only() { Err(write_in_query()) } else { Ok(()) }
    }
}

#[cold]
fn write_in_query() -> HostFault {
    HostFault::failure(FailureCode::WriteInQuery, "a query may not write")
}

/// Begins a function that returns no bytes: charges the entry and `gas`, and forgets an undelivered result.
#[inline]
pub(crate) fn begin<H: Host>(guest: &mut Guest<'_, Context<H>>, gas: u64) -> Result<(), HostFault> {
    if guest.data().pending.is_some() {
        guest.data_mut().pending = None;
    }
    guest.charge(GAS.host_call.saturating_add(gas))
}

/// Returns the price of `count` things of one kind.
#[inline]
pub(crate) fn price(each: u64, count: usize) -> u64 {
    each.saturating_mul(count as u64)
}

/// Checks a length before anything of that length is read.
#[inline]
pub(crate) fn check_length(what: &str, length: u32, limit: usize) -> Result<(), HostFault> {
    if length as usize <= limit { Ok(()) } else { Err(too_long(what, length, limit)) }
}

#[cold]
fn too_long(what: &str, length: u32, limit: usize) -> HostFault {
    HostFault::failure(
        FailureCode::LimitExceeded,
        format!("{what} has {length} bytes; at most {limit} are allowed"),
    )
}

#[cold]
pub(crate) fn bad_argument(message: impl Into<String>) -> HostFault {
    HostFault::failure(FailureCode::BadArgument, message)
}

/// Reads text that must be UTF-8.
pub(crate) fn text<'m>(what: &str, bytes: &'m [u8]) -> Result<&'m str, HostFault> {
    std::str::from_utf8(bytes).map_err(|_| bad_argument(format!("{what} is not UTF-8")))
}

/// What a function that returns bytes costs beside its entry and the copy of the result.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Price {
    /// Charged before it runs.
    pub(crate) run: u64,
    /// Charged for each byte of the result.
    pub(crate) result_byte: u64,
}

/// Runs a function that returns bytes, by the capacity convention: a result that does not fit is kept, and
/// the same call with room enough, made at once, delivers it without running or charging again.
///
/// The entry, `cost` and the copy are charged here, `run` charges what depends on the work.
pub(crate) fn deliver<H: Host>(
    guest: &mut Guest<'_, Context<H>>,
    function: Function,
    inputs: &[Slice],
    numbers: [u64; 2],
    space: Space,
    cost: Price,
    run: impl FnOnce(&mut Guest<'_, Context<H>>) -> Result<Option<Vec<u8>>, HostFault>,
) -> Result<i32, HostFault> {
    let (out, capacity) = space;
    if let Some(pending) = guest.data_mut().pending.take() {
        let (memory, _) = guest.parts()?;
        if pending.matches(function, inputs, numbers, &memory)? {
            return hand_over(guest, &pending.result, out, capacity);
        }
    }
    guest.charge(GAS.host_call.saturating_add(cost.run))?;
    let Some(result) = run(guest)? else { return Ok(ABSENT) };
    guest.charge(price(GAS.copy_byte + cost.result_byte, result.len()))?;
    if result.len() <= capacity as usize {
        guest.write(out, &result)?;
        return length(result.len());
    }
    let returned = length(result.len())?;
    let (memory, context) = guest.parts()?;
    let inputs = inputs
        .iter()
        .map(|(pointer, length)| Ok((*length, memory.read(*pointer, *length)?.to_vec())))
        .collect::<Result<_, HostFault>>()?;
    context.pending = Some(Pending { function, numbers, inputs, result });
    Ok(returned)
}

/// Delivers a kept result.
#[cold]
fn hand_over<H: Host>(
    guest: &mut Guest<'_, Context<H>>,
    result: &[u8],
    out: u32,
    capacity: u32,
) -> Result<i32, HostFault> {
    if result.len() > capacity as usize {
        // Asking a third time would be free work for ever.
        return Err(bad_argument(format!(
            "the result has {} bytes, as the call before said; {capacity} are too few",
            result.len()
        )));
    }
    guest.write(out, result)?;
    length(result.len())
}

/// Returns a length as guests get it.
pub(crate) fn length(bytes: usize) -> Result<i32, HostFault> {
    i32::try_from(bytes)
        .map_err(|_| HostFault::failure(FailureCode::LimitExceeded, "a result is larger than 2 GiB"))
}

impl Pending {
    fn matches(
        &self,
        function: Function,
        inputs: &[Slice],
        numbers: [u64; 2],
        memory: &GuestMemory<'_>,
    ) -> Result<bool, HostFault> {
        if self.function != function || self.numbers != numbers || self.inputs.len() != inputs.len() {
            return Ok(false);
        }
        for ((known_length, known), (pointer, length)) in self.inputs.iter().zip(inputs) {
            if known_length != length || memory.read(*pointer, *length)? != known {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Encodes a result as borsh.
pub(crate) fn encoded<T: borsh::BorshSerialize>(value: &T) -> Result<Vec<u8>, HostFault> {
    borsh::to_vec(value).map_err(|error| HostFault::Node(Box::new(error)))
}
