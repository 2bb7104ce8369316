//! What all requests to other machines have in common: who may vouch for a server, how long it is waited for, and when
//! it is asked again (spec/fetch.md, "Who is believed").

use std::io;
use std::time::Duration;

use ureq::http::header::{DATE, HeaderName, RETRY_AFTER};
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::AgentScope;
use ureq::{Agent, config::ConfigBuilder};

use crate::epoch::Epoch;

/// How many redirects are followed.
pub const REDIRECTS: usize = 10;

/// What an agent is made of. It follows no redirects and unpacks nothing; answers of every status are answers.
pub fn config(patience: Duration, roots: &[u8]) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        // Followed by whoever knows what may go where.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("lith/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_resolve(Some(patience))
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
        .timeout_per_write(Some(patience))
        .tls_config(TlsConfig::builder().root_certs(root_certs(roots)).build())
}

fn root_certs(pem: &[u8]) -> RootCerts {
    let certificates: Vec<Certificate<'static>> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate.to_owned()),
            Ok(_) | Err(_) => None,
        })
        .collect();
    if certificates.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&certificates) }
}

/// How often a server that is busy or gone is asked again, for one thing that is wanted of it.
#[derive(Debug)]
pub struct Tries {
    made: u32,
    most: u32,
    longest_wait: Duration,
}

impl Tries {
    pub fn new(most: u32, longest_wait: Duration) -> Self {
        Self { made: 0, most, longest_wait }
    }

    /// Waits before a server is asked again, twice as long each time if it names no time itself; false if it was asked
    /// often enough.
    pub fn again(&mut self, wait: Option<Duration>) -> bool {
        if self.made >= self.most {
            return false;
        }
        let wait = wait.unwrap_or(Duration::from_secs(1 << self.made.min(5)));
        std::thread::sleep(wait.min(self.longest_wait));
        self.made += 1;
        true
    }
}

/// Whether a server says that it is not now that it can answer.
pub fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// Whether trying again may help. What TLS finds wrong comes as invalid data and stays wrong.
pub fn is_passing(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        ureq::Error::ConnectionFailed | ureq::Error::Timeout(_) => true,
        _ => false,
    }
}

/// What a busy server asks for: seconds, or a time, which is held against the server's own clock.
pub fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let text = header(response, RETRY_AFTER)?.trim();
    let from_date = || {
        let (then, now) = (Epoch::from_http_date(text)?, Epoch::from_http_date(header(response, DATE)?)?);
        Some(u64::try_from(then.seconds() - now.seconds()).unwrap_or(0))
    };
    text.parse().ok().or_else(from_date).map(Duration::from_secs)
}

/// A header that is text.
pub fn header<B>(response: &Response<B>, name: HeaderName) -> Option<&str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_busy_server_asks_for() {
        let asked = |headers: &[(&str, &str)]| {
            let mut response = Response::builder();
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            retry_after(&response.body(()).unwrap()).map(|wait| wait.as_secs())
        };
        let now = ("Date", "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(asked(&[("Retry-After", " 7 ")]), Some(7));
        assert_eq!(asked(&[("Retry-After", "Tue, 14 Nov 2023 22:14:00 GMT"), now]), Some(40));
        assert_eq!(asked(&[("Retry-After", "Tue, 14 Nov 2023 22:13:00 GMT"), now]), Some(0), "it is over");
        for vague in [&[("Retry-After", "Tue, 14 Nov 2023 22:14:00 GMT")][..], &[("Retry-After", "-1")], &[]]
        {
            assert_eq!(asked(vague), None, "{vague:?}");
        }
    }

    #[test]
    fn what_tls_refuses_stays_refused() {
        let error = |kind| ureq::Error::Io(io::Error::from(kind));
        assert!(is_passing(&error(io::ErrorKind::ConnectionReset)));
        assert!(!is_passing(&error(io::ErrorKind::InvalidData)));
        assert!(!is_passing(&ureq::Error::HostNotFound));
    }
}
