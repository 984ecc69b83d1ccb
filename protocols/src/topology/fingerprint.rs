//! One number for what a topology says, the same whatever the order and the comments of its file.

use std::fmt;

use super::{
    AcquisitionServer, Backup, Channel, Console, DEFAULT_GATEWAY, DEFAULT_HOLD_OFF, DEFAULT_RETURN_AFTER,
    DEFAULT_SITE_NAME, DatabaseServer, Failover, Input, PushHost, Topology,
};

impl Topology {
    /// A hash of the content: equal for equal topologies, on every machine and in every version of this format.
    ///
    /// Comments, white space, the order of tables, keys and list elements, and defaults written out do not change it.
    pub fn fingerprint(&self) -> u64 {
        // The networks and the index follow from the hosts. The patterns name every field, so that a new one
        // cannot be forgotten here.
        let Self { database_server, acquisition_servers, channels, hosts, networks: _, index: _ } = self;
        let mut digest = Digest::default();
        let DatabaseServer { address, registration_port, directory_port, http_port, name, console, gateway } =
            database_server;
        digest.fields("database_server", &[address, registration_port, directory_port, http_port]);
        // Keys that came after the first version count where they say something, so that older files keep their number.
        digest.unless(name == DEFAULT_SITE_NAME, "name", name);
        digest.unless(*console == Console::default(), "console", console);
        digest.unless(*gateway == DEFAULT_GATEWAY, "gateway", gateway);
        for AcquisitionServer { id, inputs } in acquisition_servers.values() {
            digest.fields("acquisition_server", &[id]);
            for Input { id, url } in inputs.values() {
                digest.fields("input", &[id, url]);
            }
        }
        for Channel { id, name, acquisition_server, input, service, backups, failover, port, logo, group } in
            channels.values()
        {
            let service = service.map_or_else(String::new, |service| service.to_string());
            digest.fields("channel", &[id, name, acquisition_server, input, &service, port]);
            for Backup { input, service } in backups {
                let service = service.map_or_else(String::new, |service| service.to_string());
                digest.fields("backup", &[input, &service]);
            }
            let Failover { hold_off, return_after } = failover;
            digest.unless(*hold_off == DEFAULT_HOLD_OFF, "hold_off", hold_off.as_secs());
            digest.unless(*return_after == DEFAULT_RETURN_AFTER, "return_after", return_after.as_secs());
            digest.unless(logo.is_none(), "logo", logo.as_deref().unwrap_or_default());
            digest.unless(group.is_none(), "group", group.as_deref().unwrap_or_default());
        }
        for host in hosts.values() {
            digest.host(host);
        }
        digest.finish()
    }
}

/// Every field as text behind its length, lists of numbers behind theirs, so that no two contents make the same bytes.
#[derive(Default)]
struct Digest {
    hasher: blake3::Hasher,
    text: String,
}

impl Digest {
    fn host(&mut self, host: &PushHost) {
        let PushHost { id, address, feed_port, control_port, channels, destinations, record, drain } = host;
        let record = record.map_or_else(String::new, |record| record.keep.as_secs().to_string());
        self.fields("push_server", &[id, address, feed_port, control_port, &record]);
        self.field(&channels.len());
        for channel in channels {
            self.hasher.update(&channel.0.to_le_bytes());
        }
        self.unless(!drain, "drain", drain);
        for destination in destinations {
            let super::Destination { address, kind, interface, ttl, dscp, window_ms, network, .. } =
                destination;
            let super::Destination { channels, membership, announce, .. } = destination;
            let interface = interface.as_ref().map_or_else(String::new, ToString::to_string);
            self.fields("destination", &[address, kind, &interface, ttl, dscp, window_ms, network]);
            if let Some(channels) = channels {
                self.fields("channels", &[&channels.len()]);
                for channel in channels {
                    self.hasher.update(&channel.0.to_le_bytes());
                }
            }
            self.unless(!membership, "membership", membership);
            self.unless(!announce, "announce", announce);
        }
    }

    /// A field that is left out at its default.
    fn unless(&mut self, default: bool, key: &str, value: impl fmt::Display) {
        if !default {
            self.fields(key, &[&value]);
        }
    }

    fn fields(&mut self, what: &str, fields: &[&dyn fmt::Display]) {
        self.field(&what);
        for field in fields {
            self.field(field);
        }
    }

    fn field(&mut self, field: &dyn fmt::Display) {
        use fmt::Write as _;
        self.text.clear();
        write!(self.text, "{field}").expect("a String takes all that is written to it");
        self.hasher.update(&(self.text.len() as u64).to_le_bytes());
        self.hasher.update(self.text.as_bytes());
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        self.hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }
}
