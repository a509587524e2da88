//! The import check: the import module is the capability, so this is the permission check too.

use purlin_abi::Manifest;
use purlin_abi::host::{self, HostFunction, ValueType};
use wasmparser::{FuncType, TypeRef, ValType};

use super::error::{UngrantedImport, WasmError};
use super::summary::{Summary, import_kind};
use crate::text::nearest;

/// Checks that every import is a function of the ABI, with its type, and granted by the manifest. Ungranted
/// ones are collected, so that one look at the message is enough.
pub(super) fn check_imports(module: &Summary<'_>, manifest: &Manifest) -> Result<(), WasmError> {
    let mut ungranted = Vec::new();
    for import in &module.imports {
        let (TypeRef::Func(type_index) | TypeRef::FuncExact(type_index)) = import.ty else {
            return Err(WasmError::ImportKind {
                module: import.module.to_owned(),
                name: import.name.to_owned(),
                kind: import_kind(&import.ty),
            });
        };
        let function = find(import.module, import.name)?;
        check_type(function, module.type_at(type_index))?;
        let permission = host::permission_of(function.module).expect("every capability has a permission");
        if function.module != host::CORE && !manifest.permissions.iter().any(|granted| granted == permission)
        {
            let import = UngrantedImport { module: function.module, name: function.name, permission };
            if !ungranted.contains(&import) {
                ungranted.push(import);
            }
        }
    }
    if ungranted.is_empty() { Ok(()) } else { Err(WasmError::NotGranted { imports: ungranted }) }
}

fn find(module: &str, name: &str) -> Result<&'static HostFunction, WasmError> {
    if let Some(function) = host::find(module, name) {
        return Ok(function);
    }
    let (module, name) = (module.to_owned(), name.to_owned());
    if host::CAPABILITIES.contains(&module.as_str()) {
        let known = host::FUNCTIONS.iter().filter(|function| function.module == module);
        let nearest = nearest(&name, known.map(|function| function.name));
        return Err(WasmError::UnknownFunction { module, name, nearest });
    }
    let nearest = nearest(&module, host::CAPABILITIES.iter().copied());
    let hint = match module.as_str() {
        "env" => "a function is declared but defined nowhere, so link what defines it",
        "__wbindgen_placeholder__" | "__wbindgen_externref_xform__" | "wbg" => {
            "a dependency expects a browser (wasm-bindgen), so switch that feature of it off"
        }
        wasi if wasi.starts_with("wasi") => "WASI is not offered, so build for wasm32-unknown-unknown",
        _ => "applications import only from the purlin.*.v1 modules",
    };
    Err(WasmError::UnknownModule { module, name, nearest, hint })
}

fn check_type(function: &HostFunction, found: Option<&FuncType>) -> Result<(), WasmError> {
    let params = function.params.iter().map(value_type);
    let result = function.result.iter().map(value_type);
    let same = found.is_some_and(|found| {
        params.clone().eq(found.params().iter().copied())
            && result.clone().eq(found.results().iter().copied())
    });
    if same {
        return Ok(());
    }
    Err(WasmError::ImportType {
        module: function.module.to_owned(),
        name: function.name.to_owned(),
        found: found.map_or_else(|| "another type".to_owned(), show_type),
        expected: show(params, result),
    })
}

fn value_type(ty: &ValueType) -> ValType {
    match ty {
        ValueType::I32 => ValType::I32,
        ValueType::I64 => ValType::I64,
    }
}

/// Shows a function's type: `(i32, i32) -> i32`.
pub(super) fn show_type(ty: &FuncType) -> String {
    show(ty.params().iter().copied(), ty.results().iter().copied())
}

fn show(params: impl Iterator<Item = ValType>, results: impl Iterator<Item = ValType>) -> String {
    // A hostile type has a thousand parameters; the first few tell.
    const SHOWN_MAX: usize = 12;
    let list = |types: Vec<String>| match types.len() {
        0..=SHOWN_MAX => types.join(", "),
        count => format!("{}, ... {} more", types[..SHOWN_MAX].join(", "), count - SHOWN_MAX),
    };
    let params = list(params.map(|ty| ty.to_string()).collect());
    let results: Vec<String> = results.map(|ty| ty.to_string()).collect();
    match results.as_slice() {
        [one] => format!("({params}) -> {one}"),
        _ => format!("({params}) -> ({})", list(results)),
    }
}
