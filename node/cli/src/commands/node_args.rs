//! From flags, environment and file to a node's settings.

use purlin_service::{Home, Origin, PartialSettings, Settings};

use crate::error::CliError;

/// Settings of a node that are often changed on the command line; `--set` reaches all of them.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct NodeArgs {
    /// Address of the HTTP API, or `off`
    #[arg(long, value_name = "HOST:PORT")]
    api: Option<String>,
    /// Least time between blocks, in milliseconds; 0 makes one as soon as a transaction waits
    #[arg(long, value_name = "MS")]
    block_interval: Option<u64>,
    /// Which log lines are written, as in RUST_LOG
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Any setting, as `purlin config show` names it; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl NodeArgs {
    /// Returns the layers, the strongest first: flags, environment, file.
    pub(crate) fn layers(&self, home: &Home) -> Result<Vec<PartialSettings>, CliError> {
        let mut flags = PartialSettings::new();
        let named = [
            ("api.listen", "--api", self.api.clone()),
            (
                "chain.block_interval_ms",
                "--block-interval",
                self.block_interval.map(|value| value.to_string()),
            ),
            ("log.filter", "--log", self.log.clone()),
        ];
        for (key, flag, value) in named {
            if let Some(value) = value {
                flags.set(key, value, Origin::Flag { name: flag.into() }).map_err(config_error)?;
            }
        }
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                CliError::usage(format!("--set {pair:?} is not KEY=VALUE"))
                    .hint("for example: --set chain.block_interval_ms=1000")
            })?;
            flags.set(key, value, Origin::Flag { name: "--set".into() }).map_err(config_error)?;
        }
        let environment = PartialSettings::from_environment(std::env::vars()).map_err(config_error)?;
        let file = PartialSettings::from_file(&home.config()).map_err(config_error)?;
        Ok(vec![flags, environment, file])
    }

    /// Returns the settings of the node in `home`.
    pub(crate) fn settings(&self, home: Home) -> Result<Settings, CliError> {
        let layers = self.layers(&home)?;
        Settings::resolve(home, &layers).map_err(config_error)
    }
}

/// Turns a settings error into one of usage; its text says where and what was expected.
pub(crate) fn config_error(error: purlin_service::ConfigError) -> CliError {
    CliError::usage(error.to_string())
        .hint("`purlin config show` lists every setting, its value and where it came from")
}
