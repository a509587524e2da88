//! `purlin.devices.v1`: reading the device registry.

use borsh::BorshDeserialize;
use purlin_abi::host::DEVICES;
use purlin_abi::limits::{
    DEVICE_ID_LENGTH_MAX, DEVICE_LABEL_BYTES_MAX, DEVICE_LIST_MAX, DEVICES_EXAMINED_MAX,
};
use purlin_abi::{DeviceFilter, DeviceId};
use purlin_engine::{Guest, HostFault, HostRegistry};

use crate::Host;
use crate::context::{
    Context, Function, GAS, Price, Slice, Space, bad_argument, check_length, deliver, encoded, price, text,
};

type Caller<'a, 'b, H> = &'a mut Guest<'b, Context<H>>;

/// Longest encoded filter: an account, three labels and an id with their lengths and tags, and the limit.
const FILTER_BYTES_MAX: usize =
    (1 + 20) + 3 * (1 + 4 + DEVICE_LABEL_BYTES_MAX) + (1 + 4 + DEVICE_ID_LENGTH_MAX) + 4;

/// Price of beginning to read.
const READ: Price = Price { run: GAS.device_read, result_byte: 0 };

pub(crate) fn register<H: Host>(registry: &mut HostRegistry<Context<H>>) {
    registry
        .function(
            DEVICES,
            "get",
            |guest: Caller<'_, '_, H>, id: u32, length: u32, out: u32, capacity: u32| {
                get(guest, (id, length), (out, capacity))
            },
        )
        .function(
            DEVICES,
            "list",
            |guest: Caller<'_, '_, H>, filter: u32, length: u32, out: u32, capacity: u32| {
                list(guest, (filter, length), (out, capacity))
            },
        );
}

fn get<H: Host>(guest: Caller<'_, '_, H>, id: Slice, space: Space) -> Result<i32, HostFault> {
    check_length("the device id", id.1, DEVICE_ID_LENGTH_MAX)?;
    deliver(guest, Function::DevicesGet, &[id], [0; 2], space, READ, |guest| {
        let (memory, context) = guest.parts()?;
        let name = text("the device id", memory.read(id.0, id.1)?)?;
        let id = DeviceId::new(name).map_err(|error| bad_argument(error.to_string()))?;
        match context.host_mut().device(&id)? {
            Some(device) => encoded(&device).map(Some),
            None => Ok(None),
        }
    })
}

fn list<H: Host>(guest: Caller<'_, '_, H>, filter: Slice, space: Space) -> Result<i32, HostFault> {
    check_length("the device filter", filter.1, FILTER_BYTES_MAX)?;
    deliver(guest, Function::DevicesList, &[filter], [0; 2], space, READ, |guest| {
        let affordable = guest.gas_left().get() / GAS.device_read + 1;
        let affordable = u32::try_from(affordable).unwrap_or(u32::MAX);
        let (memory, context) = guest.parts()?;
        let mut filter = DeviceFilter::try_from_slice(memory.read(filter.0, filter.1)?)
            .map_err(|error| bad_argument(format!("the device filter cannot be read: {error}")))?;
        if filter.limit == 0 || filter.limit > DEVICE_LIST_MAX {
            filter.limit = DEVICE_LIST_MAX;
        }
        // One entry more than the gas left can pay for ends the call, so no more need be read.
        filter.limit = filter.limit.min(affordable);
        let examined_max = affordable.min(DEVICES_EXAMINED_MAX);
        let found = match context.host_mut().devices(&filter, examined_max) {
            // It was read all the same.
            Err(refusal @ HostFault::Failure(_)) => {
                guest.charge(price(GAS.device_read, examined_max as usize))?;
                return Err(refusal);
            }
            found => found?,
        };
        let read = found.devices.len().max(found.examined as usize);
        guest.charge(price(GAS.device_read, read))?;
        encoded(&found.devices).map(Some)
    })
}
