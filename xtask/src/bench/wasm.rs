//! A module of a given size, for measuring installation.

use anyhow::Result;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const MANIFEST: &str = r#"{"id":"large","name":"Large","version":"1.0.0","abi":1,"auto_start":true}"#;
/// A method without arguments; the schema lets the command line call it.
const SCHEMA: &str = r#"{"abi":1,"name":"Large","methods":[{"name":"touch","kind":"call","params":[],"returns":{"type":"null","x-borsh":"unit"},"payable":false}],"events":[],"errors":[],"state":[]}"#;

/// Writes manifest and module of an application of about `bytes` bytes; returns the module's path.
pub(super) fn write_project(folder: &Path, bytes: usize) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("manifest.json"), MANIFEST)?;
    let mut functions = 1;
    let mut module = assemble(functions)?;
    while module.len() < bytes {
        functions = (functions * bytes / module.len()).max(functions + 1);
        module = assemble(functions)?;
    }
    let path = folder.join("large.wasm");
    std::fs::write(&path, module)?;
    Ok(path)
}

/// Functions of some 250 bytes each: arithmetic, a loop, memory; each calls the next.
fn assemble(functions: usize) -> Result<Vec<u8>> {
    let mut text = String::from("(module (memory (export \"memory\") 2)\n");
    writeln!(text, "(@custom \"purlin.schema\" \"{}\")", SCHEMA.replace('"', "\\\""))?;
    text.push_str(
        "(func (export \"initialize\"))\n(func (export \"touch\") (drop (call $f0 (i64.const 1))))\n",
    );
    for index in 0..functions {
        writeln!(text, "(func $f{index} (param $x i64) (result i64) (local $i i32)")?;
        for step in 0..10 {
            let constant = 1_000_003 * (index + 1) + step;
            writeln!(
                text,
                "(local.set $x (i64.rotl (i64.mul (i64.xor (local.get $x) (i64.const {constant})) (i64.const 31)) (i64.const {step})))"
            )?;
        }
        writeln!(text, "(block $out (loop $again (br_if $out (i32.ge_u (local.get $i) (i32.const 4)))")?;
        writeln!(text, "(i64.store (i32.shl (local.get $i) (i32.const 3)) (local.get $x))")?;
        writeln!(text, "(local.set $i (i32.add (local.get $i) (i32.const 1))) (br $again)))")?;
        // A short chain, so that a call touches little of it.
        let next = if index % 16 < 15 && index + 1 < functions {
            format!("(call $f{} (local.get $x))", index + 1)
        } else {
            "(local.get $x)".into()
        };
        writeln!(text, "{next})")?;
    }
    text.push(')');
    Ok(wat::parse_str(&text)?)
}
