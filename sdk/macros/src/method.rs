//! Reads the marked methods of an `#[app]` block.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, Ident, ImplItemFn, Meta, Pat, ReturnType, Type};

use crate::docs;

/// How a method is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Init,
    Call,
    Query,
    Migrate,
    Stop,
}

impl Role {
    /// The mark, and the kind in the schema.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Call => "call",
            Self::Query => "query",
            Self::Migrate => "migrate",
            Self::Stop => "stop",
        }
    }

    fn of(attribute: &Attribute) -> Option<Self> {
        let roles = [Self::Init, Self::Call, Self::Query, Self::Migrate, Self::Stop];
        roles.into_iter().find(|role| attribute.path().is_ident(role.name()))
    }
}

/// A marked method.
pub(crate) struct Method {
    pub(crate) role: Role,
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) doc: String,
    /// Parameters behind the receiver, and behind the old version of a migration.
    pub(crate) params: Vec<Param>,
    /// What it returns; `None` is `()`.
    pub(crate) output: Option<Type>,
    pub(crate) payable: bool,
}

/// A parameter.
pub(crate) struct Param {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) kind: Type,
}

impl Method {
    /// Name of the wasm export.
    pub(crate) fn export(&self) -> String {
        match self.role {
            Role::Init => "initialize".to_string(),
            Role::Call => self.name.clone(),
            Role::Query => format!("query_{}", self.name),
            Role::Migrate => "migrate".to_string(),
            Role::Stop => "stop".to_string(),
        }
    }

    /// Reads a method and takes its mark away; `None` for one without a mark.
    pub(crate) fn read(item: &mut ImplItemFn) -> syn::Result<Option<Self>> {
        let marks: Vec<(Role, Attribute)> = item
            .attrs
            .iter()
            .filter_map(|attribute| Some((Role::of(attribute)?, attribute.clone())))
            .collect();
        item.attrs.retain(|attribute| Role::of(attribute).is_none());
        let (role, mark) = match marks.as_slice() {
            [] => return Ok(None),
            [(role, mark)] => (*role, mark),
            [(first, _), (_, second), ..] => {
                let message =
                    format!("this method is marked `#[{}]` already: keep one of the two", first.name());
                return Err(syn::Error::new_spanned(second, message));
            }
        };
        let payable = payable(role, mark)?;
        check_signature(role, item)?;
        let ident = item.sig.ident.clone();
        let name = docs::name(&ident)?;
        check_name(role, &name, ident.span())?;
        let mut params = Vec::new();
        for argument in &item.sig.inputs {
            if let FnArg::Typed(argument) = argument {
                params.push(Param::read(&argument.pat, &argument.ty)?);
            }
        }
        match role {
            Role::Migrate => {
                if params.first().is_none_or(|first| !is_string(&first.kind)) {
                    let message = "the first parameter of a migration is the version before: `from: String`";
                    return Err(syn::Error::new(ident.span(), message));
                }
                params.remove(0);
            }
            Role::Stop if !params.is_empty() => {
                return Err(syn::Error::new_spanned(&item.sig.inputs, "a stop takes only `&mut self`"));
            }
            _ => {}
        }
        let output = match &item.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(_, output) => Some((**output).clone()),
        };
        Ok(Some(Self { role, ident, name, doc: docs::text(&item.attrs), params, output, payable }))
    }
}

impl Param {
    fn read(pattern: &Pat, kind: &Type) -> syn::Result<Self> {
        let ident = match pattern {
            Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
                pattern.ident.clone()
            }
            other => {
                let message = "parameters appear in the schema by name: write a plain name here";
                return Err(syn::Error::new(other.span(), message));
            }
        };
        match kind {
            Type::Reference(reference) => {
                let owned = match &*reference.elem {
                    Type::Path(path) if path.path.is_ident("str") => "take `String` instead of `&str`",
                    Type::Slice(_) => "take `Vec<T>` instead of `&[T]`",
                    _ => "take the value instead of a reference to it",
                };
                let message = format!("arguments arrive as bytes, so a method owns them: {owned}");
                Err(syn::Error::new_spanned(kind, message))
            }
            Type::ImplTrait(_) => Err(syn::Error::new_spanned(kind, "arguments need one type: name it")),
            _ => Ok(Self { name: docs::name(&ident)?, ident, kind: kind.clone() }),
        }
    }
}

fn payable(role: Role, mark: &Attribute) -> syn::Result<bool> {
    match &mark.meta {
        Meta::Path(_) => Ok(false),
        Meta::List(list) => {
            let option: Ident = list.parse_args()?;
            match (role, option == "payable") {
                (Role::Call | Role::Init, true) => Ok(true),
                (_, true) => {
                    let message =
                        format!("a deposit comes with calls: `#[{}]` cannot be payable", role.name());
                    Err(syn::Error::new(option.span(), message))
                }
                (_, false) => {
                    Err(syn::Error::new(option.span(), "unknown option: `payable` is the only one"))
                }
            }
        }
        Meta::NameValue(meta) => {
            let message = format!("write `#[{0}]` or `#[{0}(payable)]`", role.name());
            Err(syn::Error::new_spanned(meta, message))
        }
    }
}

