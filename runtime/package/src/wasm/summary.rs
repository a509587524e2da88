//! What the checks look at, read once from a module that has been validated.

use purlin_abi::host;
use wasmparser::{
    CompositeInnerType, ExternalKind, FuncType, MemoryType, Parser, Payload, TableType, TypeRef,
};

use super::error::WasmError;

/// A module's declarations.
#[derive(Debug, Default)]
pub(super) struct Summary<'a> {
    pub(super) types: Vec<Option<FuncType>>,
    /// Type of each function, imported ones first.
    function_types: Vec<u32>,
    pub(super) imports: Vec<wasmparser::Import<'a>>,
    pub(super) exports: Vec<wasmparser::Export<'a>>,
    pub(super) defined_functions: u32,
    pub(super) globals: u32,
    pub(super) tables: Vec<TableType>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) element_segments: u32,
    pub(super) data_segments: u32,
    /// Locals of each defined function without its parameters.
    locals: Vec<u64>,
    pub(super) has_start: bool,
    pub(super) schemas: Vec<&'a [u8]>,
}

impl<'a> Summary<'a> {
    /// Reads a valid module.
    pub(super) fn read(wasm: &'a [u8]) -> Result<Self, WasmError> {
        let mut summary = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            payload.and_then(|payload| summary.add(payload)).map_err(|error| WasmError::Invalid {
                offset: error.offset(),
                reason: error.message().to_owned(),
            })?;
        }
        Ok(summary)
    }

    fn add(&mut self, payload: Payload<'a>) -> Result<(), wasmparser::Error> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for subtype in group?.into_types() {
                        self.types.push(match subtype.composite_type.inner {
                            CompositeInnerType::Func(function) => Some(function),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if let TypeRef::Func(index) | TypeRef::FuncExact(index) = import.ty {
                        self.function_types.push(index);
                    }
                    self.imports.push(import);
                }
            }
            Payload::FunctionSection(section) => {
                self.defined_functions = section.count();
                for index in section {
                    self.function_types.push(index?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.tables.push(table?.ty);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memories.push(memory?);
                }
            }
            Payload::GlobalSection(section) => self.globals = section.count(),
            Payload::ExportSection(section) => {
                for export in section {
                    self.exports.push(export?);
                }
            }
            Payload::StartSection { .. } => self.has_start = true,
            Payload::ElementSection(section) => self.element_segments = section.count(),
            Payload::DataSection(section) => self.data_segments = section.count(),
            Payload::CodeSectionEntry(body) => {
                let mut locals = 0;
                for group in body.get_locals_reader()? {
                    locals += u64::from(group?.0);
                }
                self.locals.push(locals);
            }
            Payload::CustomSection(section) if section.name() == host::SCHEMA_SECTION => {
                self.schemas.push(section.data());
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the type with this index.
    pub(super) fn type_at(&self, index: u32) -> Option<&FuncType> {
        self.types.get(index as usize)?.as_ref()
    }

    /// Returns the type of a function.
    pub(super) fn type_of(&self, function: u32) -> Option<&FuncType> {
        self.type_at(*self.function_types.get(function as usize)?)
    }

    /// Lists defined functions with their locals, parameters included.
    pub(super) fn locals(&self) -> impl Iterator<Item = (u32, u64)> {
        let imported = self.function_types.len() as u32 - self.defined_functions;
        self.locals.iter().zip(imported..).map(|(locals, function)| {
            let parameters = self.type_of(function).map_or(0, |ty| ty.params().len() as u64);
            (function, locals + parameters)
        })
    }
}

/// Names a kind of import for people.
pub(super) fn import_kind(ty: &TypeRef) -> &'static str {
    match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => "function",
        TypeRef::Table(_) => "table",
        TypeRef::Memory(_) => "memory",
        TypeRef::Global(_) => "global",
        TypeRef::Tag(_) => "tag",
    }
}

/// Names a kind of export for people.
pub(super) fn export_kind(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => "function",
        ExternalKind::Table => "table",
        ExternalKind::Memory => "memory",
        ExternalKind::Global => "global",
        ExternalKind::Tag => "tag",
    }
}
