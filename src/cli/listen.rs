//! Taking a port.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Failure;

/// Takes the port of `address`; port 0 is any free one.
///
/// # Errors
/// A port that is taken, an address of another machine, a port that needs rights: exit code 1, and how to fix it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::failed(match error.kind() {
            ErrorKind::AddrInUse => format!("{address} is in use by another program; choose another with --listen"),
            ErrorKind::AddrNotAvailable => {
                format!("{address} is not an address of this machine; choose another with --listen")
            }
            ErrorKind::PermissionDenied => {
                format!("{address} needs more rights than this user has; choose a port above 1023 with --listen")
            }
            _ => format!("{address} cannot be listened on: {error}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_port_says_so_and_how_to_choose_another() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let message = format!("{address} is in use by another program; choose another with --listen");
        assert_eq!(bind(address).await.unwrap_err(), Failure::failed(message));
    }
}