fn check_signature(role: Role, item: &ImplItemFn) -> syn::Result<()> {
    let signature = &item.sig;
    let refuse = |span: Span, message: &str| Err(syn::Error::new(span, message));
    if let Some(cfg) = item.attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
        return refuse(
            cfg.span(),
            "a method of the interface exists in every build: move `cfg` into its body",
        );
    }
    if let Some(token) = signature.asyncness {
        return refuse(token.span, "the host runs a call to its end: remove `async`");
    }
    if let Some(token) = signature.unsafety {
        return refuse(token.span, "anybody can call this method: remove `unsafe`");
    }
    if !signature.generics.params.is_empty() {
        return refuse(
            signature.generics.span(),
            "the schema names the types of a method: remove its generics",
        );
    }
    let receiver = match signature.inputs.first() {
        Some(FnArg::Receiver(receiver)) => receiver,
        _ => {
            let receiver = if role == Role::Query { "&self" } else { "&mut self" };
            let message =
                format!("`#[{}]` needs the state: make the first parameter `{receiver}`", role.name());
            return refuse(signature.ident.span(), &message);
        }
    };
    let by_reference = receiver.reference.is_some() && receiver.colon_token.is_none();
    match (role, by_reference, receiver.mutability.is_some()) {
        (Role::Query, true, false) => Ok(()),
        (Role::Query, true, true) => {
            refuse(receiver.span(), "a query only reads: take `&self`, or mark the method `#[call]` to write")
        }
        (Role::Query, false, _) => refuse(receiver.span(), "a query reads the state: take `&self`"),
        (_, true, true) => Ok(()),
        (Role::Call, true, false) => refuse(
            receiver.span(),
            "a call may write: take `&mut self`, or mark the method `#[query]` if it only reads",
        ),
        _ => refuse(receiver.span(), "this method writes the state: take `&mut self`"),
    }
}

fn is_string(kind: &Type) -> bool {
    matches!(kind, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "String"))
}

/// Exports share their names with the memory and with C functions that compilers call by name. A call of such a name
/// would replace the function.
const TAKEN_BY_LINKER: &[&str] = &[
    "memory",
    "main",
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "bcmp",
    "strlen",
    "abort",
    "malloc",
    "calloc",
    "realloc",
    "free",
    "acos",
    "acosf",
    "acosh",
    "acoshf",
    "asin",
    "asinf",
    "asinh",
    "asinhf",
    "atan",
    "atan2",
    "atan2f",
    "atanf",
    "atanh",
    "atanhf",
    "cbrt",
    "cbrtf",
    "ceil",
    "ceilf",
    "copysign",
    "copysignf",
    "cos",
    "cosf",
    "cosh",
    "coshf",
    "erf",
    "erff",
    "erfc",
    "erfcf",
    "exp",
    "exp10",
    "exp10f",
    "exp2",
    "exp2f",
    "expf",
    "expm1",
    "expm1f",
    "fabs",
    "fabsf",
    "fdim",
    "fdimf",
    "floor",
    "floorf",
    "fma",
    "fmaf",
    "fmax",
    "fmaxf",
    "fmaximum",
    "fmaximumf",
    "fmin",
    "fminf",
    "fminimum",
    "fminimumf",
    "fmod",
    "fmodf",
    "frexp",
    "frexpf",
    "hypot",
    "hypotf",
    "ilogb",
    "ilogbf",
    "j0",
    "j1",
    "jn",
    "ldexp",
    "ldexpf",
    "lgamma",
    "lgammaf",
    "log",
    "log10",
    "log10f",
    "log1p",
    "log1pf",
    "log2",
    "log2f",
    "logf",
    "modf",
    "modff",
    "nextafter",
    "nextafterf",
    "pow",
    "powf",
    "remainder",
    "remainderf",
    "remquo",
    "remquof",
    "rint",
    "rintf",
    "round",
    "roundf",
    "roundeven",
    "roundevenf",
    "scalbn",
    "scalbnf",
    "sin",
    "sincos",
    "sincosf",
    "sinf",
    "sinh",
    "sinhf",
    "sqrt",
    "sqrtf",
    "tan",
    "tanf",
    "tanh",
    "tanhf",
    "tgamma",
    "tgammaf",
    "trunc",
    "truncf",
    "y0",
    "y1",
    "yn",
];

/// Names of the generated client's own methods, and of those that implementing `State` and `App` gives the state.
const TAKEN_BY_CLIENT: &[&str] = &["new", "at", "app", "with_deposit", "with_gas", "clone"];

fn check_name(role: Role, name: &str, span: Span) -> syn::Result<()> {
    let refuse = |message: String| Err(syn::Error::new(span, message));
    if matches!(role, Role::Call | Role::Query) && TAKEN_BY_CLIENT.contains(&name) {
        return refuse(format!("the generated client has a method `{name}` of its own: choose another name"));
    }
    if role != Role::Call {
        return Ok(());
    }
    if name.starts_with("query_") {
        return refuse(
            "`query_` starts the exports of queries: choose another name for this call".to_string(),
        );
    }
    if matches!(name, "initialize" | "migrate" | "stop") {
        return refuse(format!(
            "`{name}` is part of the life cycle: choose another name, or mark the method as `#[init]`, `#[migrate]` or `#[stop]`"
        ));
    }
    if TAKEN_BY_LINKER.contains(&name) || name.starts_with("__") {
        return refuse(format!(
            "`{name}` has a meaning for the wasm linker: choose another name for this call"
        ));
    }
    Ok(())
}
