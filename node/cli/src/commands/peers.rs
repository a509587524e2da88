//! `purlin peers`.

use purlin_api::PeerView;
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::output::table;

/// Lists the nodes that are connected to this one.
pub(crate) fn run(context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let list = connection.run(connection.client.peers())?;
    context.output.result(
        || json!(list),
        || {
            if list.peers.is_empty() {
                return "no node is connected; `purlin config show` shows where this one looks: network.peers and \
                        network.reserved"
                    .into();
            }
            let rows: Vec<Vec<String>> = list.peers.iter().map(row).collect();
            table(&["PEER", "DIRECTION", "PING", "SCORE", "AGENT", "ADDRESS"], &rows)
        },
    );
    Ok(())
}

fn row(peer: &PeerView) -> Vec<String> {
    let direction = match (peer.outbound, peer.relayed) {
        (true, false) => "out",
        (false, false) => "in",
        (true, true) => "out, relayed",
        (false, true) => "in, relayed",
    };
    let ping =
        peer.ping_us.map_or_else(|| "-".to_owned(), |us| format!("{}.{} ms", us / 1000, us % 1000 / 100));
    let address = peer.addresses.first().map_or("-", String::as_str);
    // The id has a column of its own.
    let address = address.strip_suffix(&format!("/p2p/{}", peer.id)).unwrap_or(address);
    vec![peer.id.clone(), direction.into(), ping, peer.score.to_string(), shown(&peer.agent), address.into()]
}

/// What a stranger says of itself, fit for a terminal.
fn shown(text: &str) -> String {
    /// Enough for a name and a version.
    const CHARACTERS_MAX: usize = 32;
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_write_on_the_terminal() {
        assert_eq!(shown("purlin/0.1.0"), "purlin/0.1.0");
        assert_eq!(shown("\x1b[2J\nx"), "?[2J?x");
        assert_eq!(shown(&"x".repeat(100)).len(), 32);
    }
}
