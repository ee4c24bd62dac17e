//! What is asked of a running server, a handler of an internal site; and the text format of
//! Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;

use super::process::process;
use crate::counters::{Family, Kind};
use crate::http::{Body, ContentRequest, Mount, Response};

/// Who knows the numbers.
pub(crate) trait Source: Send + Sync + 'static {
    /// Whether new clients are welcome: not while draining.
    fn is_ready(&self) -> bool;

    /// The numbers now. Called for each request of `/metrics`, from any thread; what the system
    /// says about the process is added by the caller.
    fn families(&self) -> Vec<Family>;
}

/// Health and metrics, for [`Site::internal`](crate::http::Site::internal): `/healthz`, `/readyz`
/// and `/metrics`, and 404 for all else that no other handler has.
pub(crate) fn handler(source: Arc<dyn Source>) -> Mount {
    Mount::new("/", MAX_BODY, move |request: &ContentRequest| {
        answer(&request.method, &request.path, &*source)
    })
}

/// Nothing here has a use for a body. A short one is read past, so that its request is told that
/// the method is wrong.
const MAX_BODY: usize = 1024;

fn answer(method: &str, path: &str, source: &dyn Source) -> Response {
    if !matches!(method, "GET" | "HEAD") {
        return Response::text(405, "only GET and HEAD").header("Allow", "GET, HEAD");
    }
    match path {
        "/healthz" => Response::text(200, "ok"),
        "/readyz" if source.is_ready() => Response::text(200, "ready"),
        "/readyz" => Response::text(503, "draining"),
        "/metrics" => {
            let mut families = source.families();
            families.extend(process());
            Response {
                body: Body::Bytes(exposition(&families).into_bytes()),
                ..Response::uncached(200, "text/plain; version=0.0.4; charset=utf-8")
            }
        }
        _ => Response::text(404, "there are /healthz, /readyz and /metrics"),
    }
}

/// The text of some families.
fn exposition(families: &[Family]) -> String {
    let mut out = String::with_capacity(families.len() * 160);
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let Family { name, help, .. } = family;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let mut line = |text: std::fmt::Arguments<'_>| {
            out.write_fmt(text)
                .expect("because writing to a string does not fail");
        };
        line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (label, value) in &family.samples {
            match label {
                None => line(format_args!("{name} {value}\n")),
                Some((label, text)) => {
                    line(format_args!(
                        "{name}{{{label}=\"{}\"}} {value}\n",
                        escaped(text)
                    ));
                }
            }
        }
    }
    out
}

/// A label's value between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::{Counter, Gauge};

    struct Server {
        ready: bool,
    }

    impl Source for Server {
        fn is_ready(&self) -> bool {
            self.ready
        }

        fn families(&self) -> Vec<Family> {
            vec![Family::new(Gauge, "bayeux_sessions", "Sessions.").number(5.0)]
        }
    }

    fn text(response: &Response) -> &str {
        std::str::from_utf8(response.body.in_memory().unwrap()).unwrap()
    }

    #[test]
    fn answers() {
        for (ready, method, target, status, body) in [
            (true, "GET", "/healthz", 200, "ok\n"),
            (true, "HEAD", "/healthz", 200, "ok\n"),
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
            let answer = answer(method, target, &Server { ready });
            assert_eq!(answer.status, status, "{method} {target}");
            assert_eq!(text(&answer), body, "{method} {target}");
            let headers = String::from_utf8_lossy(&answer.headers);
            assert!(headers.contains("Cache-Control: no-store\r\n"), "{headers}");
            assert_eq!(headers.contains("Allow: GET, HEAD\r\n"), status == 405);
        }
    }

    #[test]
    fn metrics() {
        let answer = answer("GET", "/metrics", &Server { ready: true });
        let headers = String::from_utf8_lossy(&answer.headers);
        assert_eq!(
            headers,
            "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        );
        assert!(text(&answer).contains("\nbayeux_sessions 5\n"));
        assert_eq!(
            text(&answer).contains("\nprocess_cpu_seconds_total "),
            cfg!(target_os = "linux")
        );
    }

    #[test]
    fn text_format() {
        let reasons = [("overflow", 7), ("a \"b\" \\ c\nd", 0)];
        let families = [
            Family::new(Gauge, "a", " Things that\nare.").number(3.0),
            Family::new(Counter, "b_total", "Drops by reason.").by("reason", reasons),
            Family::new(Counter, "c_total", "Nothing yet.").by("status", Vec::<(u16, u64)>::new()),
            Family::new(Counter, "d_total", "Refusals.").by("status", [(503_u16, 1)]),
            Family::new(Counter, "e_seconds_total", "CPU.").number(1.25),
        ];
        assert_eq!(
            exposition(&families),
            "# HELP a Things that\\nare.\n# TYPE a gauge\na 3\n\
             # HELP b_total Drops by reason.\n# TYPE b_total counter\n\
             b_total{reason=\"overflow\"} 7\nb_total{reason=\"a \\\"b\\\" \\\\ c\\nd\"} 0\n\
             # HELP d_total Refusals.\n# TYPE d_total counter\nd_total{status=\"503\"} 1\n\
             # HELP e_seconds_total CPU.\n# TYPE e_seconds_total counter\ne_seconds_total 1.25\n"
        );
    }

    #[test]
    fn large_numbers_are_written_out() {
        let family = Family::new(Gauge, "a", "x.").by("b", [("c", 9_007_199_254_740_992_u64)]);
        assert!(exposition(&[family]).ends_with("a{b=\"c\"} 9007199254740992\n"));
    }
}
