//! Telling a method's arguments from the command's own options.
//!
//! `purlin app call counter increment --by 2 --from alice`: `--from` is the command's, `--by` the method's. A
//! parameter that has the name of an option is reached as `--arg.from`, or in JSON.

use clap::{Args, FromArgMatches};
use purlin_abi::schema::Method;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliError;

/// Prefix that makes a flag the method's in any case.
const METHOD_PREFIX: &str = "arg.";

/// Arguments of a method as typed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct MethodArguments {
    json: Option<String>,
    flags: Vec<(String, String)>,
}

/// Splits words into options `T` of the command and the method's arguments.
pub(super) fn split<T: Args + FromArgMatches>(
    words: &[String],
    context: &Context,
) -> Result<(T, MethodArguments, Context), CliError> {
    let parser =
        T::augment_args(crate::args::Global::augment_args(clap::Command::new("purlin").no_binary_name(true)));
    let mut own = Vec::new();
    let mut method = MethodArguments::default();
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let Some(flag) = word.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
            if word == "-q" {
                own.push(word.clone());
            } else if method.json.replace(word.clone()).is_some() {
                return Err(CliError::usage(format!("unexpected argument {word:?}"))
                    .hint("give arguments as one JSON value in quotes, or as flags: --name value"));
            }
            continue;
        };
        let (name, inline) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (flag, None),
        };
        let option = parser.get_arguments().find(|option| option.get_long() == Some(name));
        match option {
            Some(option) => {
                own.push(word.clone());
                if inline.is_none() && option.get_action().takes_values() {
                    own.extend(rest.next().cloned());
                }
            }
            None => {
                let name = name.strip_prefix(METHOD_PREFIX).unwrap_or(name);
                // A flag without a value is a `true`.
                let value = inline
                    .or_else(|| rest.next_if(|next| !next.starts_with("--")).cloned())
                    .unwrap_or_else(|| "true".into());
                method.flags.push((name.into(), value));
            }
        }
    }
    let matches = parser.try_get_matches_from(&own).map_err(|error| CliError::usage(first_line(&error)))?;
    let options = T::from_arg_matches(&matches).map_err(|error| CliError::usage(first_line(&error)))?;
    let global = crate::args::Global::from_arg_matches(&matches)
        .map_err(|error| CliError::usage(first_line(&error)))?;
    Ok((options, method, context.overridden(&global)))
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string()
}

impl MethodArguments {
    /// Encodes by the method's schema; errors name the argument and what was expected.
    pub(super) fn encode(&self, app: &str, method: &Method) -> Result<Vec<u8>, CliError> {
        let refused = |error: purlin_abi::schema::SchemaError| {
            CliError::usage(error.to_string()).hint(format!("{app} has: {method}"))
        };
        match (&self.json, self.flags.is_empty()) {
            (Some(json), true) => {
                let value = parse_json(json)?;
                method.encode_arguments(&value).map_err(refused)
            }
            (Some(_), false) => Err(CliError::usage("arguments were given both as JSON and as flags")
                .hint("use one of the two; nothing was sent")),
            (None, _) => {
                let flags: Vec<(&str, &str)> =
                    self.flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                method.encode_flags(&flags).map_err(refused)
            }
        }
    }
}

/// Reads JSON that a person typed.
pub(super) fn parse_json(text: &str) -> Result<Value, CliError> {
    serde_json::from_str(text).map_err(|error| {
        CliError::usage(format!("{text:?} is not JSON: {error}"))
            .hint("quote it for the shell: '{\"by\":2}'; or use flags: --by 2")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::SendArgs;
    use clap::Parser;

    fn context() -> Context {
        let cli = crate::args::Cli::parse_from(["purlin", "app", "list"]);
        Context::new(&cli.global)
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn the_commands_options_and_the_methods_arguments_are_told_apart() {
        let (send, method, context): (SendArgs, _, _) =
            split(&words("--by 2 --from alice --flag --arg.from bob --json --fee=3"), &context()).unwrap();
        assert_eq!(send.from.as_deref(), Some("alice"));
        assert_eq!(send.fee.map(|fee| fee.get()), Some(3));
        assert_eq!(context.output.format, crate::output::Format::Json);
        let flags = [("by", "2"), ("flag", "true"), ("from", "bob")];
        assert_eq!(method.flags, flags.map(|(name, value)| (name.to_string(), value.to_string())));
    }

    #[test]
    fn two_json_values_and_bad_options_are_refused() {
        assert!(split::<SendArgs>(&words("{} {}"), &context()).is_err());
        assert!(split::<SendArgs>(&words("--fee much"), &context()).is_err());
        assert!(split::<SendArgs>(&words("--from"), &context()).is_err());
    }

    #[test]
    fn negative_numbers_are_values() {
        let (_, method, _): (SendArgs, _, _) = split(&words("--offset -5"), &context()).unwrap();
        assert_eq!(method.flags, [("offset".to_string(), "-5".to_string())]);
    }
}
