//! Reads documentation comments, and names.

use syn::{Attribute, Expr, ExprLit, Ident, Lit, Meta};

/// Longest name that a schema takes.
const NAME_BYTES_MAX: usize = 64;

/// Returns the text of an item's documentation.
pub(crate) fn text(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes.iter().filter_map(line).collect();
    lines.join("\n").trim().to_string()
}

/// Returns the first paragraph of an item's documentation, as one line.
pub(crate) fn sentence(attributes: &[Attribute]) -> String {
    let text = text(attributes);
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ")
}

fn line(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                let text = text.value();
                Some(text.strip_prefix(' ').unwrap_or(&text).to_string())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Returns a name as tools show it; refuses what they could not show or type.
pub(crate) fn name(ident: &Ident) -> syn::Result<String> {
    let text = ident.to_string();
    let text = text.strip_prefix("r#").unwrap_or(&text).to_string();
    if !text.is_ascii() {
        let message = format!("`{text}` is part of the application's interface: write it in letters a to z");
        return Err(syn::Error::new(ident.span(), message));
    }
    if text.len() > NAME_BYTES_MAX {
        let message = format!("this name has {} characters: use at most {NAME_BYTES_MAX}", text.len());
        return Err(syn::Error::new(ident.span(), message));
    }
    Ok(text)
}
