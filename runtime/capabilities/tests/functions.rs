//! What the runtime offers is what the ABI says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use purlin_abi::GasSchedule;
use purlin_abi::host::FUNCTIONS;
use purlin_capabilities::testing::MemoryHost;
use purlin_capabilities::{Runtime, RuntimeConfig};

#[test]
fn the_registered_functions_are_those_of_the_abi() {
    let runtime = Runtime::<MemoryHost>::new(&RuntimeConfig::default()).unwrap();
    let describe =
        |module: &str, name: &str, params, result| format!("{module} {name} {params:?} {result:?}");
    let mut registered: Vec<_> = runtime
        .functions()
        .iter()
        .map(|function| describe(&function.module, &function.name, function.params, function.result))
        .collect();
    let mut expected: Vec<_> = FUNCTIONS
        .iter()
        .map(|function| describe(function.module, function.name, function.params, function.result))
        .collect();
    registered.sort();
    expected.sort();
    assert_eq!(registered, expected);
}

#[test]
fn a_module_that_imports_everything_links() {
    let ran = common::check("");
    assert_eq!(ran.outcome, Ok(Vec::new()));
    assert_eq!(ran.gas.get(), GasSchedule::V1.instantiate + 1);
}
