//! Meters the wasm stack by rewriting a module before it is compiled.
//!
//! Where a native stack ends depends on the code generator; a verdict must not. So each function that can
//! call others takes its frame's units from a global on entry and gives them back on exit:
//!
//! ```text
//! (if (i32.lt_u (global.get $units) (i32.const FRAME))
//!   (then (global.set $units (i32.const -1)) (unreachable)))
//! (global.set $units (i32.sub (global.get $units) (i32.const FRAME)))
//! (block (result ...) ;; the body; `return` gives the units back first
//! )
//! (global.set $units (i32.add (global.get $units) (i32.const FRAME)))
//! ```
//!
//! `FRAME` is `8 bytes x (locals + highest operand stack) + 64`. A function that calls nothing and is small
//! is left alone: it can only be the last frame, and the native stack has room for one. The global is added
//! behind the module's own, so that no index changes, and exported for the host. Custom sections other than
//! the names are dropped: debug information would point to the wrong places.

use purlin_abi::limits::STACK_UNITS_MAX;
use wasm_encoder::reencode::{self, Reencode, RoundtripReencoder};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, GlobalSection, GlobalType, Instruction,
    Module, SectionId, TypeSection, ValType,
};
use wasmparser::{
    FuncToValidate, FuncType, FuncValidatorAllocations, FunctionBody, Operator, Parser, Payload,
    ValidPayload, Validator, ValidatorResources,
};

use crate::settings::wasm_features;

/// Part of the key of compiled code: a change of this file's output needs a new number.
pub(crate) const METERING_VERSION: u32 = 1;

/// What the global holds after the stack was exhausted.
pub(crate) const EXHAUSTED: i32 = -1;

/// Units of a frame beside its locals and operands: return address, saved registers.
const FRAME_UNITS: u32 = 64;
/// Units of one local or operand.
const SLOT_UNITS: u32 = 8;
/// Largest frame of a function that calls nothing and is not metered.
const LEAF_UNITS_MAX: u32 = 1024;

/// Name of the export; a module that has it already gets it with underscores behind.
const EXPORT: &str = "purlin_stack_units";

/// A rewritten module.
#[derive(Debug)]
pub(crate) struct Metered {
    /// The wasm to compile.
    pub(crate) wasm: Vec<u8>,
    /// Name of the exported global that holds the units left, or [`EXHAUSTED`].
    pub(crate) export: String,
}

/// What the first pass learns of a function.
struct Frame {
    /// Units to take; `None` leaves the function as it is.
    units: Option<u32>,
    /// Index of its type.
    type_index: u32,
}

/// What the first pass learns of a module.
#[derive(Default)]
struct Facts {
    types: Vec<FuncType>,
    /// Type of each function that the module defines.
    function_types: Vec<u32>,
    frames: Vec<Frame>,
    globals: u32,
    has_global_section: bool,
    has_export_section: bool,
    exports: Vec<String>,
}

/// Checks a module against the engine's features and rewrites it.
///
/// # Errors
/// What is wrong with the module, for a person.
pub(crate) fn meter(wasm: &[u8]) -> Result<Metered, String> {
    let facts = examine(wasm).map_err(|error| error.to_string())?;
    let mut export = EXPORT.to_owned();
    while facts.exports.contains(&export) {
        export.push('_');
    }
    let types = facts.types.len() as u32;
    let mut rewriter = Rewriter {
        facts,
        export,
        new_types: Vec::new(),
        types,
        next_function: 0,
        has_global: false,
        has_export: false,
    };
    rewriter.plan_block_types();
    let mut module = Module::new();
    rewriter.parse_core_module(&mut module, Parser::new(0), wasm).map_err(|error| error.to_string())?;
    Ok(Metered { wasm: module.finish(), export: rewriter.export })
}

fn examine(wasm: &[u8]) -> wasmparser::Result<Facts> {
    let mut facts = Facts::default();
    let mut validator = Validator::new_with_features(wasm_features());
    let mut allocations = FuncValidatorAllocations::default();
    let mut parser = Parser::new(0);
    parser.set_features(wasm_features());
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            let (frame, reused) = examine_function(&facts, function, &body, allocations)?;
            allocations = reused;
            facts.frames.push(frame);
        }
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    facts.types.push(ty?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if matches!(import?.ty, wasmparser::TypeRef::Global(_)) {
                        facts.globals += 1;
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    facts.function_types.push(index?);
                }
            }
            Payload::GlobalSection(section) => {
                facts.has_global_section = true;
                facts.globals += section.count();
            }
            Payload::ExportSection(section) => {
                facts.has_export_section = true;
                for export in section {
                    facts.exports.push(export?.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn examine_function(
    facts: &Facts,
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    allocations: FuncValidatorAllocations,
) -> wasmparser::Result<(Frame, FuncValidatorAllocations)> {
    let type_index = facts.function_types[facts.frames.len()];
    let mut validator = function.into_validator(allocations);
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    let mut operators = body.get_operators_reader()?;
    let mut height = 0;
    let mut calls = false;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        calls |= matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. });
        validator.op(offset, &operator)?;
        height = height.max(validator.operand_stack_height());
    }
    operators.finish()?;
    let slots = validator.len_locals().saturating_add(height);
    let units = slots.saturating_mul(SLOT_UNITS).saturating_add(FRAME_UNITS);
    let metered = calls || units > LEAF_UNITS_MAX;
    let frame = Frame { units: metered.then_some(units.min(i32::MAX as u32)), type_index };
    Ok((frame, validator.into_allocations()))
}

