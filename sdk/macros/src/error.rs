//! `#[derive(AppError)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Data, DeriveInput, Fields, Ident, LitInt, LitStr, Token, Variant};

use crate::{borsh, docs};

const FORM: &str = "an application's error is an enum, with a variant for each thing that can be wrong";

pub(crate) fn expand(item: &DeriveInput) -> syn::Result<TokenStream> {
    let ident = &item.ident;
    let Data::Enum(data) = &item.data else {
        return Err(syn::Error::new(ident.span(), FORM));
    };
    let encoding = borsh::expand(item)?;
    let (mut nodes, mut codes, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    let mut taken: Vec<u32> = Vec::new();
    let mut next = 1;
    for variant in &data.variants {
        let options = Options::of(variant)?;
        let code = options.code.unwrap_or(next);
        if taken.contains(&code) {
            let message = format!(
                "another variant has the code {code}: give this one a free one, `#[error(code = ..)]`"
            );
            return Err(syn::Error::new(variant.ident.span(), message));
        }
        taken.push(code);
        next = code.saturating_add(1);
        let (variant_ident, name) = (&variant.ident, docs::name(&variant.ident)?);
        let doc = match (docs::sentence(&variant.attrs), &options.message) {
            (doc, None) if doc.is_empty() => {
                let message = "say what went wrong: add a doc comment, or `#[error(\"..\")]`";
                return Err(syn::Error::new(variant.ident.span(), message));
            }
            (doc, Some(message)) if doc.is_empty() => message.value(),
            (doc, _) => doc,
        };
        nodes.push(quote! { ::purlin_sdk::ErrorNode { code: #code, name: #name, doc: #doc } });
        codes.push(quote! { Self::#variant_ident { .. } => #code });
        messages.push(message(variant, options.message, &doc));
    }
    let generics = borsh::bounded(item)?;
    let (impl_generics, type_generics, bounds) = generics.split_for_impl();
    Ok(quote! {
        #encoding

        #[automatically_derived]
        impl #impl_generics ::core::fmt::Display for #ident #type_generics #bounds {
            #[allow(unused_variables)]
            fn fmt(&self, __formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self { #(#messages),* }
            }
        }

        #[automatically_derived]
        impl #impl_generics ::purlin_sdk::AppError for #ident #type_generics #bounds {
            const ERRORS: &'static [::purlin_sdk::ErrorNode] = &[#(#nodes),*];

            fn code(&self) -> u32 {
                match self { #(#codes),* }
            }
        }
    })
}

/// Returns a match arm that writes a variant's message.
fn message(variant: &Variant, format: Option<LitStr>, doc: &str) -> TokenStream {
    let ident = &variant.ident;
    let Some(format) = format else {
        return quote! { Self::#ident { .. } => __formatter.write_str(#doc) };
    };
    match &variant.fields {
        Fields::Unit => quote! { Self::#ident => ::core::write!(__formatter, #format) },
        Fields::Named(fields) => {
            let names = fields.named.iter().map(|field| &field.ident);
            quote! { Self::#ident { #(#names),* } => ::core::write!(__formatter, #format) }
        }
        Fields::Unnamed(fields) => {
            let names: Vec<Ident> =
                (0..fields.unnamed.len()).map(|index| format_ident!("_{index}")).collect();
            let format = LitStr::new(&name_positions(&format.value()), format.span());
            let names = names.iter().map(|name| Ident::new(&name.to_string(), format.span()));
            quote! { Self::#ident(#(#names),*) => ::core::write!(__formatter, #format) }
        }
    }
}

/// Turns `{0}` into `{_0}`, so that a message can name unnamed fields.
fn name_positions(format: &str) -> String {
    let mut text = String::new();
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        text.push(character);
        if character == '{' {
            match characters.peek() {
                Some('{') => text.extend(characters.next()),
                Some(next) if next.is_ascii_digit() => text.push('_'),
                _ => {}
            }
        }
    }
    text
}

/// What `#[error(..)]` says.
#[derive(Default)]
struct Options {
    message: Option<LitStr>,
    code: Option<u32>,
}

impl Options {
    fn of(variant: &Variant) -> syn::Result<Self> {
        let mut all = Self::default();
        for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("error")) {
            let options: Self = attribute.parse_args()?;
            all.message = options.message.or(all.message);
            all.code = options.code.or(all.code);
        }
        Ok(all)
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            if input.peek(LitStr) {
                options.message = Some(input.parse()?);
            } else {
                let name: Ident = input.parse()?;
                if name != "code" {
                    let message =
                        "unknown option: write `#[error(\"message\")]`, `#[error(code = 7)]` or both";
                    return Err(syn::Error::new(name.span(), message));
                }
                input.parse::<Token![=]>()?;
                options.code = Some(input.parse::<LitInt>()?.base10_parse()?);
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::name_positions;

    #[test]
    fn positions_become_names() {
        assert_eq!(name_positions("{0} of {12:?}, {{0}} {x}"), "{_0} of {_12:?}, {{0}} {x}");
    }
}
