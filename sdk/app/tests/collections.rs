//! Collections: what they store where, and in which order they give it back.

mod support;

use std::rc::Rc;

use purlin_sdk::prelude::*;
use purlin_sdk::storage::Order;
use purlin_sdk::{Collection, OrderedKey};
use support::{Host, run};

fn on_host(code: impl FnOnce()) -> Rc<Host> {
    let host = Rc::new(Host::default());
    run(&host, code);
    host
}

fn keys(host: &Host) -> Vec<Vec<u8>> {
    host.storage.borrow().keys().cloned().collect()
}

#[test]
fn an_item_is_one_key_and_only_set_writes_it() {
    let host = on_host(|| {
        let mut count = Item::<u64>::at("count");
        assert_eq!((count.get(), count.get_or_default(), count.exists()), (None, 0, false));
        count.set(&7);
        let mut read = count.get().unwrap();
        read += 1;
        assert_eq!((read, count.get()), (8, Some(7)));
    });
    assert_eq!(keys(&host), [b"count"]);
    assert_eq!(host.storage.borrow()[&b"count"[..]], 7u64.to_le_bytes());
    run(&host, || assert!(Item::<u64>::at("count").remove()));
    assert!(keys(&host).is_empty());
}

#[test]
fn a_map_keeps_to_its_prefix() {
    let host = on_host(|| {
        let mut balances = Map::<String, u64>::at("balances");
        let mut other = Map::<String, u64>::at("balances2");
        balances.set(&"a".to_string(), &1);
        other.set(&"a".to_string(), &2);
        assert_eq!(balances.get(&"a".to_string()), Some(1));
        assert_eq!(balances.get_or_default(&"b".to_string()), 0);
        assert!(balances.contains(&"a".to_string()) && !balances.contains(&"b".to_string()));
        assert_eq!(balances.iter().collect::<Vec<_>>(), [("a".to_string(), 1)]);
        assert!(balances.remove(&"a".to_string()) && !balances.remove(&"a".to_string()));
        assert_eq!(balances.iter().count(), 0);
    });
    assert_eq!(keys(&host), [b"balances2:\x01\0\0\0a"]);
}

#[test]
fn maps_and_sets_are_listed_in_pages() {
    on_host(|| {
        let mut map = Map::<[u8; 2], u8>::at("map");
        let mut set = Set::<[u8; 2]>::at("set");
        for index in 0..10 {
            map.set(&[0, index], &index);
            assert!(set.insert(&[0, index]));
        }
        assert!(!set.insert(&[0, 3]) && set.contains(&[0, 3]));
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = map.page(after.as_ref(), 4);
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            assert_eq!(set.page(seen.last().map(|value| [0, *value]).as_ref(), 4).len(), page.len());
            seen.extend(page.into_iter().map(|(_, value)| value));
        }
        assert_eq!(seen, (0..10).collect::<Vec<u8>>());
        assert!(set.remove(&[0, 3]) && !set.contains(&[0, 3]));
        assert_eq!(set.iter().count(), 9);
    });
}

#[test]
fn a_vector_is_in_order_beyond_one_byte_of_index() {
    let host = on_host(|| {
        let mut log = Vector::<u32>::at("log");
        for value in 0..300 {
            assert_eq!(log.push(&value), u64::from(value));
        }
        assert_eq!((log.len(), log.get(299), log.get(300)), (300, Some(299), None));
        assert_eq!(log.iter().collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());
        assert_eq!(log.iter().rev().take(2).collect::<Vec<_>>(), [299, 298]);
        assert_eq!(log.range(254..257).collect::<Vec<_>>(), [(254, 254), (255, 255), (256, 256)]);
        log.set(0, &9).unwrap();
        assert_eq!(log.set(300, &9).unwrap_err().to_string(), "index 300 is not below the length 300");
        assert_eq!(log.pop(), Some(299));
        assert_eq!((log.len(), log.get(0), log.get(299)), (299, Some(9), None));
    });
    assert!(host.storage.borrow().contains_key(&b"log#len"[..]));
    assert!(host.storage.borrow().contains_key(&[&b"log:"[..], &256u64.to_be_bytes()].concat()));
}

