//! Which site a client watches that was told no address, and the list of those that are there.

use std::fmt::Write as _;

use link::discovery::Found;
use serde::Serialize;

use crate::listing::printable;
use crate::target::HostPort;

/// Longest text of a remembered site.
pub const MAX_REMEMBERED_BYTES: usize = 300;

/// What is known where no address was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Whether a directory answers at this very host.
    pub here: bool,
    /// The site of the last time, and whether it answers.
    pub remembered: Option<(HostPort, bool)>,
}

/// Which one, as far as that is clear before the LAN is searched.
pub fn without_search(known: &Known, local: &HostPort) -> Option<HostPort> {
    match &known.remembered {
        _ if known.here => Some(local.clone()),
        Some((site, true)) => Some(site.clone()),
        _ => None,
    }
}

/// Which one, of what the LAN has: the only one; with none, the one of the last time, whose kept lists may still be of use.
///
/// # Errors
/// There are several: a text for people that lists them.
pub fn after_search(known: Known, found: &[Found], local: &HostPort) -> Result<HostPort, String> {
    match found {
        [only] => Ok(address(only)),
        [] => Ok(known.remembered.map_or_else(|| local.clone(), |(site, _)| site)),
        several => Err(format!(
            "there are {} sites on this network; say which one: {}",
            several.len(),
            several
                .iter()
                .map(|site| format!("--database {} ({})", address(site), printable(&site.name)))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}

/// Where a found site is asked.
pub fn address(found: &Found) -> HostPort {
    HostPort { host: found.directory.ip().to_string(), port: found.directory.port() }
}

/// A line for each: what `--database` takes, and its name.
pub fn table(sites: &[Found]) -> String {
    let mut text = String::new();
    for site in sites {
        let version =
            site.version.as_deref().map_or_else(String::new, |version| format!(", {}", printable(version)));
        let address = address(site);
        writeln!(text, "{address}  {}{version}", printable(&site.name)).expect("a String takes all");
    }
    text
}

/// One JSON object, on one line.
///
/// # Panics
/// Never: all that it writes is JSON.
pub fn json(sites: &[Found]) -> String {
    #[derive(Serialize)]
    struct Site<'a> {
        name: &'a str,
        database: String,
        console: Option<String>,
        version: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Sites<'a> {
        sites: Vec<Site<'a>>,
    }
    let sites = sites.iter().map(|site| Site {
        name: &site.name,
        database: address(site).to_string(),
        console: site.console_port.map(|port| {
            let host = HostPort { host: site.directory.ip().to_string(), port };
            format!("http://{host}/")
        }),
        version: site.version.as_deref(),
    });
    let text = serde_json::to_string(&Sites { sites: sites.collect() }).expect("text and numbers are JSON");
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> HostPort {
        HostPort { host: "127.0.0.1".to_owned(), port: 7402 }
    }

    fn last(answers: bool) -> (HostPort, bool) {
        (HostPort { host: "10.0.0.9".to_owned(), port: 7402 }, answers)
    }

    fn site(name: &str, address: &str) -> Found {
        let directory = address.parse().unwrap();
        Found { name: name.to_owned(), directory, console_port: Some(7480), version: Some("1".to_owned()) }
    }

    #[test]
    fn this_host_comes_first_then_the_last_site_if_it_answers() {
        let known = Known { here: true, remembered: Some(last(true)) };
        assert_eq!(without_search(&known, &local()), Some(local()));
        let known = Known { here: false, remembered: Some(last(true)) };
        assert_eq!(without_search(&known, &local()).unwrap().host, "10.0.0.9");
        assert_eq!(without_search(&Known { here: false, remembered: Some(last(false)) }, &local()), None);
    }

    #[test]
    fn the_only_site_is_taken_and_of_several_people_choose() {
        let known = Known { here: false, remembered: Some(last(false)) };
        let hotel = site("Hotel", "10.0.0.2:7402");
        assert_eq!(
            after_search(known.clone(), std::slice::from_ref(&hotel), &local()).unwrap().host,
            "10.0.0.2"
        );
        assert_eq!(after_search(known.clone(), &[], &local()).unwrap().host, "10.0.0.9");
        assert_eq!(after_search(Known { here: false, remembered: None }, &[], &local()), Ok(local()));
        let text = after_search(known, &[hotel, site("Sh\u{1b}ip", "[fd00::2]:7402")], &local()).unwrap_err();
        assert_eq!(
            text,
            "there are 2 sites on this network; say which one: --database 10.0.0.2:7402 (Hotel), --database \
             [fd00::2]:7402 (Sh\u{fffd}ip)"
        );
    }

    #[test]
    fn sites_are_json_for_programs() {
        let text = json(&[site("A", "[fd00::2]:7402")]);
        assert_eq!(
            text,
            "{\"sites\":[{\"name\":\"A\",\"database\":\"[fd00::2]:7402\",\"console\":\"http://[fd00::2]:7480/\",\
             \"version\":\"1\"}]}\n"
        );
    }
}
