//! Finds the repository and its text files.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Folders that hold nothing of the repository's own: build output, and git itself.
const SKIPPED_FOLDERS: &[&str] = &["target", ".git", "node_modules"];
/// Kinds of files that hold words: what the rules on text look at.
const TEXT_EXTENSIONS: &[&str] =
    &["rs", "md", "toml", "json", "template", "html", "js", "ts", "css", "sh", "yml", "yaml"];

/// A text file of the repository.
#[derive(Debug, Clone)]
pub struct File {
    /// Path from the root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Returns the root of this workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is two folders below the root").to_path_buf()
}

/// Reads all text files below the root, in path order. Looks at the folder, not at git, so that it also works in an
/// unpacked archive.
pub fn text_files(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("list {}", folder.display()))?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().with_context(|| format!("look at {}", path.display()))?;
            if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file() && is_text(&path) {
                let text =
                    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                files.push(File { path: relative(root, &path), text });
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

/// Returns a path from the root, with `/`.
pub fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn is_text(path: &Path) -> bool {
    match path.extension() {
        Some(extension) => TEXT_EXTENSIONS.iter().any(|known| extension == *known),
        // Scripts without an extension, such as .ci/run.
        None => path.parent().is_some_and(|parent| parent.file_name().is_some_and(|name| name == ".ci")),
    }
}
