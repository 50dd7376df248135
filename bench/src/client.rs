//! One HTTP exchange at a time, to check answers: the load itself is wrk's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Outcome;

/// Longer than any answer takes, quota included.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer as it came.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Bytes on the wire, head included.
    pub(crate) length: usize,
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// What is shown with each request.
    key: Option<&'static str>,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), key: None })
    }

    /// The same, with a key in each request, if there is one.
    pub(crate) fn showing(self, key: Option<&'static str>) -> Self {
        Self { key, ..self }
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Outcome<Answer> {
        self.send("POST", path, body)?;
        self.receive()
    }

    pub(crate) fn get(&mut self, path: &str) -> Outcome<Answer> {
        self.send("GET", path, "")?;
        self.receive()
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, body: &str) -> Outcome<()> {
        let length = body.len();
        let key = self.key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\ncontent-type: application/json\r\n\
             {key}content-length: {length}\r\n\r\n{body}"
        );
        Ok(self.stream.get_mut().write_all(request.as_bytes())?)
    }

    pub(crate) fn receive(&mut self) -> Outcome<Answer> {
        let mut lines = Vec::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line)?;
            length += read;
            match line.trim_end() {
                _ if read == 0 => return Err("the connection was closed".into()),
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut lines = lines.into_iter();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or("no status line")?;
        let split = |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers: Vec<_> = lines.filter_map(split).collect();
        let body = headers.iter().find(|(name, _)| name == "content-length").ok_or("an answer without length")?;
        let mut body = vec![0; body.1.parse()?];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, headers, length: length + body.len(), body })
    }
}

/// One POST on a connection of its own.
pub(crate) fn post(address: &str, path: &str, body: &str) -> Outcome<Answer> {
    Connection::open(address)?.post(path, body)
}
