//! `#[app]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Ident, ImplItem, ItemImpl, Path, Token, Type, parenthesized};

use crate::docs;
use crate::method::{Method, Role};
use crate::schema;

/// What stands in `#[app(..)]`.
pub(crate) struct Options {
    events: Vec<Path>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut events = Vec::new();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            if name != "events" {
                let message = format!("unknown option `{name}`: `#[app(events(..))]` is the only one");
                return Err(syn::Error::new(name.span(), message));
            }
            let list;
            parenthesized!(list in input);
            events.extend(Punctuated::<Path, Token![,]>::parse_terminated(&list)?);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(Self { events })
    }
}

/// Writes the block again, followed by what it needs to be an application. The block stands even when something is
/// wrong, so that one mistake does not make every use of its methods another one.
pub(crate) fn expand(options: Options, mut block: ItemImpl) -> TokenStream {
    let methods = read(&mut block);
    match methods.and_then(|methods| generate(&options, &block, &methods)) {
        Ok(generated) => quote! { #block #generated },
        Err(error) => {
            let error = error.into_compile_error();
            quote! { #block #error }
        }
    }
}

/// Reads all methods and takes their marks away; reports every mistake at once.
fn read(block: &mut ItemImpl) -> syn::Result<Vec<Method>> {
    let mut methods: Vec<Method> = Vec::new();
    let mut mistakes: Option<syn::Error> = None;
    let mut report = |error: syn::Error| match &mut mistakes {
        Some(mistakes) => mistakes.combine(error),
        None => mistakes = Some(error),
    };
    for item in &mut block.items {
        let ImplItem::Fn(item) = item else { continue };
        match Method::read(item) {
            Ok(Some(method)) => {
                let once = !matches!(method.role, Role::Call | Role::Query);
                if once && methods.iter().any(|other| other.role == method.role) {
                    let message = format!(
                        "there is a method marked `#[{}]` already: one is enough",
                        method.role.name()
                    );
                    report(syn::Error::new(method.ident.span(), message));
                }
                methods.push(method);
            }
            Ok(None) => {}
            Err(error) => report(error),
        }
    }
    match mistakes {
        Some(mistakes) => Err(mistakes),
        None => Ok(methods),
    }
}

fn generate(options: &Options, block: &ItemImpl, methods: &[Method]) -> syn::Result<TokenStream> {
    if let Some((_, path, _)) = &block.trait_ {
        let message = "put `#[app]` on the state's own block: `impl Counter { .. }`";
        return Err(syn::Error::new_spanned(path, message));
    }
    if !block.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &block.generics,
            "an application has no generic parameters: name the types",
        ));
    }
    let app = &*block.self_ty;
    let ident = match app {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    };
    let Some(ident) = ident else {
        return Err(syn::Error::new_spanned(app, "name the state here: `impl Counter { .. }`"));
    };
    if methods.is_empty() {
        let message = "nothing can be called: mark methods with `#[call]`, `#[query]`, `#[init]`, `#[migrate]` or `#[stop]`";
        return Err(syn::Error::new_spanned(app, message));
    }
    let client_ident = format_ident!("{ident}Client");
    let name = docs::name(ident)?;
    let entries = methods.iter().map(|method| entry(app, method));
    let implied_init = implied_init(methods);
    let facts = facts(options, app, &name, methods);
    let exports = exports(methods);
    let dispatch = dispatch(methods);
    let init = arguments_type(methods, Role::Init);
    let migrate = arguments_type(methods, Role::Migrate);
    let client = client(ident, &client_ident, methods);
    let listed = options.events.iter().map(|event| {
        quote_spanned! { event.span()=> #[automatically_derived] impl ::purlin_sdk::private::Listed for #event {} }
    });
    Ok(quote! {
        #client

        #[allow(unexpected_cfgs, unsafe_code, long_running_const_eval, non_snake_case, clippy::all)]
        const _: () = {
            #(#listed)*
            #(#entries)*
            #implied_init

            const __FACTS: ::purlin_sdk::private::Facts = #facts;
            const __LENGTH: usize = ::purlin_sdk::private::write_app::<0>(&__FACTS).1;
            const __SCHEMA: [u8; __LENGTH] = ::purlin_sdk::private::write_app::<__LENGTH>(&__FACTS).0;

            #exports

            #[automatically_derived]
            impl ::purlin_sdk::App for #app {
                const NAME: &'static str = #name;
                const MANIFEST_DIR: &'static str = ::core::env!("CARGO_MANIFEST_DIR");
                const SCHEMA: &'static [u8] = &__SCHEMA;
                type InitArguments = #init;
                type MigrateArguments = #migrate;
                type Client<__T: ::purlin_sdk::private::Transport> = #client_ident<__T>;

                fn client<__T: ::purlin_sdk::private::Transport>(
                    app: ::purlin_sdk::private::AppId,
                    transport: __T,
                ) -> #client_ident<__T> {
                    #client_ident::new(app, transport)
                }

                fn dispatch(export: &str) -> bool {
                    #dispatch
                }
            }
        };
    })
}

