//! One run of wrk, judged: a run with a refusal, a broken connection or answers of another length fails.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use crate::Outcome;
use crate::processes::Server;
use crate::usage::{cpu_us, to_f64};

/// Numbers of one run; runs do not share any, so that no text is asked for twice.
const NUMBERS: u64 = 1_000_000;
static RUNS: AtomicU64 = AtomicU64::new(1);

/// The wrk script, from this folder.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wrk/post.lua");

/// What is sent and what comes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) template: &'a Path,
    /// Minutes of the hour after which `@S@` and `@E@` begin.
    pub(crate) minutes: (u32, u32),
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
    /// Bytes of each answer, head included.
    pub(crate) length: usize,
}

/// What one run measured.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    /// Requests a second.
    pub(crate) rate: f64,
    /// CPU of the server process for one request, kernel included, in microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

#[derive(Deserialize)]
struct Summary {
    requests: u64,
    bytes: u64,
    duration_us: u64,
    errors: u64,
    refused: u64,
    p50_us: u64,
    p99_us: u64,
}

impl Load<'_> {
    pub(crate) fn run(&self, server: &Server, path: &str) -> Outcome<Run> {
        let base = RUNS.fetch_add(1, Ordering::Relaxed) * NUMBERS;
        let mut command = Command::new("wrk");
        command.args(["--threads", if self.connections == 1 { "1" } else { "2" }]);
        command.args(["--connections", &self.connections.to_string(), "--timeout", "10s"]);
        command.args(["--duration", &format!("{}s", self.seconds), "--script", SCRIPT]);
        command.arg(format!("http://{}{path}", server.address)).arg("--").arg(self.template);
        command.args([base.to_string(), self.minutes.0.to_string(), self.minutes.1.to_string()]);
        command.args(server.key);
        let before = cpu_us(server.pid())?;
        let output = command.output().map_err(|error| format!("wrk cannot be run: {error}"))?;
        let cpu = cpu_us(server.pid())? - before;
        let printed = String::from_utf8_lossy(&output.stdout);
        let summary = printed.lines().find_map(|line| line.strip_prefix("SUMMARY "));
        let Some(summary) = summary else {
            return Err(format!("wrk failed: {printed}{}", String::from_utf8_lossy(&output.stderr)).into());
        };
        let summary: Summary = serde_json::from_str(summary)?;
        self.judge(&summary)?;
        Ok(Run {
            rate: to_f64(summary.requests) * 1e6 / to_f64(summary.duration_us),
            cpu_us: cpu / to_f64(summary.requests),
            p50_us: to_f64(summary.p50_us),
            p99_us: to_f64(summary.p99_us),
        })
    }

    /// Errors are not speed.
    fn judge(&self, summary: &Summary) -> Outcome<()> {
        let Summary { requests, bytes, errors, refused, .. } = *summary;
        if requests == 0 || errors > 0 || refused > 0 {
            return Err(format!("{requests} requests, {refused} refused, {errors} broken").into());
        }
        // wrk counts the bytes of answers that the end of the run cut off, and not those answers.
        let (whole, one) = (requests * self.length as u64, self.length as u64);
        if bytes < whole || bytes > whole + one * u64::from(self.connections) {
            return Err(format!("{requests} answers of {one} bytes are {whole} bytes and not {bytes}").into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_answers_of_another_length_are_not_speed() {
        let load = Load { template: Path::new(""), minutes: (0, 0), connections: 4, seconds: 1, length: 100 };
        let judge = |requests, bytes, errors, refused| {
            load.judge(&Summary { requests, bytes, duration_us: 1, errors, refused, p50_us: 1, p99_us: 1 }).is_ok()
        };
        assert!(judge(1_000, 100_000, 0, 0) && judge(1_000, 100_400, 0, 0));
        assert!(!judge(1_000, 99_999, 0, 0), "shorter");
        assert!(!judge(1_000, 100_401, 0, 0), "longer");
        assert!(!judge(1_000, 100_000, 1, 0), "broken");
        assert!(!judge(1_000, 100_000, 0, 1), "refused");
        assert!(!judge(0, 0, 0, 0), "nothing");
    }
}
