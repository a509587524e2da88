//! Makes the borsh encoding of user types: fields in order, an enum's variant as one byte before them.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Fields, Ident};

/// Most variants that one byte numbers.
const VARIANTS_MAX: usize = 256;

pub(crate) fn expand(item: &DeriveInput) -> syn::Result<TokenStream> {
    let name = &item.ident;
    let (serialize, deserialize) = match &item.data {
        Data::Struct(data) => {
            let (pattern, bindings) = pattern(&data.fields);
            let build = build(&data.fields);
            (
                quote! { let Self #pattern = self; #(#bindings.serialize(__writer)?;)* },
                quote! { ::core::result::Result::Ok(Self #build) },
            )
        }
        Data::Enum(data) => {
            if data.variants.is_empty() || data.variants.len() > VARIANTS_MAX {
                let message = format!("an enum needs 1 to {VARIANTS_MAX} variants");
                return Err(syn::Error::new(name.span(), message));
            }
            let (mut writes, mut reads) = (Vec::new(), Vec::new());
            for (number, variant) in data.variants.iter().enumerate() {
                let (ident, number) = (&variant.ident, number as u8);
                let (pattern, bindings) = pattern(&variant.fields);
                let build = build(&variant.fields);
                writes.push(quote! {
                    Self::#ident #pattern => {
                        #number.serialize(__writer)?;
                        #(#bindings.serialize(__writer)?;)*
                    }
                });
                reads.push(quote! { #number => ::core::result::Result::Ok(Self::#ident #build), });
            }
            let unknown = format!("unknown variant of {name}");
            (
                quote! { match self { #(#writes)* } },
                quote! {
                    match u8::deserialize_reader(__reader)? {
                        #(#reads)*
                        _ => ::core::result::Result::Err(__io::Error::new(__io::ErrorKind::InvalidData, #unknown)),
                    }
                },
            )
        }
        Data::Union(data) => {
            return Err(syn::Error::new(
                data.union_token.span,
                "a union has no encoding: use a struct or an enum",
            ));
        }
    };
    let generics = bounded(item)?;
    let (impl_generics, type_generics, bounds) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        const _: () = {
            use ::purlin_sdk::private::borsh::{BorshDeserialize, BorshSerialize, io as __io};

            #[automatically_derived]
            impl #impl_generics BorshSerialize for #name #type_generics #bounds {
                #[allow(unused_variables)]
                fn serialize<__W: __io::Write>(&self, __writer: &mut __W) -> __io::Result<()> {
                    #serialize
                    ::core::result::Result::Ok(())
                }
            }

            #[automatically_derived]
            impl #impl_generics BorshDeserialize for #name #type_generics #bounds {
                #[allow(unused_variables)]
                fn deserialize_reader<__R: __io::Read>(__reader: &mut __R) -> __io::Result<Self> {
                    #deserialize
                }
            }
        };
    })
}

/// Returns the type's generics, with a `Schema` bound on each type.
pub(crate) fn bounded(item: &DeriveInput) -> syn::Result<syn::Generics> {
    let mut generics = item.generics.clone();
    if let Some(lifetime) = generics.lifetimes().next() {
        let message = "a stored or passed type owns its parts: use `String` instead of `&str`, `Vec<T>` instead of `&[T]`";
        return Err(syn::Error::new_spanned(lifetime, message));
    }
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(syn::parse_quote!(::purlin_sdk::private::Schema));
    }
    Ok(generics)
}

/// Returns a pattern for the fields, and the variables that it binds.
fn pattern(fields: &Fields) -> (TokenStream, Vec<Ident>) {
    let bindings: Vec<Ident> = (0..fields.len()).map(|index| format_ident!("__field{index}")).collect();
    let pattern = match fields {
        Fields::Named(fields) => {
            let names = fields.named.iter().map(|field| &field.ident);
            quote! { { #(#names: #bindings),* } }
        }
        Fields::Unnamed(_) => quote! { (#(#bindings),*) },
        Fields::Unit => quote! {},
    };
    (pattern, bindings)
}

/// Returns an expression that reads the fields.
fn build(fields: &Fields) -> TokenStream {
    let read = quote! { BorshDeserialize::deserialize_reader(__reader)? };
    match fields {
        Fields::Named(fields) => {
            let names = fields.named.iter().map(|field| &field.ident);
            quote! { { #(#names: #read),* } }
        }
        Fields::Unnamed(fields) => {
            let reads = fields.unnamed.iter().map(|_| &read);
            quote! { (#(#reads),*) }
        }
        Fields::Unit => quote! {},
    }
}
