//! The token as its holders see it, natively and as wasm.

use purlin_sdk::CallError;
use purlin_sdk::abi::{AccountId, FailureCode};
use purlin_testing::{Chain, Installed};
use purlin_token::{Approved, Burned, Minted, OwnerChanged, Token, TokenError, TokenInfo, Transferred};

fn people(chain: &Chain) -> [AccountId; 3] {
    ["alice", "bob", "carol"].map(|name| chain.account(name))
}

fn install(chain: &Chain, owner: AccountId, supply: u128) -> Installed<Token> {
    chain.install::<Token>(owner, ("Co-op Energy Credit".into(), "CEC".into(), 2, supply))
}

purlin_testing::tests! {
    fn the_installer_owns_the_initial_supply(chain: &Chain) {
        let [alice, bob, _] = people(chain);
        let token = install(chain, alice, 1_000);
        let client = token.by(bob);
        let info = TokenInfo { name: "Co-op Energy Credit".into(), symbol: "CEC".into(), decimals: 2 };
        assert_eq!(client.info(), Ok(info));
        assert_eq!(client.owner(), Ok(alice));
        assert_eq!(client.total_supply(), Ok(1_000));
        assert_eq!((client.balance_of(alice), client.balance_of(bob)), (Ok(1_000), Ok(0)));
        assert_eq!(token.last_events::<Minted>(), [Minted { to: alice, amount: 1_000 }]);
    }

    fn bad_names_are_refused_and_leave_nothing(chain: &Chain) {
        let [alice, ..] = people(chain);
        let long = "x".repeat(65);
        for (name, symbol, decimals, code) in [
            ("", "CEC", 2, 5),
            (" Credit", "CEC", 2, 5),
            (long.as_str(), "CEC", 2, 5),
            ("Credit", "", 2, 6),
            ("Credit", "C\nC", 2, 6),
            ("Credit", "CEC", 39, 7),
        ] {
            let failure = chain.try_install::<Token>(alice, (name.into(), symbol.into(), decimals, 1)).unwrap_err();
            assert_eq!((failure.code, failure.app_code), (FailureCode::AppError, Some(code)), "{name:?} {symbol:?}");
        }
        // A refused install leaves the name free.
        install(chain, alice, 1);
    }

    fn transfers_move_units_and_say_so(chain: &Chain) {
        let [alice, bob, carol] = people(chain);
        let token = install(chain, alice, 1_000);
        assert_eq!(token.by(alice).transfer(bob, 300), Ok(()));
        assert_eq!(token.last_events::<Transferred>(), [Transferred { from: alice, to: bob, amount: 300 }]);
        assert_eq!(token.by(bob).transfer(carol, 300), Ok(()));
        let balances = [alice, bob, carol].map(|account| token.by(bob).balance_of(account).unwrap());
        assert_eq!(balances, [700, 0, 300]);
        assert_eq!(token.by(bob).total_supply(), Ok(1_000));
    }

    fn nobody_moves_more_than_they_have(chain: &Chain) {
        let [alice, bob, _] = people(chain);
        let token = install(chain, alice, 1_000);
        let before = token.dump();
        let error = TokenError::InsufficientBalance { account: alice, balance: 1_000, amount: 1_001 };
        assert_eq!(error.to_string(), format!("{alice} has 1000, which is less than 1001"));
        assert_eq!(token.by(alice).transfer(bob, 1_001), Err(CallError::App(error)));
        let error = TokenError::InsufficientBalance { account: bob, balance: 0, amount: 1 };
        assert_eq!(token.by(bob).burn(1), Err(CallError::App(error)));
        assert_eq!(chain.last_report().events, []);
        assert_eq!(token.dump(), before);
    }

    fn a_transfer_to_oneself_changes_nothing(chain: &Chain) {
        let [alice, bob, _] = people(chain);
        let token = install(chain, alice, 1_000);
        let before = token.dump();
        assert_eq!(token.by(alice).transfer(alice, 1_000), Ok(()));
        assert_eq!(token.last_events::<Transferred>(), [Transferred { from: alice, to: alice, amount: 1_000 }]);
        assert!(token.by(bob).transfer(bob, 1).is_err());
        assert_eq!(token.by(bob).transfer(alice, 0), Ok(()));
        assert_eq!(token.dump(), before);
    }

    fn an_empty_balance_takes_no_storage(chain: &Chain) {
        let [alice, bob, _] = people(chain);
        let token = install(chain, alice, 1_000);
        let before = token.dump();
        token.by(alice).transfer(bob, 1_000).unwrap();
        token.by(bob).transfer(alice, 1_000).unwrap();
        token.by(alice).approve(bob, 5).unwrap();
        token.by(bob).transfer_from(alice, alice, 5).unwrap();
        assert_eq!(token.dump(), before);
    }

    fn an_approved_spender_moves_up_to_the_allowance(chain: &Chain) {
        let [alice, bob, carol] = people(chain);
        let token = install(chain, alice, 1_000);
        assert_eq!(token.by(alice).approve(bob, 250), Ok(()));
        assert_eq!(token.last_events::<Approved>(), [Approved { owner: alice, spender: bob, amount: 250 }]);
        assert_eq!(token.by(bob).transfer_from(alice, carol, 200), Ok(()));
        assert_eq!(token.by(carol).allowance(alice, bob), Ok(50));
        let error = TokenError::InsufficientAllowance { owner: alice, spender: bob, allowance: 50, amount: 51 };
        assert_eq!(token.by(bob).transfer_from(alice, carol, 51), Err(CallError::App(error)));
        assert!(token.by(carol).transfer_from(alice, carol, 1).is_err(), "the allowance is for bob alone");
        assert_eq!(token.by(alice).approve(bob, 0), Ok(()));
        assert!(token.by(bob).transfer_from(alice, carol, 1).is_err(), "the allowance was taken back");
        assert_eq!(token.by(carol).balance_of(carol), Ok(200));
    }

    fn a_failed_transfer_keeps_the_allowance(chain: &Chain) {
        let [alice, bob, carol] = people(chain);
        let token = install(chain, alice, 10);
        token.by(alice).approve(bob, 100).unwrap();
        let error = TokenError::InsufficientBalance { account: alice, balance: 10, amount: 11 };
        assert_eq!(token.by(bob).transfer_from(alice, carol, 11), Err(CallError::App(error)));
        assert_eq!(token.by(bob).allowance(alice, bob), Ok(100));
    }

    fn minting_is_for_the_owner(chain: &Chain) {
        let [alice, bob, _] = people(chain);
        let token = install(chain, alice, 0);
        assert_eq!(token.by(alice).mint(bob, 70), Ok(()));
        assert_eq!(token.by(bob).mint(bob, 1), Err(CallError::App(TokenError::NotOwner { owner: alice })));
        assert_eq!(token.by(bob).transfer_ownership(bob), Err(CallError::App(TokenError::NotOwner { owner: alice })));
        assert_eq!(token.by(alice).transfer_ownership(bob), Ok(()));
        assert_eq!(token.last_events::<OwnerChanged>(), [OwnerChanged { from: alice, to: bob }]);
        assert_eq!(token.by(bob).mint(alice, 5), Ok(()));
        assert!(token.by(alice).mint(alice, 1).is_err());
        assert_eq!(token.by(bob).total_supply(), Ok(75));
    }

    fn burning_lowers_the_supply(chain: &Chain) {
        let [alice, ..] = people(chain);
        let token = install(chain, alice, 100);
        assert_eq!(token.by(alice).burn(40), Ok(()));
        assert_eq!(token.last_events::<Burned>(), [Burned { from: alice, amount: 40 }]);
        assert_eq!((token.by(alice).balance_of(alice), token.by(alice).total_supply()), (Ok(60), Ok(60)));
    }

    fn the_supply_stays_in_range(chain: &Chain) {
        let [alice, bob, _] = people(chain);
        let token = install(chain, alice, u128::MAX);
        let error = TokenError::SupplyOverflow { supply: u128::MAX, amount: 1 };
        assert_eq!(token.by(alice).mint(bob, 1), Err(CallError::App(error)));
        assert_eq!(token.by(alice).transfer(bob, u128::MAX), Ok(()));
        assert_eq!(token.by(alice).balance_of(bob), Ok(u128::MAX));
    }
}