#[test]
fn ordered_keys_sort_as_their_values_and_come_back() {
    fn check<K: OrderedKey + Ord + Clone + std::fmt::Debug>(mut values: Vec<K>) {
        let encode = |value: &K| {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            bytes
        };
        values.sort();
        values.dedup();
        let keys: Vec<Vec<u8>> = values.iter().map(encode).collect();
        for (index, pair) in keys.windows(2).enumerate() {
            assert!(pair[0] < pair[1], "{:?} before {:?}", values[index], values[index + 1]);
            assert!(!pair[1].starts_with(&pair[0]), "{:?} begins {:?}", values[index], values[index + 1]);
        }
        for (key, value) in keys.iter().zip(&values) {
            let mut rest = key.as_slice();
            assert_eq!(K::decode(&mut rest).as_ref(), Some(value));
            assert!(rest.is_empty());
            assert!(K::decode(&mut &key[..key.len() - 1]).is_none(), "cut {value:?}");
        }
    }
    check(vec![i64::MIN, -256, -2, -1, 0, 1, 255, 256, i64::MAX]);
    check(vec![i8::MIN, -1, 0, 1, i8::MAX]);
    check(vec![i128::MIN, -1, 0, 1, i128::MAX]);
    check(vec![0u64, 1, 255, 256, u64::MAX]);
    check(vec![false, true]);
    let texts = ["", "a", "a\0", "a\0b", "a\u{1}", "aa", "b", "ä"].map(String::from);
    check(texts.to_vec());
    check(texts.iter().flat_map(|text| [0u8, 255].map(|number| (text.clone(), number))).collect());
    check(vec![(-1i32, 5u8, "x".to_string()), (-1, 5, "".to_string()), (-2, 9, "z".to_string())]);
    check(vec![Height::new(1), Height::new(256)]);
    check(vec![AppId::new("ab").unwrap(), AppId::new("ab-c").unwrap(), AppId::new("b1").unwrap()]);
    check(vec![AccountId::ZERO, AccountId::new([255; 20])]);
}

#[test]
fn an_ordered_map_ranges_over_negative_numbers_both_ways() {
    on_host(|| {
        let mut map = OrderedMap::<i64, String>::at("map");
        for key in [5, -1, 0, -300, 299, -2] {
            map.set(&key, &key.to_string());
        }
        let keys = |entries: Vec<(i64, String)>| {
            entries
                .into_iter()
                .map(|(key, value)| (value == key.to_string()).then_some(key).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(map.iter().collect()), [-300, -2, -1, 0, 5, 299]);
        assert_eq!(keys(map.iter().rev().collect()), [299, 5, 0, -1, -2, -300]);
        assert_eq!(keys(map.range(-2..5).collect()), [-2, -1, 0]);
        assert_eq!(keys(map.range(-2..=5).rev().collect()), [5, 0, -1, -2]);
        assert_eq!(keys(map.range(..0).collect()), [-300, -2, -1]);
        assert_eq!(keys(map.range(6..).collect()), [299]);
        let behind = (std::ops::Bound::Excluded(-2), std::ops::Bound::Unbounded);
        assert_eq!(keys(map.range(behind).take(2).collect()), [-1, 0]);
        let (low, high) = (-5, 5);
        assert_eq!(map.range(high..low).count(), 0, "an inverted range is empty");
        assert_eq!((map.first().unwrap().0, map.last().unwrap().0), (-300, 299));
        assert_eq!(keys(map.page(.., Order::Descending, 2)), [299, 5]);
        assert_eq!(map.page(.., Order::Ascending, 0), []);
        assert_eq!(
            (map.get(&-1), map.contains(&1), map.get_or_default(&1)),
            (Some("-1".into()), false, String::new())
        );
        assert!(map.remove(&-300));
        assert_eq!(map.first().unwrap().0, -2);
    });
}

#[test]
fn iteration_reads_pages_that_double_and_meets_in_the_middle() {
    let host = on_host(|| {
        let mut map = OrderedMap::<u32, ()>::at("map");
        for key in 0..100 {
            map.set(&key, &());
        }
        assert!(map.iter().map(|(key, ())| key).eq(0..100));
    });
    assert_eq!(*host.scans.borrow(), [8, 16, 32, 64]);
    host.scans.borrow_mut().clear();
    run(&host, || {
        let map = OrderedMap::<u32, ()>::at("map");
        let mut entries = map.iter().map(|(key, ())| key);
        let (mut low, mut high) = (Vec::new(), Vec::new());
        while let Some(key) = entries.next() {
            low.push(key);
            high.extend(entries.next_back());
        }
        high.reverse();
        low.extend(high);
        assert_eq!(low, (0..100).collect::<Vec<_>>());
        assert_eq!(map.page(10.., Order::Ascending, 5).len(), 5);
    });
    assert_eq!(host.scans.borrow().last(), Some(&5), "a page reads no more than it gives");
}

#[test]
fn a_scan_cut_by_its_size_is_not_taken_for_the_end() {
    on_host(|| {
        let mut map = OrderedMap::<u8, Vec<u8>>::at("map");
        for key in 0..20 {
            map.set(&key, &vec![key; 60_000]);
        }
        assert!(map.iter().map(|(key, _)| key).eq(0..20));
        assert!(map.iter().rev().map(|(key, _)| key).eq((0..20).rev()));
    });
}

#[test]
fn a_value_of_another_type_names_the_field() {
    let host = on_host(|| Item::<u8>::at("count").set(&1));
    let ended = purlin_sdk::native::run(host, || Item::<u64>::at("count").get()).unwrap_err();
    let message = "state field `count` holds another type than the code expects; convert it in #[migrate]";
    assert_eq!(ended, purlin_sdk::native::Ended::Abort { message: message.to_string() });
}
