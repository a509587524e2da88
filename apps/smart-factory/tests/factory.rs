//! The factory as its owner, its machines and its onlookers see it, natively and as wasm.

use purlin_sdk::CallError;
use purlin_sdk::abi::{AccountId, DeviceId, TimestampMs};
use purlin_smart_factory::detector::{Direction, Thresholds, VALUE_MILLI_MAX};
use purlin_smart_factory::{
    AlertCleared, AlertKey, AlertRaised, AlertState, CLOCK_TOLERANCE_MS, FactoryError, MachineAdded,
    MachineState, READINGS_KEPT, READINGS_PER_REPORT_MAX, Reading, ReportSummary, SmartFactory,
};
use purlin_testing::{Chain, Installed, TestDevice};

struct Scene {
    factory: Installed<SmartFactory>,
    /// Owns the application.
    boss: AccountId,
    /// Owns the devices.
    alice: AccountId,
    /// Has no part in it.
    mallory: AccountId,
}

fn press() -> TestDevice {
    TestDevice::new("press-1")
}

fn id(name: &str) -> DeviceId {
    name.parse().expect("it is a device id")
}

fn at(time: u64) -> TimestampMs {
    TimestampMs::new(time)
}

/// A factory with one machine, `press-1`.
fn scene(chain: &Chain) -> Scene {
    let [boss, alice, mallory] = ["boss", "alice", "mallory"].map(|name| chain.account(name));
    let factory = chain.install::<SmartFactory>(boss, ());
    chain.register_device(alice, &press());
    factory.by(boss).add_machine(press().id).expect("it is registered");
    Scene { factory, boss, alice, mallory }
}

/// Thresholds under which a few dozen readings make an alert.
fn quick() -> Thresholds {
    Thresholds {
        warm_up_readings: 20,
        baseline_readings: 1_000,
        alarm_milli: 16_000,
        clear_readings: 15,
        ..Thresholds::default()
    }
}

/// One reading per second from `from` on: small noise around a level.
fn readings(from: u64, count: u64, level_milli: i64) -> Vec<Reading> {
    let noise = [0, 120, -80, 40, -110, 90, -30];
    let value = |number: u64| level_milli + noise[(number % 7) as usize];
    (from..from + count)
        .map(|number| Reading { time: at(number * 1_000), value_milli: value(number) })
        .collect()
}

/// Two alerts: one cleared at about second 80, one still raised.
fn with_alerts(chain: &Chain) -> Scene {
    let scene = scene(chain);
    scene.factory.by(scene.boss).set_thresholds(quick()).expect("they are in range");
    let report = |from, count, level| {
        scene.factory.by(scene.alice).report(press().id, readings(from, count, level)).expect("it is fine")
    };
    report(1, 30, 20_000);
    report(31, 20, 23_000);
    report(51, 49, 20_000);
    report(100, 10, 15_000);
    scene
}

