//! `purlin device`: the registry of devices.

use clap::Subcommand;
use purlin_abi::{DeviceKey, KeyAlgorithm};
use purlin_api::{DeviceView, HexBytes};
use purlin_client::DeviceQuery;
use purlin_primitives::{Action, DeviceId};
use purlin_service::Keystore;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::key;
use crate::connection::{SendArgs, place};
use crate::context::Context;
use crate::error::{Attempt, CliError, ExitKind};
use crate::output::table;

/// Folder below the home for keys that were made here for devices.
const KEY_FOLDER: &str = "device-keys";

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a device; the signer becomes its owner
    Register(RegisterArgs),
    /// Change what is known of a device
    Update(UpdateArgs),
    /// Give a device to another owner
    Transfer(TransferArgs),
    /// Replace a device's key
    Rotate(RotateArgs),
    /// Take a device out for good; its id and keys stay reserved
    Revoke(RevokeArgs),
    /// Show a device with its description
    Info(InfoArgs),
    /// List devices
    List(ListArgs),
}

/// A public key as text: `ed25519:0x..`.
#[derive(Debug, Clone)]
pub(crate) struct KeyText(DeviceKey);

impl FromStr for KeyText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (algorithm, digits) =
            text.split_once(':').ok_or("expected ALGORITHM:0x.., such as ed25519:0x..")?;
        let algorithm = match algorithm {
            "ed25519" => KeyAlgorithm::Ed25519,
            "p256" => KeyAlgorithm::P256,
            "secp256k1" => KeyAlgorithm::Secp256k1,
            _ => return Err(format!("{algorithm:?} is not ed25519, p256 or secp256k1")),
        };
        let bytes: HexBytes = digits.parse().map_err(|error| format!("{error}"))?;
        Ok(Self(DeviceKey { algorithm, bytes: bytes.0 }))
    }
}

/// Which key a device gets.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct KeyArgs {
    /// Its public key: ed25519, p256 or secp256k1, a colon, 0x and the bytes of the point
    #[arg(long, value_name = "KEY")]
    key: Option<KeyText>,
    /// Make a secp256k1 key here and keep its secret in the home folder, for trying things out
    #[arg(long)]
    new_key: bool,
}

/// Arguments of `purlin device register`.
#[derive(Debug, clap::Args)]
pub(crate) struct RegisterArgs {
    /// What to call it
    id: DeviceId,
    /// File with its W3C WoT Thing Description 1.1
    #[arg(long, value_name = "FILE")]
    description: PathBuf,
    /// Where it is, such as hall-2/line-1
    #[arg(long, default_value = "")]
    area: String,
    /// A free label; may be given several times
    #[arg(long = "tag", value_name = "LABEL")]
    tags: Vec<String>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `purlin device update`.
#[derive(Debug, clap::Args)]
pub(crate) struct UpdateArgs {
    /// The device
    id: DeviceId,
    /// File with a new Thing Description
    #[arg(long, value_name = "FILE")]
    description: Option<PathBuf>,
    /// New place
    #[arg(long)]
    area: Option<String>,
    /// A label; those given replace all
    #[arg(long = "tag", value_name = "LABEL")]
    tags: Vec<String>,
    /// Remove all labels
    #[arg(long, conflicts_with = "tags")]
    no_tags: bool,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `purlin device transfer`.
#[derive(Debug, clap::Args)]
pub(crate) struct TransferArgs {
    /// The device
    id: DeviceId,
    /// New owner: an account, or the name of a key
    to: String,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `purlin device rotate`.
#[derive(Debug, clap::Args)]
pub(crate) struct RotateArgs {
    /// The device
    id: DeviceId,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `purlin device revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// The device
    id: DeviceId,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `purlin device info`.
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// The device
    id: DeviceId,
}

/// Arguments of `purlin device list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only of this owner: an account, or the name of a key
    #[arg(long)]
    owner: Option<String>,
    /// Only of this type, such as TemperatureSensor
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only with this capability
    #[arg(long)]
    capability: Option<String>,
    /// Only in this area or below it
    #[arg(long)]
    area: Option<String>,
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Register(args) => register(args, context),
        Command::Update(args) => update(args, context),
        Command::Transfer(args) => {
            let to = key::account(&args.to, context)?;
            let done = format!("device {} belongs to {to}", args.id);
            send(&args.id, Action::TransferDevice { id: args.id.clone(), to }, &done, &args.send, context)
        }
        Command::Rotate(args) => {
            let key = Key::choose(&args.id, &args.key, context)?;
            let action = Action::RotateDeviceKey { id: args.id.clone(), key: key.public.clone() };
            let done = format!("device {} has a new key", args.id);
            key.keep_unless_refused(send(&args.id, action, &done, &args.send, context), context)
        }
        Command::Revoke(args) => {
            let done = format!("device {} is revoked", args.id);
            send(&args.id, Action::RevokeDevice { id: args.id.clone() }, &done, &args.send, context)
        }
        Command::Info(args) => info(&args, context),
        Command::List(args) => list(args, context),
    }
}

fn register(args: RegisterArgs, context: &Context) -> Result<(), CliError> {
    let description = read(&args.description)?;
    let key = Key::choose(&args.id, &args.key, context)?;
    let done = format!("device {} is registered", args.id);
    let action = Action::RegisterDevice {
        id: args.id.clone(),
        description,
        area: args.area,
        tags: args.tags,
        key: key.public.clone(),
    };
    key.keep_unless_refused(send(&args.id, action, &done, &args.send, context), context)
}

fn update(args: UpdateArgs, context: &Context) -> Result<(), CliError> {
    let description = args.description.as_deref().map(read).transpose()?;
    let tags = (args.no_tags || !args.tags.is_empty()).then_some(args.tags);
    if description.is_none() && args.area.is_none() && tags.is_none() {
        return Err(CliError::usage("nothing to change was given")
            .hint("give --description, --area, --tag or --no-tags"));
    }
    let action = Action::UpdateDevice { id: args.id.clone(), description, area: args.area, tags };
    send(&args.id, action, &format!("device {} is updated", args.id), &args.send, context)
}

fn send(
    id: &DeviceId,
    action: Action,
    done: &str,
    send: &SendArgs,
    context: &Context,
) -> Result<(), CliError> {
    let connection = context.connect()?;
    let committed = connection.send(vec![action], send)?;
    context.output.result(
        || json!({ "id": id, "transaction": committed.id, "place": committed.place }),
        || format!("{done} ({})", place(&committed)),
    );
    Ok(())
}

/// A device's key, and where its secret is if it was made here.
struct Key {
    public: DeviceKey,
    secret: Option<PathBuf>,
}

impl Key {
    /// Takes the given key, or makes one and stores its secret first, so that it cannot be lost.
    fn choose(id: &DeviceId, args: &KeyArgs, context: &Context) -> Result<Self, CliError> {
        if let Some(KeyText(public)) = &args.key {
            return Ok(Self { public: public.clone(), secret: None });
        }
        let key = Keystore::generate().attempt(|| "make a key".into())?;
        let folder = context.home.join(KEY_FOLDER);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.attempt(|| format!("make {}", folder.display()))?;
        let path = free_path(&folder, id)?;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .attempt(|| format!("write {}", path.display()))?;
        file.write_all(Keystore::export_hex(&key).as_bytes())
            .and_then(|()| file.sync_all())
            // The name too: the chain will know the public half, whatever becomes of this machine's power.
            .and_then(|()| std::fs::File::open(&folder)?.sync_all())
            .attempt(|| format!("write {}", path.display()))?;
        let bytes = key.public_key().as_bytes().to_vec();
        Ok(Self { public: DeviceKey { algorithm: KeyAlgorithm::Secp256k1, bytes }, secret: Some(path) })
    }

