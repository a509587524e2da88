//! `purlin.accounts.v1`: native balances, and transfers from the application's account.

use purlin_abi::host::ACCOUNTS;
use purlin_abi::{AccountId, Amount};
use purlin_engine::{Guest, HostRegistry};

use crate::Host;
use crate::context::{Context, GAS, begin};

type Caller<'a, 'b, H> = &'a mut Guest<'b, Context<H>>;

pub(crate) fn register<H: Host>(registry: &mut HostRegistry<Context<H>>) {
    registry
        .function(ACCOUNTS, "balance", |guest: Caller<'_, '_, H>, account: u32, out: u32| {
            begin(guest, GAS.account)?;
            let (mut memory, context) = guest.parts()?;
            let account = AccountId::new(*memory.array(account)?);
            let balance = context.host_mut().balance(&account)?;
            memory.write(out, &balance.get().to_le_bytes())
        })
        .function(ACCOUNTS, "transfer", |guest: Caller<'_, '_, H>, to: u32, amount: u32| {
            // Two balances are read and written.
            begin(guest, 2 * (GAS.account + GAS.storage_write))?;
            let (memory, context) = guest.parts()?;
            context.check_write()?;
            let to = AccountId::new(*memory.array(to)?);
            let amount = Amount::new(u128::from_le_bytes(*memory.array(amount)?));
            Ok(u32::from(!context.host_mut().transfer(&to, amount)?))
        });
}
