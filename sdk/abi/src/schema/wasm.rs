//! Finds the schema in a module.

use crate::host::SCHEMA_SECTION;

/// Section number of custom sections.
const CUSTOM: u8 = 0;

/// Returns the schema's bytes, or `None` when the module carries none or is malformed before them. Only the sections'
/// frames are read; whether the rest is valid wasm is for others to say.
pub fn section(wasm: &[u8]) -> Option<&[u8]> {
    let mut rest = wasm.strip_prefix(b"\0asm\x01\0\0\0")?;
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = leb_u32(after)?;
        let (body, after) = after.split_at_checked(length as usize)?;
        if *id == CUSTOM {
            let (length, body) = leb_u32(body)?;
            let (name, content) = body.split_at_checked(length as usize)?;
            if name == SCHEMA_SECTION.as_bytes() {
                return Some(content);
            }
        }
        rest = after;
    }
    None
}

/// Reads an unsigned LEB128 of at most 32 bits.
fn leb_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u32;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        let low = u32::from(byte & 0x7f);
        // The fifth byte holds the last four bits.
        if index == 4 && low > 0x0f {
            return None;
        }
        value |= low << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}
