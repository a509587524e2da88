//! `#[derive(State)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields};

use crate::docs;

const FORM: &str =
    "the state is a struct with named fields, each a collection: `struct Counter { count: Item<u64> }`";

pub(crate) fn expand(item: &DeriveInput) -> syn::Result<TokenStream> {
    let ident = &item.ident;
    let Data::Struct(data) = &item.data else {
        return Err(syn::Error::new(ident.span(), FORM));
    };
    let fields = match &data.fields {
        Fields::Named(fields) => fields.named.iter().collect(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(fields) => return Err(syn::Error::new_spanned(fields, FORM)),
    };
    if !item.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &item.generics,
            "the state has no generic parameters: name the types",
        ));
    }
    let (mut handles, mut nodes) = (Vec::new(), Vec::new());
    for field in &fields {
        let Some(field_ident) = &field.ident else { continue };
        let (name, kind) = (docs::name(field_ident)?, &field.ty);
        let collection = quote_spanned! { kind.span()=> <#kind as ::purlin_sdk::Collection> };
        handles.push(quote! { #field_ident: #collection::at(#name) });
        nodes.push(quote! {
            ::purlin_sdk::private::StateNode {
                name: #name,
                kind: #collection::KIND,
                key: #collection::KEY,
                value: #collection::VALUE,
            }
        });
    }
    let doc = docs::text(&item.attrs);
    let construct = match data.fields {
        Fields::Unit => quote! { Self },
        _ => quote! { Self { #(#handles),* } },
    };
    Ok(quote! {
        #[automatically_derived]
        impl ::purlin_sdk::State for #ident {
            const DOC: &'static str = #doc;
            const FIELDS: &'static [::purlin_sdk::private::StateNode] = &[#(#nodes),*];

            fn attach() -> Self {
                #construct
            }
        }
    })
}