fn entry_ident(method: &Method) -> Ident {
    format_ident!("__enter_{}", method.export())
}

/// Writes the function that reads the arguments, runs the method and hands the result to the host.
fn entry(app: &Type, method: &Method) -> TokenStream {
    let (entry, ident, export) = (entry_ident(method), &method.ident, method.export());
    let variables: Vec<Ident> =
        method.params.iter().map(|param| format_ident!("__argument_{}", param.name)).collect();
    let reads = method.params.iter().zip(&variables).map(|(param, variable)| {
        let (name, kind) = (&param.name, &param.kind);
        quote_spanned! { kind.span()=> let #variable = __arguments.next::<#kind>(#name); }
    });
    let (read_version, version) = match method.role {
        Role::Migrate => (
            quote! { let __from: ::purlin_sdk::private::String = __arguments.next("from"); },
            quote! { __from, },
        ),
        _ => (quote! {}, quote! {}),
    };
    let refuse_deposit = match (method.role, method.payable) {
        (Role::Call | Role::Init, false) => quote! { ::purlin_sdk::private::refuse_deposit(#export); },
        _ => quote! {},
    };
    let state = match method.role {
        Role::Query => quote! { &<#app as ::purlin_sdk::State>::attach() },
        _ => quote! { &mut <#app as ::purlin_sdk::State>::attach() },
    };
    let output = output(method);
    let finish = quote_spanned! { output.span()=> <#output as ::purlin_sdk::MethodOutput>::finish(__result) };
    quote! {
        fn #entry() {
            let mut __arguments = ::purlin_sdk::private::Arguments::of(#export);
            #read_version
            #(#reads)*
            __arguments.end();
            #refuse_deposit
            let __result = <#app>::#ident(#state, #version #(#variables),*);
            #finish
        }
    }
}

/// An application without an `#[init]` still has the export: starting it runs nothing and takes no arguments.
fn implied_init(methods: &[Method]) -> TokenStream {
    if methods.iter().any(|method| method.role == Role::Init) {
        return quote! {};
    }
    quote! {
        fn __enter_initialize() {
            ::purlin_sdk::private::Arguments::of("initialize").end();
            ::purlin_sdk::private::refuse_deposit("initialize");
        }
    }
}

/// Names of all exports, with the functions they run.
fn all_exports(methods: &[Method]) -> Vec<(String, Ident)> {
    let mut exports: Vec<(String, Ident)> =
        methods.iter().map(|method| (method.export(), entry_ident(method))).collect();
    if !exports.iter().any(|(name, _)| name == "initialize") {
        exports.push(("initialize".to_string(), format_ident!("__enter_initialize")));
    }
    exports
}

/// Writes the wasm exports and the schema's section: in the crate that is built as the application, see "Building" in
/// the README of purlin-sdk.
fn exports(methods: &[Method]) -> TokenStream {
    let exports = all_exports(methods).into_iter().map(|(name, entry)| {
        let function = format_ident!("__export_{name}");
        quote! {
            #[cfg(all(target_arch = "wasm32", any(not(purlin_build), purlin_root)))]
            #[unsafe(export_name = #name)]
            extern "C" fn #function() {
                ::purlin_sdk::private::start();
                #entry()
            }
        }
    });
    quote! {
        #(#exports)*

        #[cfg(all(target_arch = "wasm32", any(not(purlin_build), purlin_root)))]
        #[used]
        #[unsafe(link_section = "purlin.schema")]
        static __SECTION: [u8; __LENGTH] = __SCHEMA;
    }
}

fn dispatch(methods: &[Method]) -> TokenStream {
    let arms = all_exports(methods).into_iter().map(|(name, entry)| quote! { #name => #entry(), });
    quote! {
        match export {
            #(#arms)*
            _ => return false,
        }
        true
    }
}

/// Writes what the schema says.
fn facts(options: &Options, app: &Type, name: &str, methods: &[Method]) -> TokenStream {
    let methods = methods.iter().map(|method| {
        let (name, kind, doc, payable) = (&method.name, method.role.name(), &method.doc, method.payable);
        let params = method.params.iter().map(|param| {
            let (name, schema) = (&param.name, schema::of(&param.kind));
            quote! { ::purlin_sdk::private::ParameterNode { name: #name, schema: #schema } }
        });
        let output = output(method);
        let output = quote_spanned! { output.span()=> <#output as ::purlin_sdk::MethodOutput> };
        quote! {
            ::purlin_sdk::private::MethodNode {
                name: #name,
                kind: #kind,
                doc: #doc,
                params: &[#(#params),*],
                returns: #output::RETURNS,
                errors: #output::ERRORS,
                payable: #payable,
            }
        }
    });
    let events = options.events.iter().map(|event| {
        quote_spanned! { event.span()=> ::purlin_sdk::EventNode::of::<#event>() }
    });
    quote! {
        ::purlin_sdk::private::Facts {
            name: #name,
            doc: <#app as ::purlin_sdk::State>::DOC,
            methods: &[#(#methods),*],
            events: &[#(#events),*],
            state: <#app as ::purlin_sdk::State>::FIELDS,
        }
    }
}

/// Returns the arguments of a life-cycle method as a tuple type.
fn arguments_type(methods: &[Method], role: Role) -> TokenStream {
    let kinds = methods.iter().filter(|method| method.role == role).flat_map(|method| &method.params);
    let kinds = kinds.map(|param| &param.kind);
    quote! { (#(#kinds,)*) }
}

/// Writes the client: a method for each call and query.
fn client(ident: &Ident, client: &Ident, methods: &[Method]) -> TokenStream {
    let reached = methods.iter().filter(|method| matches!(method.role, Role::Call | Role::Query));
    let methods = reached.map(|method| {
        let (ident, name) = (&method.ident, &method.name);
        let doc = match method.doc.as_str() {
            "" => format!("Runs `{name}`."),
            doc => doc.to_string(),
        };
        let way = format_ident!("{}", method.role.name());
        let idents: Vec<&Ident> = method.params.iter().map(|param| &param.ident).collect();
        let kinds = method.params.iter().map(|param| &param.kind);
        let pushes = method.params.iter().map(|param| {
            let ident = &param.ident;
            quote_spanned! { param.kind.span()=> ::purlin_sdk::private::push(&mut __arguments, &#ident); }
        });
        let output = output(method);
        let result = quote_spanned! { output.span()=>
            ::core::result::Result<
                <#output as ::purlin_sdk::MethodOutput>::Value,
                ::purlin_sdk::private::CallError<<#output as ::purlin_sdk::MethodOutput>::Error>,
            >
        };
        let arguments = match idents.is_empty() {
            true => quote! { let __arguments = ::purlin_sdk::private::Vec::new(); },
            false => quote! {
                let mut __arguments = ::purlin_sdk::private::Vec::new();
                #(#pushes)*
            },
        };
        quote! {
            #[doc = #doc]
            pub fn #ident(
                &self,
                #(#idents: #kinds),*
            ) -> #result {
                #arguments
                self.__caller.#way(#name, &__arguments)
            }
        }
    });
    let doc = format!("Calls [`{ident}`] through a transport: from another application, or from a test.");
    quote! {
        #[doc = #doc]
        #[derive(Debug, Clone)]
        #[allow(unreachable_pub)]
        pub struct #client<Via = ::purlin_sdk::private::Guest> {
            __caller: ::purlin_sdk::private::Caller<Via>,
        }

        #[allow(dead_code, unreachable_pub)]
        impl #client<::purlin_sdk::private::Guest> {
            /// Calls the application of this name from inside another one.
            pub fn at(app: ::purlin_sdk::private::AppId) -> Self {
                Self::new(app, ::purlin_sdk::private::Guest)
            }
        }

        #[allow(dead_code, unreachable_pub, clippy::too_many_arguments, clippy::type_complexity)]
        impl<Via: ::purlin_sdk::private::Transport> #client<Via> {
            /// Calls the application of this name through a transport.
            pub fn new(app: ::purlin_sdk::private::AppId, transport: Via) -> Self {
                Self { __caller: ::purlin_sdk::private::Caller::new(app, transport) }
            }

            /// Returns the application's name.
            pub fn app(&self) -> &::purlin_sdk::private::AppId {
                self.__caller.app()
            }

            /// Returns a client whose calls carry a native amount.
            pub fn with_deposit(&self, deposit: ::purlin_sdk::private::Amount) -> Self
            where
                Via: ::core::clone::Clone,
            {
                Self { __caller: self.__caller.clone().with_deposit(deposit) }
            }

            /// Returns a client whose calls use at most this much gas.
            pub fn with_gas(&self, gas: ::purlin_sdk::private::Gas) -> Self
            where
                Via: ::core::clone::Clone,
            {
                Self { __caller: self.__caller.clone().with_gas(gas) }
            }

            #(#methods)*
        }
    }
}

fn output(method: &Method) -> TokenStream {
    match &method.output {
        Some(output) => quote! { #output },
        None => quote! { () },
    }
}
