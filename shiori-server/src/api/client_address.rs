//! The address of a client, also behind proxies.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, request::Parts};

use crate::{
    app::App,
    config::Network,
    slots::{Address, Peer},
};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address for the limits of sign-ins and sign-ups: that of the connection, or the one that a
/// trusted proxy has appended to `X-Forwarded-For`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress(pub(super) Address);

impl FromRequestParts<App> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        // The listener sets the peer of every request.
        let peer =
            parts.extensions.get::<Peer>().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0);
        Ok(Self(client(peer, &parts.headers, &app.trusted_proxies).into()))
    }
}

/// Each proxy appends the address of its client. So the list is read from its end, as long as a
/// trusted proxy has appended the address; a client can write anything before that.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let values = headers.get_all(&X_FORWARDED_FOR).iter().rev();
    let mut appended =
        values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(',').map(parse));
    let mut client = peer;
    while trusted.iter().any(|network| network.contains(client)) {
        match appended.next().flatten() {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, with or without a port and brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let without_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let without_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(without_brackets).or_else(without_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_choose_the_address() {
        let trusted = ["10.0.0.0/8", "192.0.2.1"].map(|text| text.parse().expect("a network"));
        for (peer, forwarded, expected) in [
            // No proxy.
            ("203.0.113.5", &["198.51.100.1"][..], "203.0.113.5"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // The client wrote the first address.
            ("10.0.0.1", &["198.51.100.1, 203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.5, 192.0.2.1"], "203.0.113.5"),
            ("10.0.0.1", &["203.0.113.5:4711"], "203.0.113.5"),
            ("10.0.0.1", &["[2001:db8::5]:4711"], "2001:db8::5"),
            ("10.0.0.1", &["[2001:db8::5]"], "2001:db8::5"),
            ("10.0.0.1", &["203.0.113.5, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(&X_FORWARDED_FOR, value.parse().expect("a header"));
            }
            let found = client(peer.parse().expect("an address"), &headers, &trusted);
            assert_eq!(found.to_string(), expected, "{peer} {forwarded:?}");
            let found = client(peer.parse().expect("an address"), &headers, &[]);
            assert_eq!(found.to_string(), peer, "nobody is trusted");
        }
    }
}
