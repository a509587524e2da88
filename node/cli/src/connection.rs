//! Finding the node and the key to sign with.

use purlin_api::{ErrorCode, OutcomeView, TransactionPlace, TransactionView};
use purlin_client::{Client, ClientError, Endpoint, TransactionOptions};
use purlin_primitives::{Action, Amount, ChainId, Gas, SecretKey};
use purlin_service::{Home, KeyName, Keystore, KeystoreError, is_development};
use std::future::Future;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::{Attempt, CliError, ExitKind};

/// Below the home folder: where `purlin dev` keeps its chain.
pub(crate) const DEV_FOLDER: &str = "dev";

/// How a transaction is signed and paid for.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SendArgs {
    /// Key that signs [default: the only one; alice on a development chain]
    #[arg(long, value_name = "KEY", env = "PURLIN_FROM", hide_env_values = true)]
    pub(crate) from: Option<String>,
    /// File with the key's passphrase; PURLIN_PASSPHRASE and the terminal are asked otherwise
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Most gas to use [default: what a trial run used, and a quarter more]
    #[arg(long, value_name = "GAS")]
    pub(crate) gas_limit: Option<u64>,
    /// Native units to pay [default: the chain's minimum]
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) fee: Option<Amount>,
}

/// A node, and the home folder that belongs to it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Talks to the node.
    pub(crate) client: Client,
    /// Folders that may hold keys, the node's own first.
    homes: Vec<Home>,
    runtime: tokio::runtime::Runtime,
}

impl Context {
    /// Folders of nodes of this user: the home folder, and the development chain below it.
    pub(crate) fn homes(&self) -> Vec<Home> {
        vec![Home::new(&self.home), Home::new(self.home.join(DEV_FOLDER))]
    }

    /// Keystores in the order in which keys are looked for.
    pub(crate) fn keystores(&self) -> Vec<Keystore> {
        self.homes().iter().map(|home| Keystore::new(home.keys())).collect()
    }

    /// Finds the node: the one the user named, or the running one of the home folder.
    pub(crate) fn connect(&self) -> Result<Connection, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .attempt(|| "start the asynchronous runtime".into())?;
        let mut homes = self.homes();
        let endpoint = match &self.node {
            Some(text) => text.parse::<Endpoint>().map_err(|error| CliError::usage(error.to_string()))?,
            None => {
                let running = homes
                    .iter()
                    .position(|home| std::os::unix::net::UnixStream::connect(home.socket()).is_ok());
                let Some(position) = running else {
                    return Err(CliError::new(
                        ExitKind::Unreachable,
                        format!(
                            "no node is running in {} or in its {DEV_FOLDER} folder",
                            self.home.display()
                        ),
                    )
                    .hint("start one with `purlin dev` or `purlin run`, or name one with --node or --home"));
                };
                homes.swap(0, position);
                Endpoint::Unix(homes[0].socket())
            }
        };
        Ok(Connection { client: Client::new(endpoint, self.token.clone()), homes, runtime })
    }
}