purlin_testing::tests! {
    fn machines_are_registered_devices_that_the_owner_adds(chain: &Chain) {
        let Scene { factory, boss, alice, mallory } = scene(chain);
        assert_eq!(factory.last_events::<MachineAdded>(), [MachineAdded { machine: press().id }]);
        let add = |who: AccountId, name: &str| factory.by(who).add_machine(id(name));
        assert_eq!(add(mallory, "oven-1"), Err(CallError::App(FactoryError::NotOwner { owner: boss })));
        let error = FactoryError::DeviceNotRegistered { machine: id("oven-1") };
        assert_eq!(add(boss, "oven-1"), Err(CallError::App(error)));
        let error = FactoryError::MachineExists { machine: id("press-1") };
        assert_eq!(add(boss, "press-1"), Err(CallError::App(error)));
        let oven = TestDevice::new("oven-1");
        chain.register_device(alice, &oven);
        chain.revoke_device(alice, &oven);
        assert_eq!(add(boss, "oven-1"), Err(CallError::App(FactoryError::DeviceRevoked { machine: oven.id })));
    }

    fn only_the_device_s_people_report(chain: &Chain) {
        let Scene { factory, boss, alice, mallory } = scene(chain);
        let report = |who: AccountId, from: u64| factory.by(who).report(press().id, readings(from, 1, 0));
        let refused = |owner| Err(CallError::App(FactoryError::NotReporter { machine: press().id, owner }));
        assert!(report(alice, 1).is_ok());
        assert_eq!(report(mallory, 2), refused(alice));
        assert_eq!(report(boss, 2), refused(alice), "owning the application is no right to report");
        let not_owner = CallError::App(FactoryError::NotDeviceOwner { machine: press().id, owner: alice });
        assert_eq!(factory.by(mallory).set_operator(press().id, Some(mallory)), Err(not_owner));
        factory.by(alice).set_operator(press().id, Some(mallory)).expect("alice owns the device");
        assert!(report(mallory, 2).is_ok());
        assert!(report(alice, 3).is_ok());
        chain.transfer_device(alice, &press(), boss);
        assert_eq!(report(mallory, 4), refused(boss), "the new owner named nobody");
        assert_eq!(report(alice, 4), refused(boss));
        assert!(report(boss, 4).is_ok());
        chain.revoke_device(boss, &press());
        assert_eq!(report(boss, 5), Err(CallError::App(FactoryError::DeviceRevoked { machine: press().id })));
        let error = FactoryError::UnknownMachine { machine: id("oven-1") };
        assert_eq!(factory.by(alice).report(id("oven-1"), Vec::new()), Err(CallError::App(error)));
    }

    fn a_batch_sent_again_is_skipped(chain: &Chain) {
        let Scene { factory, alice, .. } = scene(chain);
        let client = factory.by(alice);
        let report = |from, count| {
            client.report(press().id, readings(from, count, 0)).map(|summary| (summary.accepted, summary.skipped))
        };
        assert_eq!(client.last_reading(press().id), Ok(None));
        let summary = ReportSummary {
            accepted: 10, skipped: 0, last_time: Some(at(19_000)), alerts_raised: 0, alerts_cleared: 0
        };
        assert_eq!(client.report(press().id, readings(10, 10, 0)), Ok(summary));
        let before = factory.dump();
        assert_eq!(report(10, 10), Ok((0, 10)));
        assert_eq!(report(1, 5), Ok((0, 5)));
        assert_eq!(client.report(press().id, Vec::new()).map(|summary| summary.last_time), Ok(Some(at(19_000))));
        assert_eq!(factory.dump(), before);
        assert_eq!(report(15, 10), Ok((5, 5)));
        assert_eq!(client.last_reading(press().id), Ok(readings(24, 1, 0).pop()));
        let kept = client.readings(press().id, None, None, 0).expect("the machine is known");
        assert_eq!(kept.readings, readings(10, 15, 0));
    }

    fn bad_batches_are_refused_whole(chain: &Chain) {
        let Scene { factory, alice, .. } = scene(chain);
        let before = factory.dump();
        let refused = |readings: Vec<Reading>, error| {
            assert_eq!(factory.by(alice).report(press().id, readings), Err(CallError::App(error)));
            assert_eq!(factory.dump(), before);
        };
        let mut unordered = readings(1, 5, 0);
        unordered[3].time = unordered[2].time;
        let error = FactoryError::TimeNotGrowing { index: 3, time: at(3_000), previous: at(3_000) };
        refused(unordered, error);
        for value_milli in [VALUE_MILLI_MAX + 1, -VALUE_MILLI_MAX - 1, i64::MIN] {
            let mut large = readings(1, 5, 0);
            large[4].value_milli = value_milli;
            let error = FactoryError::ValueOutOfRange { index: 4, value_milli, max_milli: VALUE_MILLI_MAX };
            refused(large, error);
        }
        let max = READINGS_PER_REPORT_MAX as u32;
        refused(readings(1, u64::from(max) + 1, 0), FactoryError::TooManyReadings { found: max + 1, max });
        let now = chain.block().1.get() + 1_000_000;
        chain.set_time(now);
        let latest = now + CLOCK_TOLERANCE_MS;
        let ahead = Reading { time: at(latest + 1), value_milli: 0 };
        refused(vec![ahead], FactoryError::TimeAhead { time: ahead.time, latest: at(latest) });
        chain.set_time(now + 10_000);
        assert!(factory.by(alice).report(press().id, vec![ahead]).is_ok());
    }

    fn alerts_are_raised_and_cleared_as_events(chain: &Chain) {
        let Scene { factory, boss, alice, mallory } = scene(chain);
        factory.by(boss).set_thresholds(quick()).expect("they are in range");
        let client = factory.by(alice);
        let status = || factory.by(mallory).machine(press().id).expect("the machine is known");
        client.report(press().id, readings(1, 19, 20_000)).expect("it is fine");
        assert_eq!(status().state, MachineState::WarmingUp);
        client.report(press().id, readings(20, 11, 20_000)).expect("it is fine");
        assert_eq!((status().state, status().readings, status().alert), (MachineState::Normal, 30, None));
        let summary = client.report(press().id, readings(31, 20, 23_000)).expect("it is fine");
        assert_eq!((summary.alerts_raised, summary.alerts_cleared), (1, 0));
        let raised = factory.last_events::<AlertRaised>();
        let [AlertRaised { machine, alert: 0, direction: Direction::High, since, time, score_milli, .. }] = &raised[..]
        else {
            panic!("expected one alert, got {raised:?}")
        };
        assert_eq!((machine, *since), (&press().id, at(31_000)));
        assert!((at(32_000)..at(36_000)).contains(time), "raised at {time}");
        assert!(*score_milli >= 1_000);
        let now = status();
        assert_eq!((now.state, now.direction, now.alert), (MachineState::Alert, Some(Direction::High), Some(0)));
        client.report(press().id, readings(51, 49, 20_000)).expect("it is fine");
        let cleared = factory.last_events::<AlertCleared>();
        let [AlertCleared { alert: 0, time, peak_milli, .. }] = &cleared[..] else {
            panic!("expected one end, got {cleared:?}")
        };
        assert!((at(66_000)..at(99_000)).contains(time), "cleared at {time}");
        assert!(*peak_milli > 3_000, "peak {peak_milli}");
        let now = status();
        assert_eq!((now.state, now.direction, now.alert, now.alerts), (MachineState::Normal, None, None, 1));
    }

    fn alerts_are_found_by_state_time_and_machine(chain: &Chain) {
        let Scene { factory, mallory, .. } = with_alerts(chain);
        let find = |machine: Option<&str>, state, from: Option<u64>, to: Option<u64>| {
            let page = factory.by(mallory).alerts(machine.map(id), state, from.map(at), to.map(at), None, 0);
            let page = page.expect("a query");
            assert_eq!(page.next, None);
            page.alerts.iter().map(|alert| (alert.alert, alert.direction)).collect::<Vec<_>>()
        };
        let (first, second) = ((0, Direction::High), (1, Direction::Low));
        assert_eq!(find(None, None, None, None), [first, second]);
        assert_eq!(find(Some("press-1"), None, None, None), [first, second]);
        assert_eq!(find(Some("oven-1"), None, None, None), []);
        assert_eq!(find(None, Some(AlertState::Raised), None, None), [second]);
        assert_eq!(find(None, Some(AlertState::Cleared), None, None), [first]);
        assert_eq!(find(None, None, Some(90_000), None), [second]);
        assert_eq!(find(None, None, None, Some(90_000)), [first]);
        let page = |machine: Option<&str>, after| {
            let page = factory.by(mallory).alerts(machine.map(id), None, None, None, after, 1).expect("a query");
            (page.alerts.iter().map(|alert| alert.alert).collect::<Vec<_>>(), page.next)
        };
        let (alerts, next) = page(None, None);
        assert_eq!((alerts, &next), (vec![0], &Some(AlertKey { machine: id("press-1"), alert: 0 })));
        assert_eq!(page(None, next.clone()), (vec![1], None));
        assert_eq!(page(Some("press-1"), next), (vec![1], None));
        let elsewhere = Some(AlertKey { machine: id("oven-1"), alert: 9 });
        assert_eq!(page(Some("press-1"), elsewhere).0, [0], "a page of another machine does not lead astray");
    }

    fn machines_are_found_by_state(chain: &Chain) {
        let Scene { factory, boss, alice, mallory } = with_alerts(chain);
        for name in ["oven-1", "saw-1"] {
            chain.register_device(alice, &TestDevice::new(name));
            factory.by(boss).add_machine(id(name)).expect("it is registered");
        }
        factory.by(alice).report(id("saw-1"), readings(1, 40, 5_000)).expect("it is fine");
        let find = |state, after: Option<&str>, limit| {
            let page = factory.by(mallory).machines(state, after.map(id), limit).expect("a query");
            let names: Vec<String> = page.machines.iter().map(|status| status.machine.to_string()).collect();
            (names.join(" "), page.next.map(|next| next.to_string()))
        };
        assert_eq!(find(None, None, 0), ("oven-1 press-1 saw-1".into(), None));
        assert_eq!(find(Some(MachineState::WarmingUp), None, 0).0, "oven-1");
        assert_eq!(find(Some(MachineState::Alert), None, 0).0, "press-1");
        assert_eq!(find(Some(MachineState::Normal), None, 0).0, "saw-1");
        assert_eq!(find(None, None, 2), ("oven-1 press-1".into(), Some("press-1".into())));
        assert_eq!(find(None, Some("press-1"), 2), ("saw-1".into(), None));
    }

    fn the_last_readings_are_kept_and_found_by_time(chain: &Chain) {
        let Scene { factory, alice, mallory, .. } = scene(chain);
        let total = READINGS_KEPT + 500;
        let mut sent = 0;
        // Uneven batches, so that they end inside and on the borders of chunks.
        for count in [1, 127, 128, 129, 300].into_iter().chain([1_000; 10]) {
            let count = count.min(total - sent);
            factory.by(alice).report(press().id, readings(1 + sent, count, 0)).expect("it is fine");
            sent += count;
        }
        let all = readings(1, total, 0);
        let client = factory.by(mallory);
        let (mut kept, mut from) = (Vec::new(), None);
        loop {
            let page = client.readings(press().id, from, None, 100).expect("the machine is known");
            assert!(page.readings.len() <= 100);
            kept.extend(page.readings);
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        assert!(kept.len() as u64 >= READINGS_KEPT && (kept.len() as u64) < total, "{} are kept", kept.len());
        assert_eq!(kept, all[all.len() - kept.len()..]);
        let find = |from: u64, to: u64| {
            let page = client.readings(press().id, Some(at(from)), Some(at(to)), 0).expect("the machine is known");
            page.readings.iter().map(|reading| reading.time.get()).collect::<Vec<_>>()
        };
        let end = total * 1_000;
        assert_eq!(find(end - 2_500, end), [end - 2_000, end - 1_000]);
        assert_eq!(find(end, u64::MAX), [end]);
        assert_eq!(find(end + 1, u64::MAX), [0_u64; 0]);
        assert_eq!(find(0, 1_000), [0_u64; 0]);
        assert_eq!(find(end, end - 1_000), [0_u64; 0]);
    }

    fn thresholds_are_the_owner_s(chain: &Chain) {
        let Scene { factory, boss, alice, mallory } = scene(chain);
        let thresholds = |machine: Option<&str>| factory.by(mallory).thresholds(machine.map(id));
        assert_eq!(thresholds(None), Ok(Thresholds::default()));
        let not_owner = CallError::App(FactoryError::NotOwner { owner: boss });
        assert_eq!(factory.by(alice).set_thresholds(quick()), Err(not_owner.clone()));
        assert_eq!(factory.by(alice).set_machine_thresholds(press().id, None), Err(not_owner));
        let bad = Thresholds { clear_readings: 0, ..quick() };
        let error = FactoryError::BadThreshold { field: "clear_readings".into(), min: 1, max: 100_000, found: 0 };
        assert_eq!(error.to_string(), "threshold clear_readings is 0; expected 1 to 100000");
        assert_eq!(factory.by(boss).set_thresholds(bad.clone()), Err(CallError::App(error.clone())));
        assert_eq!(factory.by(boss).set_machine_thresholds(press().id, Some(bad)), Err(CallError::App(error)));
        factory.by(boss).set_machine_thresholds(press().id, Some(quick())).expect("they are in range");
        assert_eq!((thresholds(None), thresholds(Some("press-1"))), (Ok(Thresholds::default()), Ok(quick())));
        factory.by(boss).set_machine_thresholds(press().id, None).expect("they are there");
        assert_eq!(thresholds(Some("press-1")), Ok(Thresholds::default()));
        factory.by(boss).transfer_ownership(alice).expect("boss owns it");
        assert!(factory.by(alice).set_thresholds(quick()).is_ok());
        assert!(factory.by(boss).set_thresholds(quick()).is_err());
        assert_eq!(thresholds(Some("press-1")), Ok(quick()));
    }

    fn a_removed_machine_leaves_nothing(chain: &Chain) {
        let [boss, alice] = ["boss", "alice"].map(|name| chain.account(name));
        let factory = chain.install::<SmartFactory>(boss, ());
        factory.by(boss).set_thresholds(quick()).expect("they are in range");
        let before = factory.dump();
        chain.register_device(alice, &press());
        factory.by(boss).add_machine(press().id).expect("it is registered");
        for (from, count, level) in [(1, 30, 20_000), (31, 20, 23_000), (51, 500, 20_000)] {
            factory.by(alice).report(press().id, readings(from, count, level)).expect("it is fine");
        }
        assert!(factory.by(alice).remove_machine(press().id).is_err());
        assert_eq!(factory.by(boss).remove_machine(press().id), Ok(()));
        assert_eq!(factory.dump(), before);
        factory.by(boss).add_machine(press().id).expect("it can come back");
        assert_eq!(factory.by(alice).machine(press().id).map(|status| (status.readings, status.alerts)), Ok((0, 0)));
    }
}
