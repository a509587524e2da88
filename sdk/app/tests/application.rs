//! A whole application with everything the macros know: exports, client, errors, events, schema.
#![allow(missing_docs, reason = "some items have no documentation to show what the schema says then")]

mod support;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use purlin_sdk::native::Ended;
use purlin_sdk::prelude::*;
use purlin_sdk::{App, ErrorNode};
use support::{Direct, Host, enter};

/// Keeps "orders".
#[derive(State)]
pub struct Shop {
    owner: Item<AccountId>,
    orders: Map<u64, Order>,
    sizes: OrderedMap<(i32, String), Vec<u8>>,
    log: Vector<String>,
    /// Docs of fields are for readers of the code.
    admins: Set<AccountId>,
}

/// One order.
#[derive(Schema, Debug, Clone, PartialEq)]
pub struct Order {
    /// How many.
    pub count: u16,
    pub note: Option<String>,
    pub way: Way,
    pub price: Price,
    pub tags: BTreeMap<String, [u8; 2]>,
}

/// A newtype is described as what it holds.
#[derive(Schema, Debug, Clone, PartialEq)]
pub struct Price(pub Amount);

#[derive(Schema, Debug, Clone, PartialEq)]
pub enum Way {
    Pickup,
    Post { street: String },
    Drone(i8, i8),
}

/// An order was placed.
#[derive(Event, Debug, PartialEq)]
pub struct OrderPlaced {
    pub number: u64,
    pub order: Order,
}

#[derive(Event)]
#[event(topic = "order.gone")]
pub struct OrderCancelled {
    number: u64,
}

#[derive(AppError, Debug, PartialEq)]
pub enum ShopError {
    /// only the owner may do this
    NotOwner,
    #[error("{count} is more than there is", code = 7)]
    TooMany { count: u16 },
    /// Said otherwise in documentation.
    #[error("no order {0}, nor {{order}} {1:?}")]
    NoOrder(u64, String),
}

#[derive(AppError, Debug, PartialEq)]
pub enum OtherError {
    /// something else
    #[error(code = 40)]
    Else,
}

#[app(events(OrderPlaced, OrderCancelled))]
impl Shop {
    #[init]
    pub fn open(&mut self, owner: AccountId, first: String) -> Result<(), ShopError> {
        self.owner.set(&owner);
        self.log.push(&first);
        Ok(())
    }

    /// Places an order.
    #[call]
    pub fn place(&mut self, number: u64, order: Order) -> Result<u64, ShopError> {
        if order.count > 9 {
            return Err(ShopError::TooMany { count: order.count });
        }
        self.orders.set(&number, &order);
        OrderPlaced { number, order }.emit();
        Ok(number)
    }

    #[call(payable)]
    pub fn pay(&mut self, number: u64) -> Result<Amount, OtherError> {
        if number == 0 {
            return Err(OtherError::Else);
        }
        Ok(context::deposit())
    }

    #[call]
    pub fn cancel(&mut self, number: u64) -> Result<(), ShopError> {
        if !self.orders.remove(&number) {
            return Err(ShopError::NoOrder(number, "x".to_string()));
        }
        OrderCancelled { number }.emit();
        Ok(())
    }

    #[call]
    pub fn break_down(&mut self) {
        self.note("about to");
        panic!("out of {}", "paper");
    }

    #[query]
    pub fn order(&self, number: u64) -> Option<Order> {
        self.orders.get(&number)
    }

    #[query]
    pub fn everything(&self, mut from: u64) -> (Vec<u8>, [u16; 2], Vec<Hash32>, bool) {
        from += 1;
        (from.to_le_bytes().to_vec(), [1, 2], Vec::new(), self.admins.iter().next().is_none())
    }

    #[migrate]
    pub fn upgrade(&mut self, from: String, note: String) {
        self.log.push(&(from + &note));
        self.sizes.set(&(-1, note), &Vec::new());
    }

    #[stop]
    pub fn close(&mut self) {
        self.log.push(&"closed".to_string());
    }

    fn note(&mut self, text: &str) {
        self.log.push(&text.to_string());
    }
}

fn order(count: u16) -> Order {
    let tags = BTreeMap::from([("a".to_string(), [1, 2])]);
    Order { count, note: None, way: Way::Drone(-1, 2), price: Price(Amount::new(3)), tags }
}

fn shop() -> (Rc<Host>, ShopClient<Direct<Shop>>) {
    let host = Rc::new(Host::default());
    let client =
        Shop::client("shop".parse().expect("a valid name"), Direct { host: host.clone(), app: PhantomData });
    (host, client)
}

#[test]
fn a_client_gives_what_the_method_returned() {
    let (host, shop) = shop();
    assert_eq!(shop.place(4, order(2)), Ok(4));
    assert_eq!(shop.order(4), Ok(Some(order(2))));
    assert_eq!(shop.order(5), Ok(None));
    let number = u64::MAX.to_le_bytes();
    assert_eq!(shop.everything(u64::MAX - 1).unwrap(), (number.to_vec(), [1, 2], vec![], true));
    let (topic, payload) = host.events.borrow()[0].clone();
    assert_eq!(topic, "order_placed");
    assert_eq!(
        payload,
        [&4u64.to_le_bytes()[..], &purlin_sdk::private::borsh::to_vec(&order(2)).unwrap()].concat()
    );
}

