//! What the operations listener answers, without the listening.

use super::exposition::exposition;
use super::listener::Source;
use super::process::process;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    /// Whole header lines besides those that every answer has.
    pub(super) headers: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

const PLAIN: &str = "text/plain; charset=utf-8";

impl Reply {
    fn plain(status: u16, reason: &'static str, body: &str) -> Self {
        let body = format!("{body}\n");
        Self {
            status,
            reason,
            headers: "",
            content_type: PLAIN,
            body,
        }
    }
}

/// The answer to a request.
pub(super) fn reply(method: &str, target: &str, source: &dyn Source) -> Reply {
    if !matches!(method, "GET" | "HEAD") {
        let reply = Reply::plain(405, "Method Not Allowed", "only GET and HEAD");
        return Reply {
            headers: "Allow: GET, HEAD\r\n",
            ..reply
        };
    }
    match target.split('?').next().unwrap_or_default() {
        "/healthz" => Reply::plain(200, "OK", "ok"),
        "/readyz" if source.is_ready() => Reply::plain(200, "OK", "ready"),
        "/readyz" => Reply::plain(503, "Service Unavailable", "draining"),
        "/metrics" => {
            let mut snapshot = source.snapshot();
            snapshot.process = process();
            Reply {
                status: 200,
                reason: "OK",
                headers: "",
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: exposition(&snapshot.families()),
            }
        }
        _ => Reply::plain(404, "Not Found", "there are /healthz, /readyz and /metrics"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Snapshot;

    struct Server {
        ready: bool,
    }

    impl Source for Server {
        fn is_ready(&self) -> bool {
            self.ready
        }

        fn snapshot(&self) -> Snapshot {
            Snapshot {
                sessions: 5,
                ..Snapshot::default()
            }
        }
    }

    #[test]
    fn answers() {
        for (ready, method, target, status, body) in [
            (true, "GET", "/healthz", 200, "ok\n"),
            (true, "HEAD", "/healthz?x", 200, "ok\n"),
            (false, "GET", "/healthz", 200, "ok\n"),
            (true, "GET", "/readyz", 200, "ready\n"),
            (false, "GET", "/readyz", 503, "draining\n"),
            (true, "POST", "/healthz", 405, "only GET and HEAD\n"),
            (
                true,
                "GET",
                "/",
                404,
                "there are /healthz, /readyz and /metrics\n",
            ),
            (
                true,
                "GET",
                "/metrics/",
                404,
                "there are /healthz, /readyz and /metrics\n",
            ),
        ] {
            let reply = reply(method, target, &Server { ready });
            assert_eq!(
                (reply.status, reply.body.as_str()),
                (status, body),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn metrics() {
        let reply = reply("GET", "/metrics", &Server { ready: true });
        assert_eq!(
            reply.content_type,
            "text/plain; version=0.0.4; charset=utf-8"
        );
        assert!(reply.body.contains("\nbayeux_sessions 5\n"));
        assert_eq!(
            reply.body.contains("\nprocess_cpu_seconds_total "),
            cfg!(target_os = "linux")
        );
    }
}
