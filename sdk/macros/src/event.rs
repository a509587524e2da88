//! `#[derive(Event)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, LitStr};

use crate::{docs, schema};

/// Longest topic, as in `purlin_abi::limits`.
const TOPIC_BYTES_MAX: usize = 64;
const FORM: &str =
    "an event is a struct with named fields: `struct Transferred { to: AccountId, amount: u128 }`";

pub(crate) fn expand(item: &DeriveInput) -> syn::Result<TokenStream> {
    let ident = &item.ident;
    match &item.data {
        Data::Struct(data) if matches!(data.fields, Fields::Named(_)) => {}
        _ => return Err(syn::Error::new(ident.span(), FORM)),
    }
    let topic = match topic(item)? {
        Some(topic) => topic,
        None => snake_case(&docs::name(ident)?),
    };
    let doc = docs::text(&item.attrs);
    let schema = schema::expand(item)?;
    let generics = crate::borsh::bounded(item)?;
    let (impl_generics, type_generics, bounds) = generics.split_for_impl();
    Ok(quote! {
        #schema

        #[automatically_derived]
        impl #impl_generics ::purlin_sdk::Event for #ident #type_generics #bounds {
            const TOPIC: &'static str = #topic;
            const DOC: &'static str = #doc;
        }
    })
}

fn topic(item: &DeriveInput) -> syn::Result<Option<String>> {
    let mut topic = None;
    for attribute in item.attrs.iter().filter(|attribute| attribute.path().is_ident("event")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("topic") {
                return Err(meta.error("unknown option: `#[event(topic = \"..\")]` is the only one"));
            }
            let text: LitStr = meta.value()?.parse()?;
            let value = text.value();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
            if value.is_empty() || value.len() > TOPIC_BYTES_MAX || !value.bytes().all(plain) {
                let message = format!("a topic has 1 to {TOPIC_BYTES_MAX} letters, digits, '_', '-' and '.'");
                return Err(syn::Error::new(text.span(), message));
            }
            topic = Some(value);
            Ok(())
        })?;
    }
    Ok(topic)
}

/// Turns `TokensMinted` into `tokens_minted`, and `HTTPFailed` into `http_failed`.
fn snake_case(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut text = String::new();
    for (index, character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| characters[index]);
        let after = characters.get(index + 1);
        let starts_word = before.is_some_and(|before| {
            before != '_'
                && (!before.is_ascii_uppercase() || after.is_some_and(|after| after.is_ascii_lowercase()))
        });
        if character.is_ascii_uppercase() && starts_word {
            text.push('_');
        }
        text.push(character.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn topics_are_names_in_snake_case() {
        for (name, topic) in [
            ("Incremented", "incremented"),
            ("TokensMinted", "tokens_minted"),
            ("HTTPFailed", "http_failed"),
            ("Level2Reached", "level2_reached"),
            ("Already_Split", "already_split"),
        ] {
            assert_eq!(snake_case(name), topic);
        }
    }
}
