//! Address prefixes as people write them, and what they probably meant.

use std::net::IpAddr;

use ipnet::IpNet;
use toml::Spanned;

use super::fault::FaultKind;
use super::findings::Findings;
use super::section::{MAX_SHOWN_CHARS, parse_text};

/// An address prefix without host bits.
pub(super) fn prefix(text: &Spanned<&str>, findings: &mut Findings<'_>) -> Option<Spanned<IpNet>> {
    let prefix: Spanned<IpNet> = parse_text(text, findings, |written, _| FaultKind::BadPrefix {
        written: written.chars().take(MAX_SHOWN_CHARS).collect(),
        right: likely_prefix(written),
    })?;
    let written = *prefix.get_ref();
    let kind = match written {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            let right =
                mapped_prefix(v6).map_or_else(|| EXAMPLE_PREFIX.to_owned(), |right| format!("`{right}`"));
            FaultKind::BadPrefix { written: written.to_string(), right }
        }
        _ if written.trunc() != written => FaultKind::HostBits { written, right: written.trunc() },
        _ => return Some(prefix),
    };
    findings.fault(text.span(), kind);
    None
}

/// The IPv4 prefix that an IPv4-mapped IPv6 one stands for.
fn mapped_prefix(v6: ipnet::Ipv6Net) -> Option<IpNet> {
    let address = v6.addr().to_ipv4_mapped()?;
    IpNet::new(address.into(), v6.prefix_len().checked_sub(96)?).ok().map(|prefix| prefix.trunc())
}

/// What a malformed prefix was probably meant to be.
fn likely_prefix(written: &str) -> String {
    let (address, length) = written.split_once('/').unwrap_or((written, ""));
    let Ok(address) = address.trim().parse::<IpAddr>() else { return EXAMPLE_PREFIX.to_owned() };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    if let (IpAddr::V4(_), Ok(mask)) = (address, length.parse::<IpAddr>())
        && let Ok(prefix) = IpNet::with_netmask(address, mask)
    {
        return format!("`{}`", prefix.trunc());
    }
    if length.is_empty() {
        format!("`{address}/{bits}` for this one address")
    } else {
        format!("`{address}/LENGTH` with a length of 0 to {bits}")
    }
}

const EXAMPLE_PREFIX: &str = "one such as `10.0.1.0/24` or `fd00:1::/64`";
