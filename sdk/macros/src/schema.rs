//! `#[derive(Schema)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, FieldsNamed, FieldsUnnamed, Type};

use crate::{borsh, docs};

pub(crate) fn expand(item: &DeriveInput) -> syn::Result<TokenStream> {
    let encoding = borsh::expand(item)?;
    let description = describe(item)?;
    Ok(quote! { #encoding #description })
}

/// Implements the `Schema` trait alone.
fn describe(item: &DeriveInput) -> syn::Result<TokenStream> {
    let ident = &item.ident;
    let (name, doc) = (docs::name(ident)?, docs::text(&item.attrs));
    let node = match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => structure(&name, &doc, fields)?,
            Fields::Unnamed(fields) => positional(fields),
            Fields::Unit => quote! { ::purlin_sdk::TypeNode::Unit },
        },
        Data::Enum(data) => {
            let mut variants = Vec::new();
            for variant in &data.variants {
                let (name, doc) = (docs::name(&variant.ident)?, docs::text(&variant.attrs));
                let fields = match &variant.fields {
                    Fields::Unit => quote! { ::core::option::Option::None },
                    Fields::Named(fields) => {
                        let node = structure(&name, "", fields)?;
                        quote! { ::core::option::Option::Some(&#node) }
                    }
                    Fields::Unnamed(fields) => {
                        let node = positional(fields);
                        quote! { ::core::option::Option::Some(&#node) }
                    }
                };
                variants
                    .push(quote! { ::purlin_sdk::VariantNode { name: #name, doc: #doc, fields: #fields } });
            }
            quote! { ::purlin_sdk::TypeNode::Enum { name: #name, doc: #doc, variants: &[#(#variants),*] } }
        }
        Data::Union(data) => {
            return Err(syn::Error::new(
                data.union_token.span,
                "a union has no encoding: use a struct or an enum",
            ));
        }
    };
    let generics = borsh::bounded(item)?;
    let (impl_generics, type_generics, bounds) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::purlin_sdk::Schema for #ident #type_generics #bounds {
            const TYPE: &'static ::purlin_sdk::TypeNode = &#node;
        }
    })
}

/// Returns an expression for the description of a type; a type without one is reported at its own place.
pub(crate) fn of(kind: &Type) -> TokenStream {
    quote_spanned! { kind.span()=> <#kind as ::purlin_sdk::Schema>::TYPE }
}

fn structure(name: &str, doc: &str, fields: &FieldsNamed) -> syn::Result<TokenStream> {
    let mut nodes = Vec::new();
    for field in &fields.named {
        let Some(ident) = &field.ident else { continue };
        let (name, doc, schema) = (docs::name(ident)?, docs::text(&field.attrs), of(&field.ty));
        nodes.push(quote! { ::purlin_sdk::FieldNode { name: #name, doc: #doc, schema: #schema } });
    }
    Ok(quote! { ::purlin_sdk::TypeNode::Struct { name: #name, doc: #doc, fields: &[#(#nodes),*] } })
}

/// Describes unnamed fields: one is described as its type, more as a tuple.
fn positional(fields: &FieldsUnnamed) -> TokenStream {
    let mut types = fields.unnamed.iter().map(|field| of(&field.ty));
    match (types.next(), fields.unnamed.len()) {
        (Some(only), 1) => quote! { *#only },
        (first, _) => quote! { ::purlin_sdk::TypeNode::Tuple(&[#first, #(#types),*]) },
    }
}
