//! `purlin.events.v1`: what the receipt tells the world.

use purlin_abi::host::EVENTS;
use purlin_abi::limits::{EVENT_PAYLOAD_BYTES_MAX, EVENT_TOPIC_BYTES_MAX};
use purlin_engine::{Guest, HostRegistry};

use crate::Host;
use crate::context::{Context, GAS, bad_argument, begin, check_length, price, text};

pub(crate) fn register<H: Host>(registry: &mut HostRegistry<Context<H>>) {
    registry.function(
        EVENTS,
        "emit",
        |guest: &mut Guest<'_, Context<H>>,
         topic: u32,
         topic_length: u32,
         payload: u32,
         payload_length: u32| {
            check_length("the topic", topic_length, EVENT_TOPIC_BYTES_MAX)?;
            check_length("the payload", payload_length, EVENT_PAYLOAD_BYTES_MAX)?;
            let bytes = topic_length as usize + payload_length as usize;
            begin(guest, GAS.event + price(GAS.event_byte + GAS.copy_byte, bytes))?;
            let (memory, context) = guest.parts()?;
            context.check_write()?;
            let topic = text("the topic", memory.read(topic, topic_length)?)?;
            if topic.is_empty() {
                return Err(bad_argument("the topic is empty"));
            }
            let payload = memory.read(payload, payload_length)?;
            context.host_mut().emit(topic, payload)
        },
    );
}
