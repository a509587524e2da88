//! `purlin.core.v1`: arguments, result, context, log, and the ways to end a call.

use purlin_abi::host::CORE;
use purlin_abi::limits::{INPUT_BYTES_MAX, LOG_BYTES_MAX, MESSAGE_BYTES_MAX, OUTPUT_BYTES_MAX};
use purlin_abi::{AppId, CallFailure, FailureCode};
use purlin_engine::{Guest, HostFault, HostRegistry};

use crate::Host;
use crate::context::{
    self, Context, Function, GAS, Price, Space, bad_argument, begin, check_length, deliver, price, text,
};

type Caller<'a, 'b, H> = &'a mut Guest<'b, Context<H>>;

pub(crate) fn register<H: Host>(registry: &mut HostRegistry<Context<H>>) {
    registry
        .function(CORE, "input", |guest: Caller<'_, '_, H>, out: u32, capacity: u32| {
            input(guest, (out, capacity))
        })
        .function(CORE, "output", |guest: Caller<'_, '_, H>, pointer: u32, length: u32| {
            check_length("the result", length, OUTPUT_BYTES_MAX)?;
            begin(guest, price(GAS.copy_byte, length as usize))?;
            let (memory, context) = guest.parts()?;
            let bytes = memory.read(pointer, length)?;
            context.output.clear();
            context.output.extend_from_slice(bytes);
            Ok(())
        })
        .function(
            CORE,
            "fail",
            |guest: Caller<'_, '_, H>,
             code: u32,
             message: u32,
             message_length: u32,
             data: u32,
             data_length: u32| {
                fail(guest, code, (message, message_length), (data, data_length))
            },
        )
        .function(CORE, "abort", |guest: Caller<'_, '_, H>, pointer: u32, length: u32| {
            abort(guest, pointer, length)
        })
        .function(CORE, "caller", |guest: Caller<'_, '_, H>, out: u32| {
            begin(guest, price(GAS.copy_byte, 20))?;
            let caller = guest.data().host().caller();
            guest.write(out, caller.as_bytes())
        })
        .function(CORE, "app_id", |guest: Caller<'_, '_, H>, out: u32, capacity: u32| {
            deliver(guest, Function::AppId, &[], [0; 2], (out, capacity), Price::default(), |guest| {
                Ok(Some(guest.data().host().app_id().as_str().as_bytes().to_vec()))
            })
        })
        .function(CORE, "app_account", |guest: Caller<'_, '_, H>, app: u32, length: u32, out: u32| {
            begin(guest, GAS.hash_base)?;
            let app = app_id(guest, app, length)?;
            let account = guest.data().host().app_account(&app);
            guest.write(out, account.as_bytes())
        })
        .function(CORE, "block_height", |guest: Caller<'_, '_, H>| {
            begin(guest, 0)?;
            Ok(guest.data().host().block_height().get())
        })
        .function(CORE, "block_time", |guest: Caller<'_, '_, H>| {
            begin(guest, 0)?;
            Ok(guest.data().host().block_time().get())
        })
        .function(CORE, "confirmation_depth", |guest: Caller<'_, '_, H>| {
            begin(guest, 0)?;
            Ok(guest.data().host().confirmation_depth())
        })
        .function(CORE, "gas_left", |guest: Caller<'_, '_, H>| {
            begin(guest, 0)?;
            Ok(guest.gas_left().get())
        })
        .function(CORE, "deposit", |guest: Caller<'_, '_, H>, out: u32| {
            begin(guest, price(GAS.copy_byte, 16))?;
            let deposit = guest.data().host().deposit();
            guest.write(out, &deposit.get().to_le_bytes())
        })
        .function(CORE, "log", |guest: Caller<'_, '_, H>, level: u32, pointer: u32, length: u32| {
            log(guest, level, pointer, length)
        });
}

/// Hands over the arguments; those that fit are not copied first.
fn input<H: Host>(guest: Caller<'_, '_, H>, space: Space) -> Result<i32, HostFault> {
    let length = guest.data().arguments.len();
    if length > space.1 as usize || guest.data().has_pending() {
        return deliver(guest, Function::Input, &[], [0; 2], space, Price::default(), |guest| {
            Ok(Some(guest.data().arguments.clone()))
        });
    }
    begin(guest, price(GAS.copy_byte, length))?;
    let (mut memory, context) = guest.parts()?;
    memory.write(space.0, &context.arguments)?;
    context::length(length)
}

/// Reads an application's name.
pub(crate) fn app_id<H: Host>(
    guest: Caller<'_, '_, H>,
    pointer: u32,
    length: u32,
) -> Result<AppId, HostFault> {
    check_length("the app id", length, purlin_abi::limits::APP_ID_LENGTH_MAX)?;
    let bytes = guest.read(pointer, length)?;
    AppId::new(text("the app id", bytes)?).map_err(|error| bad_argument(error.to_string()))
}

fn fail<H: Host>(
    guest: Caller<'_, '_, H>,
    code: u32,
    message: (u32, u32),
    data: (u32, u32),
) -> Result<(), HostFault> {
    check_length("the error message", message.1, INPUT_BYTES_MAX)?;
    check_length("the error value", data.1, OUTPUT_BYTES_MAX)?;
    begin(guest, price(GAS.copy_byte, message.1 as usize + data.1 as usize))?;
    let text = shortened(guest.read(message.0, message.1)?, MESSAGE_BYTES_MAX);
    let app_error = guest.read(data.0, data.1)?.to_vec();
    Err(HostFault::Failure(CallFailure {
        code: FailureCode::AppError,
        app: None,
        message: text,
        app_code: Some(code),
        app_error,
    }))
}

fn abort<H: Host>(guest: Caller<'_, '_, H>, pointer: u32, length: u32) -> Result<(), HostFault> {
    check_length("the panic message", length, INPUT_BYTES_MAX)?;
    begin(guest, price(GAS.copy_byte, length as usize))?;
    let message = shortened(guest.read(pointer, length)?, MESSAGE_BYTES_MAX);
    Err(HostFault::failure(FailureCode::Panic, message))
}

fn log<H: Host>(guest: Caller<'_, '_, H>, level: u32, pointer: u32, length: u32) -> Result<(), HostFault> {
    check_length("the log line", length, INPUT_BYTES_MAX)?;
    begin(guest, price(GAS.copy_byte, length as usize))?;
    let (memory, context) = guest.parts()?;
    let line = shortened(memory.read(pointer, length)?, LOG_BYTES_MAX);
    context.host_mut().log(level.min(4) as u8, &line);
    Ok(())
}

/// Makes text of bytes: at most so many, cut at a character boundary, with what is not UTF-8 replaced.
fn shortened(bytes: &[u8], limit: usize) -> String {
    // A replacement is three bytes for at least one, so no more than `limit` bytes can matter.
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(limit + 4)]).into_owned();
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_character_boundary() {
        for (bytes, limit, expected) in [
            ("abc".as_bytes(), 3, "abc"),
            ("abcd".as_bytes(), 3, "abc"),
            ("aé".as_bytes(), 2, "a"),
            ("aé".as_bytes(), 3, "aé"),
            (b"a\xff".as_slice(), 9, "a\u{fffd}"),
            (b"a\xff".as_slice(), 3, "a"),
            (b"".as_slice(), 3, ""),
        ] {
            assert_eq!(shortened(bytes, limit), expected);
        }
    }
}