    /// Removes the secret again when the node refused, and says where it is otherwise.
    fn keep_unless_refused(self, result: Result<(), CliError>, context: &Context) -> Result<(), CliError> {
        let Some(path) = self.secret else { return result };
        match &result {
            Err(error) if matches!(error.kind, ExitKind::Refused | ExitKind::Usage) => {
                std::fs::remove_file(&path).attempt(|| format!("remove {}", path.display()))?;
            }
            _ => context.output.note(format!("the device's secret key is in {}", path.display())),
        }
        result
    }
}

/// Returns a path that is not taken: `ID.key`, `ID.2.key` and so on.
fn free_path(folder: &Path, id: &DeviceId) -> Result<PathBuf, CliError> {
    let first = folder.join(format!("{id}.key"));
    let others = (2..1000).map(|number| folder.join(format!("{id}.{number}.key")));
    std::iter::once(first).chain(others).find(|path| !path.exists()).ok_or_else(|| {
        CliError::failure(format!("{} is full of keys of {id}", folder.display())).hint("remove old ones")
    })
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).attempt(|| format!("read {}", path.display()))
}

fn info(args: &InfoArgs, context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let device = connection.run(connection.client.device(&args.id))?;
    context.output.result(
        || json!(device),
        || {
            let mut lines = vec![
                format!("device        {}  {}", device.id, status(&device)),
                format!("name          {}", device.name),
                format!("type          {}", device.kind),
                format!("owner         {}", device.owner),
                format!("area          {}", device.area),
                format!("tags          {}", device.tags.join(", ")),
                format!("capabilities  {}", device.capabilities.join(", ")),
                format!("key           {}:{}", device.key.algorithm, device.key.bytes),
                format!("registered    block {}, changed block {}", device.registered_at, device.updated_at),
            ];
            if let Some(description) = &device.description {
                lines.push(format!("description\n{description:#}"));
            }
            lines.join("\n")
        },
    );
    Ok(())
}

fn list(args: ListArgs, context: &Context) -> Result<(), CliError> {
    let owner = args.owner.map(|text| key::account(&text, context)).transpose()?;
    let connection = context.connect()?;
    let mut query = DeviceQuery {
        owner,
        kind: args.kind,
        capability: args.capability,
        area: args.area,
        ..Default::default()
    };
    let mut devices: Vec<DeviceView> = Vec::new();
    loop {
        let page = connection.run(connection.client.devices(&query))?;
        devices.extend(page.devices);
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    context.output.result(
        || json!(devices),
        || {
            if devices.is_empty() {
                return "no such device is registered".into();
            }
            let rows: Vec<Vec<String>> = devices
                .iter()
                .map(|device| {
                    let (kind, area) = (device.kind.clone(), device.area.clone());
                    vec![device.id.to_string(), kind, area, status(device).into(), device.owner.to_string()]
                })
                .collect();
            table(&["DEVICE", "TYPE", "AREA", "STATUS", "OWNER"], &rows)
        },
    );
    Ok(())
}

fn status(device: &DeviceView) -> &'static str {
    match device.status {
        purlin_abi::DeviceStatus::Active => "active",
        purlin_abi::DeviceStatus::Revoked => "revoked",
    }
}
