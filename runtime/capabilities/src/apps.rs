//! `purlin.apps.v1`: calling and querying other applications.

use purlin_abi::host::APPS;
use purlin_abi::limits::{APP_ID_LENGTH_MAX, INPUT_BYTES_MAX, METHOD_NAME_BYTES_MAX};
use purlin_abi::{Amount, Gas};
use purlin_engine::{Guest, HostFault, HostRegistry};

use crate::context::{
    Context, Function, GAS, Price, Slice, Space, check_length, deliver, encoded, price, text,
};
use crate::core::app_id;
use crate::{AppCall, AppCallReport, Host};

type Caller<'a, 'b, H> = &'a mut Guest<'b, Context<H>>;

/// Bytes of an amount in memory.
const AMOUNT_BYTES: u32 = 16;

/// What a guest asked for, still in its memory.
struct Request {
    function: Function,
    app: Slice,
    method: Slice,
    arguments: Slice,
    /// Pointer to the amount; a query has none.
    deposit: Option<u32>,
    gas: u64,
}

pub(crate) fn register<H: Host>(registry: &mut HostRegistry<Context<H>>) {
    registry
        .function(
            APPS,
            "call",
            |guest: Caller<'_, '_, H>,
             app: u32,
             app_length: u32,
             method: u32,
             method_length: u32,
             arguments: u32,
             arguments_length: u32,
             deposit: u32,
             gas: u64,
             out: u32,
             capacity: u32| {
                let request = Request {
                    function: Function::AppsCall,
                    app: (app, app_length),
                    method: (method, method_length),
                    arguments: (arguments, arguments_length),
                    deposit: Some(deposit),
                    gas,
                };
                run(guest, &request, (out, capacity))
            },
        )
        .function(
            APPS,
            "query",
            |guest: Caller<'_, '_, H>,
             app: u32,
             app_length: u32,
             method: u32,
             method_length: u32,
             arguments: u32,
             arguments_length: u32,
             gas: u64,
             out: u32,
             capacity: u32| {
                let request = Request {
                    function: Function::AppsQuery,
                    app: (app, app_length),
                    method: (method, method_length),
                    arguments: (arguments, arguments_length),
                    deposit: None,
                    gas,
                };
                run(guest, &request, (out, capacity))
            },
        );
}

fn run<H: Host>(guest: Caller<'_, '_, H>, request: &Request, space: Space) -> Result<i32, HostFault> {
    check_length("the app id", request.app.1, APP_ID_LENGTH_MAX)?;
    check_length("the method name", request.method.1, METHOD_NAME_BYTES_MAX)?;
    check_length("the arguments", request.arguments.1, INPUT_BYTES_MAX)?;
    let mut inputs = vec![request.app, request.method, request.arguments];
    inputs.extend(request.deposit.map(|pointer| (pointer, AMOUNT_BYTES)));
    // Looking for the application is a read, whether it is there or not.
    let run = GAS.storage_read.saturating_add(price(GAS.copy_byte, request.arguments.1 as usize));
    let cost = Price { run, result_byte: 0 };
    deliver(guest, request.function, &inputs, [request.gas, 0], space, cost, |guest| {
        let query = request.deposit.is_none();
        if !query {
            guest.data().check_write()?;
        }
        let call = read(guest, request, query)?;
        if call.deposit != Amount::ZERO {
            guest.charge(2 * (GAS.account + GAS.storage_write))?;
        }
        let left = guest.gas_left();
        let gas = if request.gas == 0 { left } else { Gas::new(request.gas).min(left) };
        let call = AppCall { gas, ..call };
        let AppCallReport { outcome, gas_used } = guest.data_mut().lend_host(|host| host.call_app(call))?;
        guest.charge(gas_used.min(gas).get())?;
        encoded(&outcome).map(Some)
    })
}

fn read<H: Host>(guest: Caller<'_, '_, H>, request: &Request, query: bool) -> Result<AppCall, HostFault> {
    let app = app_id(guest, request.app.0, request.app.1)?;
    let (memory, _) = guest.parts()?;
    let method = text("the method name", memory.read(request.method.0, request.method.1)?)?.to_owned();
    let arguments = memory.read(request.arguments.0, request.arguments.1)?.to_vec();
    let deposit = match request.deposit {
        Some(pointer) => Amount::new(u128::from_le_bytes(*memory.array(pointer)?)),
        None => Amount::ZERO,
    };
    Ok(AppCall { app, method, arguments, deposit, gas: Gas::ZERO, query })
}
