//! Layers of settings and where values came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::registry::{SETTINGS, SettingSpec, environment_name, find_setting, nearest};
use super::{ConfigError, file};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag on the command line.
    Flag {
        /// As typed, with dashes.
        name: String,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// The settings file.
    File {
        /// Which.
        path: PathBuf,
    },
    /// A command's own choice, such as `purlin dev`.
    Command {
        /// Which.
        name: &'static str,
    },
    /// Built in.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag { name } => write!(f, "flag {name}"),
            Self::Environment { name } => write!(f, "environment {name}"),
            Self::File { path } => write!(f, "{}", path.display()),
            Self::Command { name } => write!(f, "purlin {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One layer: some settings, each with its origin. Values are checked when they are put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartialSettings {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl PartialSettings {
    /// Makes an empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a value in, checking name and value.
    pub fn set(&mut self, key: &str, value: impl Into<String>, origin: Origin) -> Result<(), ConfigError> {
        let value = value.into();
        let spec = check(key, &value, &origin)?;
        self.values.insert(spec.key, (value, origin));
        Ok(())
    }

    /// Reads the variables that name settings; others, also those that start with `PURLIN_`, are left alone.
    pub fn from_environment(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let names: BTreeMap<String, &str> =
            SETTINGS.iter().map(|setting| (environment_name(setting.key), setting.key)).collect();
        let mut layer = Self::new();
        for (name, value) in variables {
            if let Some(key) = names.get(&name) {
                layer.set(key, value, Origin::Environment { name })?;
            }
        }
        Ok(layer)
    }

    /// Reads a file; one that does not exist is an empty layer. Unknown names are refused.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_toml(&text, path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::new()),
            Err(source) => Err(ConfigError::Io { path: path.into(), operation: "read", source }),
        }
    }

    /// Reads the text of a file; `path` is for messages.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut layer = Self::new();
        for (key, value) in file::flatten(text, path)? {
            layer.set(&key, value, Origin::File { path: path.into() })?;
        }
        Ok(layer)
    }
}

/// Finds a setting and checks a value for it.
pub(super) fn check(key: &str, value: &str, origin: &Origin) -> Result<&'static SettingSpec, ConfigError> {
    let Some(spec) = find_setting(key) else {
        return Err(ConfigError::UnknownKey {
            key: key.to_owned(),
            suggestion: nearest(key),
            origin: origin.clone(),
        });
    };
    (spec.check)(value).map_err(|expected| ConfigError::Value {
        key: spec.key,
        value: value.to_owned(),
        expected,
        origin: origin.clone(),
    })?;
    Ok(spec)
}

/// A merged value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSetting {
    /// Which setting.
    pub key: &'static str,
    /// Its value as text.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Merges layers over the defaults; the first layer that has a value wins.
pub(super) fn merge(layers: &[PartialSettings]) -> Vec<ResolvedSetting> {
    let resolve = |setting: &SettingSpec| {
        let found = layers.iter().find_map(|layer| layer.values.get(setting.key)).cloned();
        let (value, origin) = found.unwrap_or_else(|| (setting.default.to_owned(), Origin::Default));
        ResolvedSetting { key: setting.key, value, origin }
    };
    SETTINGS.iter().map(resolve).collect()
}
