//! `purlin app new`: a folder to start from.

use purlin_abi::AppId;
use std::path::PathBuf;

use super::{build, project, sdk};
use crate::context::Context;
use crate::error::{Attempt, CliError};

/// Template files: where they go, and what is in them.
const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../../template/Cargo.toml.template")),
    ("manifest.json", include_str!("../../../template/manifest.json")),
    ("src/lib.rs", include_str!("../../../template/src/lib.rs.template")),
    ("tests/app.rs", include_str!("../../../template/tests/app.rs.template")),
    ("README.md", include_str!("../../../template/README.md")),
    (".gitignore", "/target\n/.purlin\n"),
];

/// Arguments of `purlin app new`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the application: a-z, 0-9 and '-', starting with a letter
    name: String,
    /// Folder to create [default: the name]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

/// Creates the folder.
pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let id: AppId = args
        .name
        .parse()
        .map_err(|error| CliError::usage(format!("{error}")).hint("for example: purlin app new hello"))?;
    let folder = args.path.unwrap_or_else(|| PathBuf::from(id.as_str()));
    if folder.exists() {
        return Err(CliError::usage(format!("{} exists already; nothing was changed", folder.display()))
            .hint("choose another name, or another folder with --path"));
    }
    let type_name: String = id.as_str().split('-').map(capitalised).collect();
    let crate_name = id.as_str().replace('-', "_");
    for (path, text) in FILES {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).attempt(|| format!("create {}", parent.display()))?;
        let text = text
            .replace("{{id}}", id.as_str())
            .replace("{{Type}}", &type_name)
            .replace("{{crate}}", &crate_name);
        std::fs::write(&path, text).attempt(|| format!("write {}", path.display()))?;
    }
    sdk::unpack(&folder)?;
    context.output.result(
        || serde_json::json!({ "id": id, "path": folder }),
        || {
            format!(
                "created {0}\n\nnext:\n  cd {0}\n  purlin app build\n  purlin app test\n  purlin app install",
                build::shown(&folder)
            )
        },
    );
    // The folder is complete either way; better to hear of a missing target now than in the middle of a build.
    if let Err(missing) = project::require_toolchain(&folder) {
        context.output.note(format!("\nbefore you build: {missing}"));
        if let Some(hint) = missing.hint {
            context.output.note(format!("  {hint}"));
        }
    }
    Ok(())
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}
