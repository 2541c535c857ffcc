//! `[server]`: where health, metrics and status are served.

use crate::config::table::Table;
use crate::config::{ServerSettings, TOKEN_BYTES_MIN};

pub(in crate::config) fn read(mut table: Table<'_, '_>) -> Option<ServerSettings> {
    let listen = table.get("listen").map(|entry| {
        let text = entry.text()?;
        let parts = text.rsplit_once(':');
        let well_formed = parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !well_formed {
            entry.wrong("an address and a port, such as \"127.0.0.1:7878\" or \"[::1]:7878\"");
        }
        well_formed.then_some(text)
    });
    let names = table.get("names").map(|entry| entry.texts());
    let token = table.get("token").map(|entry| {
        let token = entry.secret()?;
        let printable = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if token.expose().len() < TOKEN_BYTES_MIN || !printable {
            entry.problem("expected a token of at least 16 printable letters without spaces");
            return None;
        }
        Some(token)
    });
    table.finish();
    let defaults = ServerSettings::default();
    Some(ServerSettings {
        listen: listen.unwrap_or(Some(defaults.listen))?,
        names: names.unwrap_or(Some(defaults.names))?,
        token: match token {
            Some(token) => Some(token?),
            None => defaults.token,
        },
    })
}
