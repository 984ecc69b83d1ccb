//! Network interfaces, by name or by one of their addresses.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::SockaddrStorage;
use thiserror::Error;

/// An interface that exists now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// The kernel's index of it.
    pub index: u32,
    /// Its first IPv4 address, where it has one.
    pub ipv4: Option<Ipv4Addr>,
}

/// No such interface at this host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no interface `{wanted}` on this host; there are: {present}")]
pub struct NoInterface {
    /// What was asked for.
    pub wanted: String,
    /// What there is, for people.
    pub present: String,
}

/// The interface with the name or address `wanted`.
pub fn find(wanted: &str) -> Result<Interface, NoInterface> {
    let address: Option<IpAddr> = wanted.parse().ok();
    let all = all();
    let named = all.iter().find(|(name, at)| match address {
        Some(address) => *at == Some(address),
        None => name == wanted,
    });
    let missing = || NoInterface { wanted: wanted.to_owned(), present: present(&all) };
    let (name, _) = named.ok_or_else(missing)?;
    let index = if_nametoindex(name.as_str()).map_err(|_| missing())?;
    let asked = match address {
        Some(IpAddr::V4(v4)) => Some(v4),
        _ => None,
    };
    let first = all.iter().find_map(|(other, at)| match at {
        Some(IpAddr::V4(v4)) if other == name => Some(*v4),
        _ => None,
    });
    Ok(Interface { name: name.clone(), index, ipv4: asked.or(first) })
}

/// Whether `address` is one of this host's own.
pub fn is_local(address: IpAddr) -> bool {
    all().iter().any(|(_, at)| *at == Some(address))
}

/// The IPv4 addresses of this host, without those of its own loopback.
pub fn own_ipv4() -> Vec<Ipv4Addr> {
    let ipv4 = |(_, address)| match address {
        Some(IpAddr::V4(address)) if !address.is_loopback() => Some(address),
        _ => None,
    };
    all().into_iter().filter_map(ipv4).collect()
}

/// Addresses that are reached through an interface without a router between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Ours.
    address: IpAddr,
    mask: IpAddr,
}

impl Network {
    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, self.mask, address) {
            (IpAddr::V4(ours), IpAddr::V4(mask), IpAddr::V4(other)) => ours & mask == other & mask,
            (IpAddr::V6(ours), IpAddr::V6(mask), IpAddr::V6(other)) => ours & mask == other & mask,
            _ => false,
        }
    }
}

/// The networks of the interface that has the address `local`; none, when none has.
pub fn networks(local: IpAddr) -> Vec<Network> {
    let Ok(entries) = getifaddrs() else { return Vec::new() };
    let of = |entry: nix::ifaddrs::InterfaceAddress| {
        let (address, mask) = (ip(entry.address.as_ref()?)?, ip(entry.netmask.as_ref()?)?);
        Some((entry.interface_name, Network { address, mask }))
    };
    let all: Vec<(String, Network)> = entries.filter_map(of).collect();
    let Some((name, _)) = all.iter().find(|(_, network)| network.address == local) else { return Vec::new() };
    all.iter().filter(|(other, _)| other == name).map(|(_, network)| *network).collect()
}

/// The addresses of the interface with this name, with the prefixes that are reached through it without a router.
pub fn prefixes(name: &str) -> Vec<IpNet> {
    let Ok(entries) = getifaddrs() else { return Vec::new() };
    let of = |entry: nix::ifaddrs::InterfaceAddress| {
        let (address, mask) = (ip(entry.address.as_ref()?)?, ip(entry.netmask.as_ref()?)?);
        IpNet::with_netmask(address, mask).ok().filter(|_| entry.interface_name == name)
    };
    entries.filter_map(of).collect()
}

/// Name and address of every interface; one without an address comes with `None`.
fn all() -> Vec<(String, Option<IpAddr>)> {
    let Ok(entries) = getifaddrs() else { return Vec::new() };
    let address = |entry: &nix::ifaddrs::InterfaceAddress| ip(entry.address.as_ref()?);
    entries.map(|entry| (entry.interface_name.clone(), address(&entry))).collect()
}

fn ip(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn present(all: &[(String, Option<IpAddr>)]) -> String {
    let with_address = all.iter().filter_map(|(name, at)| at.map(|at| format!("{name} ({at})")));
    with_address.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_by_name_and_by_address() {
        let by_name = find("lo").unwrap();
        assert_eq!(by_name, find("127.0.0.1").unwrap());
        assert_eq!(by_name.ipv4, Some(Ipv4Addr::LOCALHOST));
        assert!(is_local("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn loopback_has_a_network_of_its_own() {
        let networks = networks(Ipv4Addr::LOCALHOST.into());
        let contains = |address: &str| networks.iter().any(|one| one.contains(address.parse().unwrap()));
        assert!(contains("127.9.8.7") && !contains("10.0.0.1") && !contains("fd00::1"));
        assert!(super::networks("192.0.2.1".parse().unwrap()).is_empty());
    }

    #[test]
    fn a_missing_interface_is_named_beside_those_that_exist() {
        let error = find("eth99").unwrap_err().to_string();
        assert!(error.starts_with("no interface `eth99` on this host; there are: "), "{error}");
        assert!(error.contains("lo (127.0.0.1)"), "{error}");
    }
}
