//! Generates an application's exports, client and schema from `#[app]`. Used through `purlin-sdk`, whose
//! documentation has an example of everything here.
#![forbid(unsafe_code)]

mod app;
mod borsh;
mod docs;
mod error;
mod event;
mod method;
mod schema;
mod state;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemImpl, parse_macro_input};

/// Makes an application of the `impl` block of its state.
///
/// Methods are marked `#[init]`, `#[call]`, `#[query]`, `#[migrate]` or `#[stop]`; others are left alone.
///
/// | mark | receiver | runs | arguments |
/// |---|---|---|---|
/// | `#[init]` | `&mut self` | on the first start | any |
/// | `#[call]` | `&mut self` | in transactions and for other applications | any |
/// | `#[query]` | `&self` | at any time; writing ends it | any |
/// | `#[migrate]` | `&mut self` | after an upgrade | the old version as a `String`, then any |
/// | `#[stop]` | `&mut self` | before a stop | none |
///
/// Parameters are owned and have a `Schema`; a method returns a value that has one, or a `Result` of it and an
/// `AppError`. A native amount that comes with a call is refused, but for methods marked `#[call(payable)]` or
/// `#[init(payable)]`. Events that the application emits are listed: `#[app(events(Transferred, Approved))]`.
///
/// For `impl Counter`, it generates the wasm exports, the embedded schema, an implementation of `App` for tests, and
/// `CounterClient`, with a method for each call and query. Exports are made in builds for wasm32, where `unsafe`
/// attributes name them: an application can `deny(unsafe_code)`, not `forbid` it.
#[proc_macro_attribute]
pub fn app(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as app::Options);
    let block = parse_macro_input!(item as ItemImpl);
    app::expand(options, block).into()
}

/// Makes a struct of collections the state of an application. Field names are storage keys.
#[proc_macro_derive(State)]
pub fn state(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    state::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Describes a struct or enum, and makes its borsh encoding.
#[proc_macro_derive(Schema)]
pub fn schema(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    schema::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a struct an event. Its topic is its name in snake case, or `#[event(topic = "..")]`. Makes its `Schema` and
/// its borsh encoding too.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    event::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an enum the error of methods. Variants are numbered from 1, or by `#[error(code = 7)]`; messages are their
/// documentation, or `#[error("needs {needed}")]`. Makes `Display` and the borsh encoding too.
#[proc_macro_derive(AppError, attributes(error))]
pub fn app_error(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    error::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}
