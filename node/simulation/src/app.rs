//! A small application that some seeds install and call.

use purlin_modules::apps;
use purlin_package::PackageBuilder;
use purlin_primitives::{Action, Amount};
use purlin_state::StateReader;
use std::sync::OnceLock;

use crate::random::Random;

const NAME: &str = "simulated-app";
/// Longest argument of a call.
const ARGUMENT_BYTES_MAX: u64 = 40;
/// Bytes of a file that is only there to be large: more than is gossiped whole, so that ids are announced.
const FILLING_BYTES: usize = 60_000;

/// Installs and starts it.
pub(crate) fn install() -> Action {
    static PACKAGE: OnceLock<Vec<u8>> = OnceLock::new();
    let package = PACKAGE.get_or_init(|| {
        let manifest = format!(
            r#"{{"id": "{NAME}", "name": "{NAME}", "version": "1.0.0", "abi": 1,
                "permissions": ["storage", "events"], "auto_start": true}}"#
        );
        let wasm = wat::parse_str(include_str!("app.wat")).expect("it is good text");
        let mut random = Random::new(1, 1);
        let filling = (0..FILLING_BYTES).map(|_| b' ' + (random.next() % 90) as u8).collect();
        let mut builder = PackageBuilder::new(manifest.as_bytes()).expect("it is a good manifest");
        builder.file("contract.wasm", wasm).expect("it is a good file");
        builder.file("README.md", filling).expect("it is a good file");
        builder.build().expect("it is a good package")
    });
    Action::InstallApp { package: package.clone(), arguments: Vec::new() }
}

/// Calls it; an empty argument is a trap.
pub(crate) fn call(random: &mut Random) -> Action {
    let length = random.between(0, ARGUMENT_BYTES_MAX);
    Action::CallApp {
        app: NAME.parse().expect("it is a good name"),
        method: "put".to_owned(),
        arguments: (0..length).map(|_| random.next() as u8).collect(),
        deposit: Amount::new(u128::from(random.between(0, 3))),
    }
}

/// Says whether it runs in a state.
pub(crate) fn runs(state: &dyn StateReader) -> bool {
    let record = NAME.parse().ok().and_then(|id| apps::app(&mut &*state, &id).ok().flatten());
    record.is_some_and(|record| record.status == apps::AppStatus::Running)
}
