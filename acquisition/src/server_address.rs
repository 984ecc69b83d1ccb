//! `ADDRESS[:PORT]` of the database server, as an option has it.

use std::net::IpAddr;

use protocols::topology::DEFAULT_REGISTRATION_PORT as DEFAULT_PORT;

/// `text` with its port: `db`, `10.0.0.2:7401`, `::1` and `[::1]:7401` are all understood; names are looked up later.
pub fn parse(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not ADDRESS or ADDRESS:PORT, such as 10.0.0.2:{DEFAULT_PORT}");
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(std::net::SocketAddr::new(address, DEFAULT_PORT).to_string());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
        None => (text, DEFAULT_PORT),
    };
    let v6 = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.contains([' ', '/']) || (host.contains(':') && !v6) {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_where_none_is_given() {
        assert_eq!(parse("10.0.0.2").unwrap(), "10.0.0.2:7401");
        assert_eq!(parse("10.0.0.2:99").unwrap(), "10.0.0.2:99");
        assert_eq!(parse("::1").unwrap(), "[::1]:7401");
        assert_eq!(parse("[::1]:99").unwrap(), "[::1]:99");
        assert_eq!(parse("db.example").unwrap(), "db.example:7401");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "db:", "db:0", "db:70000", "http://db", "a:b:1"] {
            assert!(parse(text).unwrap_err().contains("is not ADDRESS"), "{text}");
        }
    }
}