#[test]
fn errors_arrive_with_their_type() {
    let (_, shop) = shop();
    assert_eq!(shop.place(4, order(10)), Err(CallError::App(ShopError::TooMany { count: 10 })));
    assert_eq!(shop.cancel(3), Err(CallError::App(ShopError::NoOrder(3, "x".into()))));
    assert_eq!(shop.pay(0).unwrap_err(), CallError::App(OtherError::Else));
    let codes = [ShopError::NotOwner, ShopError::TooMany { count: 1 }, ShopError::NoOrder(0, String::new())];
    assert_eq!(codes.map(|error| purlin_sdk::AppError::code(&error)), [1, 7, 8]);
    assert_eq!(ShopError::NotOwner.to_string(), "only the owner may do this");
    assert_eq!(ShopError::NoOrder(3, "x".into()).to_string(), "no order 3, nor {order} \"x\"");
    let last = <ShopError as purlin_sdk::AppError>::ERRORS[2];
    assert_eq!(last, ErrorNode { code: 8, name: "NoOrder", doc: "Said otherwise in documentation." });
}

#[test]
fn a_deposit_is_for_payable_methods() {
    let (_, shop) = shop();
    assert_eq!(shop.with_deposit(Amount::new(5)).pay(1), Ok(Amount::new(5)));
    let error = shop.with_deposit(Amount::new(5)).place(1, order(1)).unwrap_err();
    assert_eq!(error.to_string(), "panic: place takes no deposit; mark the method `payable` to accept one");
}

#[test]
fn the_life_cycle_has_its_exports() {
    let host = Rc::new(Host::default());
    let encode = |values: &(AccountId, String)| purlin_sdk::private::borsh::to_vec(values).unwrap();
    enter::<Shop>(&host, "initialize", &encode(&(AccountId::ZERO, "one".into()))).unwrap();
    let versions = purlin_sdk::private::borsh::to_vec(&("1.0.0", "two")).unwrap();
    enter::<Shop>(&host, "migrate", &versions).unwrap();
    enter::<Shop>(&host, "stop", &[]).unwrap();
    let log = support::run(&host, || <Shop as purlin_sdk::State>::attach().log.iter().collect::<Vec<_>>());
    assert_eq!(log, ["one", "1.0.0two", "closed"]);
    assert!(!Shop::dispatch("order") && !Shop::dispatch("query_place") && !Shop::dispatch("note"));
}

#[test]
fn malformed_arguments_and_panics_end_the_call_with_a_message() {
    let host = Rc::new(Host::default());
    let refused = |input: &[u8]| enter::<Shop>(&host, "cancel", input).unwrap_err();
    let abort = |message: &str| Ended::Abort { message: message.to_string() };
    assert_eq!(refused(&[1]), abort("cancel: argument `number` is missing or malformed"));
    assert_eq!(refused(&[1; 9]), abort("cancel: there are more arguments than parameters"));
    match enter::<Shop>(&host, "break_down", &[]).unwrap_err() {
        Ended::Abort { message } => assert!(message.starts_with("out of paper, at "), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_schema_is_pinned() {
    let expected = include_str!("shop.schema.json");
    let schema = std::str::from_utf8(Shop::SCHEMA).unwrap();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shop.schema.json"), schema).unwrap();
    }
    assert_eq!(schema, expected, "UPDATE_SCHEMA=1 writes the new one");
}

#[test]
fn tools_encode_by_the_schema_what_the_application_reads() {
    use purlin_sdk::abi::schema::AppSchema;
    let schema = AppSchema::parse(Shop::SCHEMA).unwrap();
    let place = schema.call("place").unwrap();
    assert_eq!(place.to_string(), "place(number: u64, order: Order) -> u64");
    let arguments = place
        .encode_arguments(
            &serde_json::from_str(
                r#"{"number": 4, "order": {"count": 2, "way": {"Drone": [-1, 2]}, "price": "3", "tags": {"a": "0x0102"}}}"#,
            )
            .unwrap(),
        )
        .unwrap();
    let host = Rc::new(Host::default());
    assert_eq!(enter::<Shop>(&host, "place", &arguments).unwrap(), 4u64.to_le_bytes());
    let stored = enter::<Shop>(&host, "query_order", &4u64.to_le_bytes()).unwrap();
    assert_eq!(
        schema.query("order").unwrap().returns.decode(&stored).unwrap().to_string(),
        r#"{"count":2,"note":null,"way":{"Drone":[-1,2]},"price":"3","tags":{"a":"0x0102"}}"#
    );
    let event = schema.event("order_placed").unwrap();
    assert!(event.schema.decode(&host.events.borrow()[0].1).is_ok());
    assert_eq!(schema.error(7).unwrap().name, "TooMany");
}
