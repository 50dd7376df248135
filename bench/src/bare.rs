//! The limit: a handler that reads the request's body and answers bytes that it holds.

use std::collections::BTreeMap;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::post;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::Outcome;
use crate::cases::Captured;

/// Serves the captured answers, each at its own path, until it is killed.
pub(crate) fn run(fixture: &Path) -> Outcome<()> {
    let captured: BTreeMap<String, Captured> = serde_json::from_slice(&std::fs::read(fixture)?)?;
    let mut router = Router::new();
    for (id, Captured { headers, body }) in captured {
        let header = |(name, value): (String, String)| -> Outcome<_> {
            Ok((HeaderName::try_from(name)?, HeaderValue::try_from(value)?))
        };
        let headers: HeaderMap = headers.into_iter().map(header).collect::<Outcome<_>>()?;
        let body = Bytes::from(body);
        let answer = async move |_asked: Bytes| (headers.clone(), body.clone());
        router = router.route(&format!("/{id}"), post(answer));
    }
    serve(router)
}

/// Serves on any free port, as weir does: all cores, and answers sent at once.
pub(crate) fn serve(router: Router) -> Outcome<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        // A connection that cannot be tuned is served as it is.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, router).await?)
    })
}
