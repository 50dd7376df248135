//! What of a request's head can be seen through no door, for fuzzing: whom a proxy has named is known to limits and logs alone.

use std::net::IpAddr;

use axum::http::{HeaderMap, Request};
use ipnet::IpNet;

use super::peer::{Peer, Proxies};

/// For whom `peer` asks, if these are the proxies that are believed.
#[must_use]
pub fn caller_behind(trusted: Vec<IpNet>, peer: IpAddr, headers: HeaderMap) -> IpAddr {
    let mut request = Request::new(());
    *request.headers_mut() = headers;
    request.extensions_mut().insert(Peer(peer));
    Proxies::new(trusted).resolve(&mut request);
    request.extensions().get::<Peer>().map_or(peer, |caller| caller.0)
}