impl Connection {
    /// Runs a request to its end.
    pub(crate) fn run<T>(
        &self,
        request: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, CliError> {
        self.runtime.block_on(request).map_err(CliError::from)
    }

    /// Waits for a moment between two requests.
    pub(crate) fn pause(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Returns the folder of the connected node; of a node that was named by its address, this user's.
    pub(crate) fn home(&self) -> &Home {
        &self.homes[0]
    }

    /// Finds and unlocks the key to sign with.
    pub(crate) fn signer(&self, send: &SendArgs) -> Result<SecretKey, CliError> {
        let chain_id = self.run(self.client.status())?.chain_id;
        let name = match &send.from {
            Some(name) => name.parse().map_err(key_error)?,
            None => self.default_signer(&chain_id)?,
        };
        let keystore = self
            .homes
            .iter()
            .map(|home| Keystore::new(home.keys()))
            .find(|keystore| keystore.get(&name).is_ok())
            .unwrap_or_else(|| Keystore::new(self.homes[0].keys()));
        unlock(&keystore, &name, &chain_id, send)
    }

    fn default_signer(&self, chain_id: &ChainId) -> Result<KeyName, CliError> {
        let mut names = Vec::new();
        for home in &self.homes {
            let entries = Keystore::new(home.keys()).list().map_err(key_error)?;
            names.extend(entries.into_iter().map(|entry| entry.name));
        }
        let alice = names.iter().find(|name| name.as_str() == "alice");
        match (names.as_slice(), alice) {
            (_, Some(alice)) if is_development(chain_id) => Ok(alice.clone()),
            ([only], _) => Ok(only.clone()),
            ([], _) => Err(CliError::usage("there is no key to sign with")
                .hint("make one with `purlin key new NAME`, or import one with `purlin key import NAME`")),
            (several, _) => {
                let list = several.iter().map(KeyName::as_str).collect::<Vec<_>>().join(", ");
                Err(CliError::usage(format!("several keys could sign: {list}"))
                    .hint("say which with --from NAME or PURLIN_FROM"))
            }
        }
    }

    /// Signs and sends actions, waits for the block, and turns a failed outcome into an error.
    pub(crate) fn send(&self, actions: Vec<Action>, send: &SendArgs) -> Result<TransactionView, CliError> {
        let key = self.signer(send)?;
        self.send_as(&key, actions, send)
    }

    /// As [`Connection::send`], with a key that was unlocked already.
    pub(crate) fn send_as(
        &self,
        key: &SecretKey,
        actions: Vec<Action>,
        send: &SendArgs,
    ) -> Result<TransactionView, CliError> {
        let options = TransactionOptions {
            gas_limit: send.gas_limit.map(Gas::new),
            fee: send.fee,
            ..Default::default()
        };
        let committed = self.run(async {
            let transaction = self.client.sign(key, actions, &options).await?;
            self.client.submit_and_wait(&transaction).await
        })?;
        match committed.receipt.as_ref().map(|receipt| &receipt.outcome) {
            Some(OutcomeView::Failed { failure, .. }) => {
                let place = failure.app.as_ref().map(|app| format!("{app}: ")).unwrap_or_default();
                Err(CliError {
                    kind: ExitKind::Refused,
                    code: Some(failure.code.clone()),
                    message: format!("{place}{}", failure.message),
                    hint: Some(format!(
                        "nothing was changed; `purlin tx show {}` shows the receipt and what the node knows",
                        committed.id
                    )),
                })
            }
            Some(OutcomeView::Succeeded { .. }) => Ok(committed),
            None => Err(CliError::failure(format!("transaction {} has no receipt yet", committed.id))
                .hint(format!("ask again with: purlin tx show {}", committed.id))),
        }
    }
}

/// Asks for a passphrase where it is allowed to: file, environment, terminal.
pub(crate) fn unlock(
    keystore: &Keystore,
    name: &KeyName,
    chain_id: &ChainId,
    send: &SendArgs,
) -> Result<SecretKey, CliError> {
    let given = read_passphrase_file(send.passphrase_file.as_deref())?;
    keystore
        .unlock(name, chain_id, |name| given.or_else(|| ask_passphrase(&format!("passphrase of {name}: "))))
        .map_err(key_error)
}

/// Reads the first line of a passphrase file.
pub(crate) fn read_passphrase_file(
    path: Option<&std::path::Path>,
) -> Result<Option<Zeroizing<String>>, CliError> {
    let Some(path) = path else { return Ok(None) };
    let text = Zeroizing::new(std::fs::read_to_string(path).attempt(|| format!("read {}", path.display()))?);
    Ok(Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_string())))
}

/// `PURLIN_PASSPHRASE`, or what is typed; nothing without a terminal.
pub(crate) fn ask_passphrase(prompt: &str) -> Option<Zeroizing<String>> {
    if let Ok(given) = std::env::var("PURLIN_PASSPHRASE") {
        return Some(Zeroizing::new(given));
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return None;
    }
    rpassword::prompt_password(prompt).ok().map(Zeroizing::new)
}

/// Says where a committed transaction is: `block 12`.
pub(crate) fn place(transaction: &TransactionView) -> String {
    match &transaction.place {
        TransactionPlace::Committed { height, is_final: true, .. } => format!("block {height}"),
        TransactionPlace::Committed { height, confirmations, .. } => {
            format!("block {height}, not final yet, {confirmations} on top")
        }
        TransactionPlace::Pending => "waiting for a block".into(),
    }
}

/// Turns a keystore's error into one with a hint.
pub(crate) fn key_error(error: KeystoreError) -> CliError {
    key_error_ref(&error)
}

/// As [`key_error`], for an error inside another one.
pub(crate) fn key_error_ref(error: &KeystoreError) -> CliError {
    let hint = match error {
        KeystoreError::WrongPassphrase { .. } => Some("check the passphrase; nothing was changed"),
        KeystoreError::PassphraseNeeded { .. } => {
            Some("give it with --passphrase-file FILE or PURLIN_PASSPHRASE, or run this in a terminal")
        }
        _ => None,
    };
    let error = CliError::usage(error.to_string());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Unreachable { .. } | ClientError::Timeout { .. } => {
                Self::new(ExitKind::Unreachable, message)
                    .hint("check that the node runs: purlin status; or name another with --node")
            }
            ClientError::BadAnswer { .. } => Self::new(ExitKind::Unreachable, message)
                .hint("is this the address of a Purlin node of the same version?"),
            ClientError::Refused(problem) => {
                let usage =
                    matches!(problem.error_code(), Some(ErrorCode::BadArguments | ErrorCode::WrongType));
                Self {
                    kind: if usage { ExitKind::Usage } else { ExitKind::Refused },
                    code: Some(problem.code.clone()),
                    message,
                    hint: Some(problem.hint.clone()),
                }
            }
            ClientError::Arguments(_) => {
                Self::usage(message).hint("`purlin app info APP` lists methods and their parameters")
            }
        }
    }
}
