//! Who asks, by address: the peer of the connection, or whom a trusted proxy names.
//!
//! What a caller writes into `X-Forwarded-For` or `Forwarded` reaches us behind any proxy; what the proxy has seen itself it
//! writes at the end. So the list is read from there, through all proxies that are trusted, to the first address that is none:
//! that is the caller. Pure functions of a request's head.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, Request, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the caller, in the extensions of each request that came over a socket: for limits and logs, never for
/// rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer(pub(super) IpAddr);

/// The proxies that are believed when they say for whom they ask.
#[derive(Debug, Clone)]
pub(super) struct Proxies(Arc<[IpNet]>);

impl Proxies {
    pub(super) fn new(trusted: Vec<IpNet>) -> Self {
        Self(trusted.into())
    }

    /// Whether this is one of them.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Puts the caller's address in the place of a trusted proxy's.
    pub(super) fn resolve<B>(&self, request: &mut Request<B>) {
        if self.0.is_empty() {
            return;
        }
        let Some(Peer(peer)) = request.extensions().get().copied() else { return };
        if self.has(peer) {
            let caller = self.caller(peer, request.headers());
            request.extensions_mut().insert(Peer(caller));
        }
    }

    fn caller(&self, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
        let x_forwarded = self.walk(proxy, headers, &X_FORWARDED_FOR, address);
        let forwarded = self.walk(proxy, headers, &header::FORWARDED, forwarded_for);
        match (x_forwarded, forwarded) {
            // A proxy writes one of the two. The other is passed on from whoever sent it, and tells which is which to nobody.
            (Some(one), Some(other)) if one != other => proxy,
            (Some(caller), _) | (None, Some(caller)) => caller,
            (None, None) => proxy,
        }
    }

    /// The first address from the end that is no trusted proxy; `None` without the header. What cannot be read ends the walk.
    fn walk(
        &self,
        proxy: IpAddr,
        headers: &HeaderMap,
        name: &HeaderName,
        read: fn(&str) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let mut caller = None;
        for value in headers.get_all(name).iter().rev() {
            let Ok(value) = value.to_str() else { return Some(caller.unwrap_or(proxy)) };
            for element in value.rsplit(',') {
                match read(element.trim()) {
                    Some(address) if self.has(address) => caller = Some(address),
                    Some(address) => return Some(address),
                    None => return Some(caller.unwrap_or(proxy)),
                }
            }
        }
        caller
    }
}

/// An address, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = |text: &str| text.parse::<IpAddr>().ok();
    let bracketed = || bare(text.strip_prefix('[')?.strip_suffix(']')?);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare(text).or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

/// The `for` of an element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let node = node.trim();
    address(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, headers: &[(&str, &str)]) -> String {
        let trusted = ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        let mut request =
            headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        request = request.extension(Peer(peer.parse().unwrap()));
        let mut request = request.body(()).unwrap();
        Proxies::new(trusted.to_vec()).resolve(&mut request);
        request.extensions().get::<Peer>().unwrap().0.to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        for (peer, headers, expected) in [
            ("192.0.2.7", vec![("x-forwarded-for", "198.51.100.1")], "192.0.2.7"),
            ("192.0.2.7", vec![("forwarded", "for=198.51.100.1")], "192.0.2.7"),
            ("127.0.0.2", vec![("x-forwarded-for", "198.51.100.1")], "127.0.0.2"),
            ("127.0.0.1", vec![], "127.0.0.1"),
            ("127.0.0.1", vec![("x-forwarded-for", "198.51.100.1")], "198.51.100.1"),
            ("127.0.0.1", vec![("forwarded", "for=198.51.100.1")], "198.51.100.1"),
            ("fd00::1", vec![("x-forwarded-for", "2001:db8::1")], "2001:db8::1"),
        ] {
            assert_eq!(caller(peer, &headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_caller() {
        for (list, expected) in [
            ("6.6.6.6, 198.51.100.1", "198.51.100.1"),
            ("6.6.6.6, 198.51.100.1, 10.1.2.3", "198.51.100.1"),
            ("6.6.6.6,198.51.100.1,10.1.2.3,127.0.0.1", "198.51.100.1"),
            ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
            ("198.51.100.1:4711", "198.51.100.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("6.6.6.6, unknown", "127.0.0.1"),
            ("6.6.6.6, unknown, 10.1.2.3", "10.1.2.3"),
            ("6.6.6.6,", "127.0.0.1"),
            ("", "127.0.0.1"),
        ] {
            assert_eq!(caller("127.0.0.1", &[("x-forwarded-for", list)]), expected, "{list}");
        }
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.1, 10.1.2.3")];
        assert_eq!(caller("127.0.0.1", &lines), "198.51.100.1");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_says() {
        for (list, expected) in [
            ("for=198.51.100.1;proto=https;by=10.0.0.1", "198.51.100.1"),
            ("proto=https; For=\"198.51.100.1:4711\"", "198.51.100.1"),
            ("for=6.6.6.6, for=\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("for=198.51.100.1, for=10.1.2.3", "198.51.100.1"),
            ("for=6.6.6.6, for=_hidden", "127.0.0.1"),
            ("for=6.6.6.6, proto=https", "127.0.0.1"),
            ("for=\"6.6.6.6, for=198.51.100.1", "198.51.100.1"),
        ] {
            assert_eq!(caller("127.0.0.1", &[("forwarded", list)]), expected, "{list}");
        }
        let agree = [("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(caller("127.0.0.1", &agree), "198.51.100.1");
        let differ = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(caller("127.0.0.1", &differ), "127.0.0.1", "one of them is the caller's own");
    }
}
