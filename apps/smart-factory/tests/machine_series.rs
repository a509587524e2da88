//! The labelled series of a real machine, reported in batches: alerts lie where its owner saw faults.
#![allow(clippy::unwrap_used, reason = "this is test code")]

mod series;

use purlin_sdk::abi::TimestampMs;
use purlin_smart_factory::{AlertCleared, AlertRaised, Reading, SmartFactory};
use purlin_testing::{Backend, Chain, Installed, TestDevice};
use series::Series;

/// Gas of a batch of 500 readings may not pass this: a twentieth of what one call may use by default.
const BATCH_GAS_MAX: u64 = 5_000_000;

/// Reports the whole series and returns the factory.
fn report(chain: &Chain, series: &Series, batch: usize) -> Installed<SmartFactory> {
    let owner = chain.account("owner");
    let machine = TestDevice::new("machine-1");
    chain.register_device(owner, &machine);
    let factory = chain.install::<SmartFactory>(owner, ());
    factory.by(owner).add_machine(machine.id.clone()).unwrap();
    let mut readings: Vec<Reading> = Vec::new();
    for (time, value_milli) in &series.readings {
        let time = TimestampMs::new(*time);
        // The file repeats an hour once; a sender leaves out what is not later.
        if readings.last().is_none_or(|last| last.time < time) {
            readings.push(Reading { time, value_milli: *value_milli });
        }
    }
    assert_eq!(readings.len(), 22_683);
    let mut gas_max = 0;
    for batch in readings.chunks(batch) {
        let summary = factory.by(owner).report(machine.id.clone(), batch.to_vec()).unwrap();
        assert_eq!(summary.accepted as usize, batch.len());
        gas_max = gas_max.max(chain.gas_used().map_or(0, |gas| gas.get()));
    }
    println!("{batch} readings in a batch: at most {gas_max} gas");
    assert!(gas_max < BATCH_GAS_MAX, "{gas_max} gas");
    factory
}

purlin_testing::tests! {
    fn faults_are_found_and_few_alerts_are_false(chain: &Chain) {
        let series = Series::machine();
        let factory = report(chain, &series, 500);
        let raised: Vec<u64> = factory.events::<AlertRaised>().iter().map(|alert| alert.time.get()).collect();
        let (found, outside) = series.score(&raised);
        assert!(found >= 3 && outside <= 10, "{found} of 4 windows, {outside} outside, raised at {raised:?}");
        assert_eq!(raised.len(), 6);
        assert_eq!(factory.events::<AlertCleared>().len(), 6);
    }
}

#[test]
fn the_size_of_batches_does_not_matter() {
    let series = Series::machine();
    let [one, other] = [500, 37].map(|batch| report(&Chain::start(Backend::Native), &series, batch));
    assert_eq!(one.dump(), other.dump());
    assert_eq!(one.events::<AlertRaised>(), other.events::<AlertRaised>());
}

#[test]
fn wasm_and_native_leave_the_same_state() {
    if purlin_testing::wasm_is_wanted() {
        let series = Series::machine();
        let [native, wasm] =
            [Backend::Native, Backend::Wasm].map(|backend| report(&Chain::start(backend), &series, 500));
        assert_eq!(native.dump(), wasm.dump());
        assert_eq!(native.events::<AlertRaised>(), wasm.events::<AlertRaised>());
    }
}