struct Rewriter {
    facts: Facts,
    export: String,
    /// Types `() -> results` for the blocks around bodies with several results.
    new_types: Vec<(u32, Vec<wasmparser::ValType>)>,
    /// Types in the module, the new ones included.
    types: u32,
    next_function: usize,
    has_global: bool,
    has_export: bool,
}

impl Rewriter {
    /// Adds a block type for each metered function type with several results.
    fn plan_block_types(&mut self) {
        for frame in self.facts.frames.iter().filter(|frame| frame.units.is_some()) {
            let results = self.facts.types[frame.type_index as usize].results();
            let known = |(_, other): &(u32, Vec<wasmparser::ValType>)| other == results;
            if results.len() > 1 && !self.new_types.iter().any(known) {
                self.new_types.push((self.types, results.to_vec()));
                self.types += 1;
            }
        }
    }

    fn body_type(&self, type_index: u32) -> Result<BlockType, reencode::Error> {
        let results = self.facts.types[type_index as usize].results();
        Ok(match results {
            [] => BlockType::Empty,
            [one] => BlockType::Result(RoundtripReencoder.val_type(*one)?),
            several => {
                let (index, _) = self
                    .new_types
                    .iter()
                    .find(|(_, other)| other == several)
                    .expect("plan_block_types saw every metered function");
                BlockType::FunctionType(*index)
            }
        })
    }

    fn units_global(&self) -> u32 {
        self.facts.globals
    }

    fn add_global(&mut self, globals: &mut GlobalSection) {
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i32_const(STACK_UNITS_MAX as i32));
        self.has_global = true;
    }

    fn add_export(&mut self, exports: &mut ExportSection) {
        exports.export(&self.export, ExportKind::Global, self.units_global());
        self.has_export = true;
    }

    /// Gives a frame's units back; leaves the operand stack as it is.
    fn leave(&self, units: i32) -> [Instruction<'static>; 4] {
        let global = self.units_global();
        [
            Instruction::GlobalGet(global),
            Instruction::I32Const(units),
            Instruction::I32Add,
            Instruction::GlobalSet(global),
        ]
    }
}

/// Position of a section in a module.
fn rank(section: SectionId) -> u8 {
    match section {
        SectionId::Custom => 0,
        SectionId::Type => 1,
        SectionId::Import => 2,
        SectionId::Function => 3,
        SectionId::Table => 4,
        SectionId::Memory => 5,
        SectionId::Tag => 6,
        SectionId::Global => 7,
        SectionId::Export => 8,
        SectionId::Start => 9,
        SectionId::Element => 10,
        SectionId::DataCount => 11,
        SectionId::Code => 12,
        SectionId::Data => 13,
    }
}

impl Reencode for Rewriter {
    type Error = std::convert::Infallible;

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_type_section(self, types, section)?;
        for (_, results) in &self.new_types {
            let results =
                results.iter().map(|ty| RoundtripReencoder.val_type(*ty)).collect::<Result<Vec<_>, _>>()?;
            types.ty().function([], results);
        }
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_global_section(self, globals, section)?;
        self.add_global(globals);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_export_section(self, exports, section)?;
        self.add_export(exports);
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), reencode::Error> {
        let next = before.map_or(u8::MAX, rank);
        if !self.facts.has_global_section && !self.has_global && next > rank(SectionId::Global) {
            let mut globals = GlobalSection::new();
            self.add_global(&mut globals);
            module.section(&globals);
        }
        if !self.facts.has_export_section && !self.has_export && next > rank(SectionId::Export) {
            let mut exports = ExportSection::new();
            self.add_export(&mut exports);
            module.section(&exports);
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        if section.name() == "name" {
            // Copied as it is: no index changed, and names need not be well-formed.
            module.section(&wasm_encoder::CustomSection {
                name: section.name().into(),
                data: section.data().into(),
            });
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), reencode::Error> {
        let frame = &self.facts.frames[self.next_function];
        let (units, type_index) = (frame.units, frame.type_index);
        self.next_function += 1;
        let Some(units) = units.map(|units| units as i32) else {
            return reencode::utils::parse_function_body(self, code, body);
        };
        let global = self.units_global();
        let block_type = self.body_type(type_index)?;
        let mut function = self.new_function_with_parsed_locals(&body)?;
        for instruction in [
            Instruction::GlobalGet(global),
            Instruction::I32Const(units),
            Instruction::I32LtU,
            Instruction::If(BlockType::Empty),
            Instruction::I32Const(EXHAUSTED),
            Instruction::GlobalSet(global),
            Instruction::Unreachable,
            Instruction::End,
            Instruction::GlobalGet(global),
            Instruction::I32Const(units),
            Instruction::I32Sub,
            Instruction::GlobalSet(global),
            Instruction::Block(block_type),
        ] {
            function.instruction(&instruction);
        }
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let instruction = self.parse_instruction(&mut reader)?;
            if matches!(instruction, Instruction::Return) {
                self.leave(units).iter().for_each(|leave| {
                    function.instruction(leave);
                });
            }
            // The body's last `end` closes the block; branches to the function's label now go there.
            function.instruction(&instruction);
        }
        self.leave(units).iter().for_each(|leave| {
            function.instruction(leave);
        });
        function.instruction(&Instruction::End);
        code.function(&function);
        Ok(())
    }
}
