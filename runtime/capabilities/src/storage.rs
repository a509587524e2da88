//! `purlin.storage.v1`: the application's own keys and values.

use purlin_abi::host::STORAGE;
use purlin_abi::limits::{SCAN_ENTRIES_MAX, STORAGE_KEY_BYTES_MAX, STORAGE_VALUE_BYTES_MAX};
use purlin_engine::{Guest, HostFault, HostRegistry};

use crate::Host;
use crate::context::{
    Context, Function, GAS, Price, Slice, Space, bad_argument, begin, check_length, deliver, price,
};

type Caller<'a, 'b, H> = &'a mut Guest<'b, Context<H>>;

pub(crate) fn register<H: Host>(registry: &mut HostRegistry<Context<H>>) {
    registry
        .function(
            STORAGE,
            "get",
            |guest: Caller<'_, '_, H>, key: u32, length: u32, out: u32, capacity: u32| {
                check_length("the key", length, STORAGE_KEY_BYTES_MAX)?;
                let space = (out, capacity);
                let cost = Price {
                    run: GAS.storage_read + price(GAS.storage_read_byte, length as usize),
                    result_byte: GAS.storage_read_byte,
                };
                deliver(guest, Function::StorageGet, &[(key, length)], [0; 2], space, cost, |guest| {
                    let (memory, context) = guest.parts()?;
                    context.host_mut().storage_get(memory.read(key, length)?)
                })
            },
        )
        .function(
            STORAGE,
            "set",
            |guest: Caller<'_, '_, H>, key: u32, key_length: u32, value: u32, value_length: u32| {
                check_length("the key", key_length, STORAGE_KEY_BYTES_MAX)?;
                check_length("the value", value_length, STORAGE_VALUE_BYTES_MAX)?;
                let bytes = key_length as usize + value_length as usize;
                begin(guest, GAS.storage_write + price(GAS.storage_write_byte + GAS.copy_byte, bytes))?;
                let (memory, context) = guest.parts()?;
                context.check_write()?;
                let (key, value) = (memory.read(key, key_length)?, memory.read(value, value_length)?);
                context.host_mut().storage_set(key, value)
            },
        )
        .function(STORAGE, "remove", |guest: Caller<'_, '_, H>, key: u32, length: u32| {
            check_length("the key", length, STORAGE_KEY_BYTES_MAX)?;
            begin(guest, GAS.storage_write + price(GAS.storage_write_byte, length as usize))?;
            let (memory, context) = guest.parts()?;
            context.check_write()?;
            let key = memory.read(key, length)?;
            Ok(u32::from(context.host_mut().storage_remove(key)?))
        })
        .function(
            STORAGE,
            "scan",
            |guest: Caller<'_, '_, H>,
             from: u32,
             from_length: u32,
             to: u32,
             to_length: u32,
             limit: u32,
             order: u32,
             out: u32,
             capacity: u32| {
                scan(guest, (from, from_length), (to, to_length), limit, order, (out, capacity))
            },
        );
}

fn scan<H: Host>(
    guest: Caller<'_, '_, H>,
    from: Slice,
    to: Slice,
    limit: u32,
    order: u32,
    space: Space,
) -> Result<i32, HostFault> {
    check_length("the first key", from.1, STORAGE_KEY_BYTES_MAX)?;
    check_length("the end key", to.1, STORAGE_KEY_BYTES_MAX)?;
    let descending = match order {
        0 => false,
        1 => true,
        other => return Err(bad_argument(format!("order {other} is neither 0 (up) nor 1 (down)"))),
    };
    let numbers = [u64::from(limit), u64::from(order)];
    let cost = Price { run: GAS.storage_read, result_byte: 0 };
    deliver(guest, Function::StorageScan, &[from, to], numbers, space, cost, |guest| {
        // One entry more than the gas left can pay for ends the call, so no more need be read.
        let affordable = guest.gas_left().get() / GAS.scan_entry + 1;
        let steps_max = u32::try_from(affordable).unwrap_or(u32::MAX);
        let limit = limit.min(SCAN_ENTRIES_MAX);
        let (memory, context) = guest.parts()?;
        let (from, to) = (memory.read(from.0, from.1)?, memory.read(to.0, to.1)?);
        let scan = context.host_mut().storage_scan(from, to, descending, limit, steps_max)?;
        let bytes: usize = scan.entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
        let steps = price(GAS.scan_entry, scan.entries.len() + scan.removed);
        guest.charge(steps.saturating_add(price(GAS.storage_read_byte, bytes + scan.removed_bytes)))?;
        crate::context::encoded(&scan.entries).map(Some)
    })
}
