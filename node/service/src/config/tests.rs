use super::*;
use std::path::Path;

fn file(text: &str) -> Result<PartialSettings, ConfigError> {
    PartialSettings::from_toml(text, Path::new("config.toml"))
}

fn layer(key: &str, value: &str, origin: Origin) -> PartialSettings {
    let mut layer = PartialSettings::new();
    layer.set(key, value, origin).unwrap();
    layer
}

fn home() -> Home {
    Home::new("/nowhere")
}

#[test]
fn the_first_layer_wins_and_every_value_knows_its_origin() {
    let flags = layer("api.listen", "127.0.0.1:1", Origin::Flag { name: "--listen".into() });
    let environment = PartialSettings::from_environment([
        ("PURLIN_API_LISTEN".into(), "127.0.0.1:2".into()),
        ("PURLIN_MEMPOOL_BYTES_MAX".into(), "2MiB".into()),
        ("PURLIN_HOME".into(), "/elsewhere".into()),
    ])
    .unwrap();
    let file =
        file("[api]\nlisten = '127.0.0.1:3'\n[mempool]\nbytes_max = 3145728\nper_sender_max = 7\n").unwrap();
    let layers = [flags, environment, file];
    let settings = Settings::resolve(home(), &layers).unwrap();
    assert_eq!(settings.api_listen, Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(settings.mempool.bytes_max, 2 << 20);
    assert_eq!(settings.mempool.per_sender_max, 7);
    assert_eq!(settings.mempool.transactions_max, Limits::TRANSACTIONS_MAX);
    assert_eq!(settings.api_socket, Some(home().socket()));

    let origins: Vec<_> = Settings::explain(&layers)
        .into_iter()
        .filter(|setting| setting.origin != Origin::Default)
        .map(|setting| format!("{} = {} ({})", setting.key, setting.value, setting.origin))
        .collect();
    let expected = [
        "api.listen = 127.0.0.1:1 (flag --listen)",
        "mempool.bytes_max = 2MiB (environment PURLIN_MEMPOOL_BYTES_MAX)",
        "mempool.per_sender_max = 7 (config.toml)",
    ];
    assert_eq!(origins, expected);
}

#[test]
fn the_defaults_are_valid_and_agree_with_the_pool() {
    let settings = Settings::resolve(home(), &[]).unwrap();
    assert_eq!(settings.mempool, Limits::default());
    for setting in SETTINGS {
        assert_eq!((setting.check)(setting.default), Ok(()), "{}", setting.key);
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest() {
    for (text, key, suggestion) in [
        ("[api]\nlisen = ''", "api.lisen", Some("api.listen")),
        ("listen = ''", "listen", Some("api.listen")),
        ("[mempol]\nbytes_max = 1", "mempol.bytes_max", Some("mempool.bytes_max")),
        ("[mempool]\nmax_bytes = 1", "mempool.max_bytes", Some("mempool.bytes_max")),
        ("[mempool]\nper_sender = 1", "mempool.per_sender", Some("mempool.per_sender_max")),
        ("[chain]\nblock_interval = 1", "chain.block_interval", Some("chain.block_interval_ms")),
        ("wholly = 'different'", "wholly", None),
    ] {
        match file(text) {
            Err(ConfigError::UnknownKey { key: found, suggestion: near, .. }) => {
                assert_eq!(found, key);
                assert_eq!(near, suggestion, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let message = file("[api]\nlisen = ''").unwrap_err().to_string();
    assert_eq!(message, "config.toml: unknown setting `api.lisen`; did you mean `api.listen`?");
}

#[test]
fn a_bad_value_names_setting_value_expectation_and_place() {
    for (text, part) in [
        ("[api]\nlisten = 'here'", "`api.listen` is \"here\"; expected an address and port"),
        ("[api]\nlisten = 7420", "`api.listen` is \"7420\""),
        ("[mempool]\ntransactions_max = 0", "expected a whole number from 1"),
        ("[mempool]\nbytes_max = '1TiB'", "expected a size"),
        ("[mempool]\nbytes_max = [1]", "expected a size"),
        ("[engine]\nbackend = 'llvm'", "expected cranelift-speed, cranelift-none or pulley"),
        ("[chain]\nvalidator_key = '../x'", "expected a key's name"),
        ("[network]\nreachable = 'maybe'", "expected auto, yes or no"),
        ("[network]\ndenied = '12D3KooW'", "\"12D3KooW\" is none"),
        ("[network]\nallowed = '/ip4/192.0.2.1/tcp/7421'", "expected peer ids such as 12D3KooW"),
        ("[log]\nformat = true", "expected text or json"),
    ] {
        let message = file(text).unwrap_err().to_string();
        assert!(message.starts_with("config.toml: ") && message.contains(part), "{message}");
    }
    let message = file("[api\n").unwrap_err().to_string();
    assert!(message.starts_with("config.toml is not valid TOML") && message.contains('1'), "{message}");
}

#[test]
fn a_new_file_changes_nothing_and_setting_a_value_keeps_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    set_in_file(&path, "mempool.per_sender_max", "9").unwrap();
    set_in_file(&path, "api.listen", "127.0.0.1:9").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("# most waiting transactions of one sender"), "{text}");
    let settings = Settings::resolve(home(), &[PartialSettings::from_file(&path).unwrap()]).unwrap();
    let expected = Settings {
        api_listen: Some("127.0.0.1:9".parse().unwrap()),
        mempool: Limits { per_sender_max: 9, ..Limits::default() },
        ..Settings::resolve(home(), &[]).unwrap()
    };
    assert_eq!(settings, expected);

    assert!(set_in_file(&path, "api.lisen", "x").is_err());
    assert!(set_in_file(&path, "api.listen", "x").is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    let template = file(&super::template()).unwrap();
    assert_eq!(template, PartialSettings::new());
    let uncommented = super::template()
        .lines()
        .map(|line| {
            line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line).to_owned() + "\n"
        })
        .collect::<String>();
    let layer = file(&uncommented).unwrap();
    assert_eq!(Settings::resolve(home(), &[layer]).unwrap(), Settings::resolve(home(), &[]).unwrap());
}
