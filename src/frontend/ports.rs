//! Port specifications of `EXPOSE`: `80`, `80/udp`, `8000-8010`, and `ip:host:container`, of which only the last
//! part counts.

/// Why a text names no ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error("no port specified: {0}<empty>")]
    Empty(String),
    #[error("invalid proto: {0}; expected tcp, udp or sctp")]
    Protocol(String),
    #[error("invalid containerPort: {0}; expected 0 to 65535, or a range of them")]
    Container(String),
    #[error("invalid hostPort: {0}; expected 0 to 65535, or a range of them")]
    Host(String),
    #[error("invalid ranges specified for container and host Ports: {0} and {1}")]
    Ranges(String, String),
    #[error("invalid IP address: {0}")]
    Address(String),
}

/// The ports of one specification as `port/protocol`, in rising order.
pub fn parse(spec: &str) -> Result<Vec<String>, PortError> {
    let (before, container) = spec.rsplit_once(':').map_or((None, spec), |(a, b)| (Some(a), b));
    let (address, host) = match before.map(|before| before.rsplit_once(':').unwrap_or(("", before))) {
        Some((address, host)) => (address, host),
        None => ("", ""),
    };
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    if port.is_empty() {
        return Err(PortError::Empty(container.to_owned()));
    }
    let protocol = match protocol.to_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        other => return Err(PortError::Protocol(other.to_owned())),
    };
    check_address(address)?;
    let (first, last) = range(port).ok_or_else(|| PortError::Container(port.to_owned()))?;
    if !host.is_empty() {
        let (from, to) = range(host).ok_or_else(|| PortError::Host(host.to_owned()))?;
        if last != first && last - first != to - from {
            return Err(PortError::Ranges(port.to_owned(), host.to_owned()));
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn check_address(address: &str) -> Result<(), PortError> {
    let inner = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    match inner.is_empty() || inner.parse::<std::net::IpAddr>().is_ok() {
        true => Ok(()),
        false => Err(PortError::Address(address.to_owned())),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications() {
        let of = |text: &str| parse(text).map_err(|error| error.to_string());
        assert_eq!(of("80"), Ok(vec!["80/tcp".into()]));
        assert_eq!(of("80/UDP"), Ok(vec!["80/udp".into()]));
        assert_eq!(of("8000-8002/sctp").unwrap(), ["8000/sctp", "8001/sctp", "8002/sctp"]);
        assert_eq!(of("127.0.0.1:90:80"), Ok(vec!["80/tcp".into()]));
        assert_eq!(of("[::1]:90:80"), Ok(vec!["80/tcp".into()]));
        for bad in ["", "/tcp", "80/x", "65536", "90-80", "1-2-3", "a", "+1", "x:80", "x:1:80", "1-3:4-5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
