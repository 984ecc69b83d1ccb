//! What a whole file gets: the topology, or its faults with their places.

use proptest::prelude::*;
use proptest::sample::Index as Pick;

use super::*;

/// The smallest file that has one of everything; the tests below change single lines of it.
const GOOD: [&str; 20] = [
    "[database_server]",             // 1
    "address = \"10.0.0.2\"",        // 2
    "[[acquisition_server]]",        // 3
    "id = \"roof\"",                 // 4
    "[[acquisition_server.input]]",  // 5
    "id = \"mux-5\"",                // 6
    "url = \"testcard:\"",           // 7
    "[[channel]]",                   // 8
    "id = 1",                        // 9
    "name = \"One\"",                // 10
    "acquisition_server = \"roof\"", // 11
    "input = \"mux-5\"",             // 12
    "[[push_server]]",               // 13
    "id = \"hall\"",                 // 14
    "address = \"10.0.1.1\"",        // 15
    "channels = [1]",                // 16
    "[[push_server.destination]]",   // 17
    "address = \"239.192.1.1\"",     // 18
    "interface = \"10.0.1.1\"",      // 19
    "serves = [\"10.0.1.0/24\"]",    // 20
];

/// [`GOOD`] with some lines (counted from 1) replaced; line 21 is appended.
fn changed(changes: &[(usize, &str)]) -> String {
    let mut lines: Vec<&str> = GOOD.to_vec();
    lines.push("");
    for (line, text) in changes {
        lines[line - 1] = text;
    }
    lines.join("\n")
}

fn parse(text: &str) -> Result<(Topology, Vec<Warning>), Faults> {
    Topology::parse("t.toml", text)
}

/// Everything that is wrong, as `line:column: message`.
fn told(text: &str) -> Vec<String> {
    let Err(Faults(faults)) = parse(text) else { return Vec::new() };
    faults
        .iter()
        .map(|fault| format!("{}:{}: {}", fault.place.line, fault.place.column, fault.kind))
        .collect()
}

/// Everything that is remarkable, likewise.
fn remarked(text: &str) -> Vec<String> {
    let (_, warnings) = parse(text).unwrap_or_else(|faults| panic!("{faults}"));
    warnings
        .iter()
        .map(|warning| format!("{}:{}: {}", warning.place.line, warning.place.column, warning.kind))
        .collect()
}

macro_rules! refused {
    ($($name:ident: [$($line:literal $text:expr),+] $faults:expr;)+) => {$(
        #[test]
        fn $name() {
            assert_eq!(told(&changed(&[$(($line, $text)),+])), $faults);
        }
    )+};
}

refused! {
    toml_without_a_value_is_refused: [9 "id ="]
        ["9:5: this is no TOML: string values must be quoted, expected literal string"];
    a_toml_key_given_twice_is_refused: [10 "id = 2"] ["10:1: this is no TOML: duplicate key"];
    an_unknown_key_is_refused_with_the_likely_one: [2 "adress = \"10.0.0.2\""]
        ["2:1: unknown key `adress` in [database_server]; did you mean `address`?"];
    an_unknown_key_is_refused_with_the_known_ones: [7 "url = \"testcard:\"\ncolour = 1"]
        ["8:1: unknown key `colour` in [[acquisition_server.input]]; there are `id`, `url`"];
    an_unknown_table_is_refused: [21 "[[chanel]]"]
        ["21:3: unknown key `chanel` at the top of the file; there are `database_server`, `acquisition_server`, \
          `channel`, `push_server`"];
    a_missing_key_is_told_at_its_table: [10 ""]
        ["8:1: missing key `name` in [[channel]]; add `name = \"One\"`"];
    a_missing_database_server_is_told: [1 "", 2 ""]
        ["1:1: missing key `database_server` at the top of the file; add `[database_server]`"];
    a_site_without_a_name_is_refused: [2 "address = \"10.0.0.2\"\nname = \" \""]
        ["3:8: `name` has 1 to 64 bytes and no control characters"];
    a_console_for_nobody_is_refused: [2 "address = \"10.0.0.2\"\nconsole = \"closed\""]
        ["3:11: `console` is \"open\" (everybody may look) or \"accounts\" (who has one), not `closed`"];
    a_gateway_without_port_is_refused: [2 "address = \"10.0.0.2\"\ngateway = \"10.0.0.2\""]
        ["3:11: `10.0.0.2` is no address and port; write what viewers' browsers can reach, such as \
          \"127.0.0.1:7490\""];
    a_gateway_at_every_address_is_refused: [2 "address = \"10.0.0.2\"\ngateway = \"0.0.0.0:7490\""]
        ["3:11: `0.0.0.0:7490` is no address and port; write what viewers' browsers can reach, such as \
          \"127.0.0.1:7490\""];
    a_logo_that_is_no_web_address_is_refused: [10 "name = \"One\"\nlogo = \"javascript:alert(1)\""]
        ["11:8: `logo` is an http:// or https:// address of at most 256 bytes, with blanks and letters beyond ASCII \
          written as %20 and the like"];
    a_logo_that_ends_a_quotation_is_refused: [10 "name = \"One\"\nlogo = 'https://a/\"b'"]
        ["11:8: `logo` is an http:// or https:// address of at most 256 bytes, with blanks and letters beyond ASCII \
          written as %20 and the like"];
    a_group_of_two_lines_is_refused: [10 "name = \"One\"\ngroup = \"a\\nb\""]
        ["11:9: `group` has 1 to 64 bytes and no control characters"];
    a_word_for_drain_is_refused: [16 "channels = [1]\ndrain = \"yes\""]
        ["17:9: `drain` is true or false, not a string"];
    a_destination_for_no_channel_is_refused: [20 "serves = [\"10.0.1.0/24\"]\nchannels = []"]
        ["21:12: `channels` is empty; leave it out to send all channels of the push server there"];
    a_destination_for_a_channel_that_is_not_carried_is_refused: [20 "serves = [\"10.0.1.0/24\"]\nchannels = [1, 2, 1]"]
        ["21:16: the push server does not carry channel 2; add it to the push server's own `channels`",
         "21:19: channel 1 is listed twice; once is enough"];
    a_prefix_without_a_group_for_a_channel_is_refused: [9 "id = 300", 16 "channels = [300]", 18 "address = \"239.192.1.0/24\""]
        ["18:11: channel 300 has no group in 239.192.1.0/24, which has one for each channel from 1 to 255; write a \
          larger prefix, or `channels` with those that fit"];
    a_prefix_of_hosts_is_refused: [18 "address = \"10.0.1.0/24\""]
        ["18:11: `10.0.1.0/24` is no prefix of multicast groups; a group for each channel is written such as \
          239.192.1.0/24, any other destination as one address"];
    members_of_a_broadcast_address_are_refused: [18 "address = \"10.0.1.255\"\nmembership = true\nannounce = true"]
        ["19:14: `membership` needs a multicast group, and 10.0.1.255 is none",
         "20:12: `announce` needs a multicast group, and 10.0.1.255 is none"];
    members_of_a_group_of_two_channels_are_refused:
        [16 "channels = [1, 2]", 18 "address = \"239.192.1.1\"\nmembership = true",
         21 "[[channel]]\nid = 2\nname = \"Two\"\nacquisition_server = \"roof\"\ninput = \"mux-5\""]
        ["18:11: who joins 239.192.1.1 counts as a viewer (`membership`), so it can carry one channel only, not 1 and \
          2; write a prefix such as \"239.192.1.0/24\" for a group of each channel, or `channels = [1]`"];
    a_group_that_a_prefix_has_too_is_refused:
        [18 "address = \"239.192.1.0/24\"", 21 "[[push_server.destination]]\naddress = \"239.192.1.1\"\n\
          interface = \"eth0\"\nserves = [\"10.0.2.0/24\"]"]
        ["22:11: push server `hall` has destination 239.192.1.1 twice (first at line 18); write it once with all \
          prefixes in `serves`, or take another group for the other interface"];
    a_number_for_a_string_is_refused: [10 "name = 5"] ["10:8: `name` is a string, not a whole number"];
    a_string_for_a_number_is_refused: [9 "id = \"1\""]
        ["9:6: `id` is a whole number, not a string", "16:13: there is no channel `1`; declare it with [[channel]]"];
    a_string_for_a_list_is_refused: [20 "serves = \"10.0.1.0/24\""]
        ["20:10: `serves` is a list of address prefixes, not a string"];
    single_brackets_for_double_ones_are_refused: [8 "[channel]"]
        ["8:1: `channel` is a list of [[channel]], not a table",
         "16:13: there is no channel `1`; declare it with [[channel]]"];
    a_bad_id_is_refused: [14 "id = \"hall 1\""]
        ["14:6: bad push server id: ` ` cannot stand in an id; letters, digits, `.`, `_` and `-` can"];
    an_id_of_33_bytes_is_refused: [14 "id = \"x23456789-123456789-123456789-123\""]
        ["14:6: bad push server id: an id has at most 32 bytes, this one has 33"];
    an_empty_name_is_refused: [10 "name = \" \""]
        ["10:8: a channel name has 1 to 64 bytes and no control characters, this one is empty"];
    a_long_name_is_refused: [10 &format!("name = \"{}\"", "x".repeat(65))]
        ["10:8: a channel name has 1 to 64 bytes and no control characters, this one has 65"];
    a_newline_in_a_name_is_refused: [10 "name = \"a\\nb\""]
        ["10:8: a channel name has 1 to 64 bytes and no control characters, this one has control characters"];
    channel_0_is_refused: [9 "id = 0", 16 "channels = []"] ["9:6: `id` is 1 to 4294967295, not 0"];
    port_0_is_refused: [9 "id = 1\nport = 0"] ["10:8: `port` is 1 to 65535, not 0"];
    port_65536_is_refused: [9 "id = 1\nport = 0x1_0000"] ["10:8: `port` is 1 to 65535, not 0x1_0000"];
    a_port_beyond_any_integer_is_refused: [2 "address = \"10.0.0.2\"\nhttp_port = 99999999999999999999"]
        ["3:13: `http_port` is 1 to 65535, not 99999999999999999999"];
    a_large_id_without_port_is_refused: [9 "id = 57936", 16 "channels = [57936]"]
        ["9:6: channel 57936 needs a `port`: the usual 7600 + id would be above 65535"];
    service_0_is_refused: [9 "id = 1\nservice = 0"] ["10:11: `service` is 1 to 65535, not 0"];
    ttl_0_is_refused: [19 "interface = \"eth0\"\nttl = 0"] ["20:7: `ttl` is 1 to 255, not 0"];
    dscp_64_is_refused: [19 "interface = \"eth0\"\ndscp = 64"] ["20:8: `dscp` is 0 to 63, not 64"];
    a_window_above_50_ms_is_refused: [19 "interface = \"eth0\"\nwindow_ms = 51"]
        ["20:13: `window_ms` is 0 to 50, not 51"];
    a_channel_declared_twice_is_refused:
        [21 "[[channel]]\nid = 1\nname = \"Uno\"\nacquisition_server = \"roof\"\ninput = \"mux-5\""]
        ["22:6: channel `1` is declared twice (first at line 9); an id is given once and never again"];
    a_channel_with_two_acquisition_servers_is_refused:
        [21 "[[channel]]\nid = 1\nname = \"One\"\nacquisition_server = \"attic\"\ninput = \"a\"\n\
             [[acquisition_server]]\nid = \"attic\"\ninput = [{ id = \"a\", url = \"testcard:\" }]"]
        ["22:6: channel 1 has two sources (the other at line 9); a channel has one acquisition server and one input: \
          remove one, or give it an id of its own"];
    a_list_of_inputs_is_refused: [12 "input = [\"mux-5\", \"mux-6\"]"]
        ["12:9: a channel has one source, so `input` is one id and no list; write each further input as a [[channel.backup]]"];
    a_list_of_acquisition_servers_is_refused: [11 "acquisition_server = [\"roof\"]"]
        ["11:22: a channel has one source, so `acquisition_server` is one id and no list; write one [[channel]] for \
          each source"];
    an_acquisition_server_declared_twice_is_refused: [21 "[[acquisition_server]]\nid = \"roof\""]
        ["22:6: acquisition server `roof` is declared twice (first at line 4); an id is given once and never again"];
    an_input_declared_twice_is_refused:
        [7 "url = \"testcard:\"\n[[acquisition_server.input]]\nid = \"mux-5\"\nurl = \"testcard:\""]
        ["9:6: input `mux-5` is declared twice (first at line 6); an id is given once and never again"];
    a_push_server_declared_twice_is_refused:
        [21 "[[push_server]]\nid = \"hall\"\naddress = \"10.0.1.2\"\nchannels = [1]"]
        ["22:6: push server `hall` is declared twice (first at line 14); an id is given once and never again"];
    an_unknown_acquisition_server_is_refused_with_the_likely_one: [11 "acquisition_server = \"rof\""]
        ["11:22: there is no acquisition server `rof`; did you mean `roof`?"];
    an_unknown_input_is_refused_with_the_likely_one: [12 "input = \"mux5\""]
        ["12:9: there is no input `mux5` at acquisition server `roof`; did you mean `mux-5`?"];
    an_unknown_input_is_refused: [12 "input = \"satellite\""]
        ["12:9: there is no input `satellite` at acquisition server `roof`; declare it with \
          [[acquisition_server.input]]"];
    an_unknown_channel_is_refused: [16 "channels = [1, 7]"]
        ["16:16: there is no channel `7`; declare it with [[channel]]"];
    a_channel_listed_twice_is_refused: [16 "channels = [1, 1]"]
        ["16:16: push server `hall` lists channel 1 twice; once is enough"];
    a_name_for_an_address_is_refused: [15 "address = \"hall.example\""]
        ["15:11: `hall.example` is no IP address; write one such as 10.0.1.1 or fd00:1::1 (names are not resolved)"];
    a_server_at_every_address_is_refused: [2 "address = \"0.0.0.0\""]
        ["2:11: `0.0.0.0` is every address of this machine and cannot be reached; write the server's own address, at \
          which the others reach it"];
    a_server_at_a_group_is_refused: [15 "address = \"ff15::1\""]
        ["15:11: `ff15::1` is a multicast group; write the server's own address, at which the others reach it"];
    a_destination_at_no_address_is_refused: [18 "address = \"::\""]
        ["18:11: `::` is nobody's address; write a group, a broadcast address or a host"];
    a_destination_at_the_address_of_its_network_is_refused: [18 "address = \"10.0.1.0\""]
        ["18:11: `10.0.1.0` is the address of the network 10.0.1.0/24 itself; write 10.0.1.255 to reach everybody \
          there"];
    host_bits_in_a_prefix_are_refused: [20 "serves = [\"10.0.1.7/24\"]"]
        ["20:11: prefix 10.0.1.7/24 has host bits set; write 10.0.1.0/24"];
    a_prefix_without_length_is_refused: [20 "serves = [\"10.0.1.7\"]"]
        ["20:11: `10.0.1.7` is no address prefix; write `10.0.1.7/32` for this one address"];
    a_netmask_is_refused_with_the_length: [20 "serves = [\"10.0.1.0/255.255.255.0\"]"]
        ["20:11: `10.0.1.0/255.255.255.0` is no address prefix; write `10.0.1.0/24`"];
    a_prefix_of_33_bits_is_refused: [20 "serves = [\"10.0.1.0/33\"]"]
        ["20:11: `10.0.1.0/33` is no address prefix; write `10.0.1.0/LENGTH` with a length of 0 to 32"];
    a_word_for_a_prefix_is_refused: [20 "serves = [\"hall\"]"]
        ["20:11: `hall` is no address prefix; write one such as `10.0.1.0/24` or `fd00:1::/64`"];
    a_mapped_prefix_is_refused: [20 "serves = [\"::ffff:10.0.1.0/120\"]"]
        ["20:11: `::ffff:10.0.1.0/120` is no address prefix; write `10.0.1.0/24`"];
    empty_serves_is_refused: [20 "serves = []"]
        ["20:10: `serves` is empty; name the prefixes whose viewers see this destination, such as \"10.0.1.0/24\""];
    a_prefix_written_twice_is_refused: [20 "serves = [\"10.0.1.0/24\", \"10.0.1.0/24\"]"]
        ["20:26: prefix 10.0.1.0/24 is written twice; once is enough"];
    a_prefix_in_two_networks_is_refused:
        [21 "[[push_server.destination]]\naddress = \"10.0.1.255\"\nserves = [\"10.0.2.0/24\", \"10.0.1.0/24\"]"]
        ["23:26: prefix 10.0.1.0/24 belongs to two networks: 10.0.1.0/24+10.0.2.0/24 here and 10.0.1.0/24 at line 20; \
          destinations on one network have the same prefixes in `serves`"];
    multicast_without_interface_is_refused_with_the_likely_one: [19 ""]
        ["18:11: multicast destination 239.192.1.1 needs an `interface`; add `interface = \"10.0.1.1\"`"];
    multicast_to_a_distant_network_without_interface_is_refused: [19 "", 20 "serves = [\"10.9.0.0/16\"]"]
        ["18:11: multicast destination 239.192.1.1 needs an `interface`; add `interface = \"eth0\"`"];
    an_interface_of_the_other_family_is_refused: [19 "interface = \"fd00::1\""]
        ["19:13: destination 239.192.1.1 is IPv4, but interface fd00::1 is not; name the interface, or write its \
          address of the same family"];
    prefixes_of_the_other_family_are_refused: [18 "address = \"ff15::1\"", 19 "interface = \"eth0\""]
        ["20:11: destination ff15::1 is IPv6, but prefix 10.0.1.0/24 is not; serve a prefix of the same family, or \
          write a destination of the other"];
    a_bad_interface_is_refused: [19 "interface = \"eth 0\""]
        ["19:13: bad interface: `eth 0` is neither an address nor an interface name (1 to 15 bytes without blanks, \
          `/` and `:`)"];
    directed_broadcast_in_ipv6_is_refused:
        [18 "address = \"fd00:1::ffff:ffff:ffff:ffff\"", 19 "", 20 "serves = [\"fd00:1::/64\"]"]
        ["18:11: fd00:1::ffff:ffff:ffff:ffff is the last address of fd00:1::/64, but IPv6 has no broadcast; use a \
          group such as ff15::1"];
    a_destination_written_twice_is_refused:
        [21 "[[push_server.destination]]\naddress = \"239.192.1.1\"\ninterface = \"10.0.1.1\"\n\
             serves = [\"10.0.2.0/24\"]"]
        ["22:11: push server `hall` has destination 239.192.1.1 twice (first at line 18); write it once with all \
          prefixes in `serves`, or take another group for the other interface"];
    an_input_of_a_later_version_is_refused: [7 "url = \"rist://:5004\""]
        ["7:7: bad input URL: input scheme `rist:` is not available in this version; testcard:, file:, udp:, rtp:, exec:, \
          http:, https:, dvb:, satip:, srt: and hdhomerun: are"];
    an_unknown_input_scheme_is_refused: [7 "url = \"upd://239.1.1.1:5004\""]
        ["7:7: bad input URL: unknown input scheme `upd:`; did you mean `udp:`?"];
    a_bad_length_of_time_is_refused: [16 "channels = [1]\nrecord = { keep = \"7 days\" }"]
        ["17:19: bad `keep`: `7 days` is no length of time; write a number and a unit (s, m, h, d or w), such as \
          \"7d\""];
    a_record_without_keep_is_refused: [16 "channels = [1]\nrecord = {}"]
        ["17:10: missing key `keep` in `record`; add `keep = \"7d\"`"];
    two_database_ports_that_are_one_are_refused: [2 "address = \"10.0.0.2\"\ndirectory_port = 7401"]
        ["3:18: the database server's directory and the database server's registration (line 1) both listen at \
          10.0.0.2 TCP port 7401; give one of them another port"];
    two_push_servers_at_one_port_are_refused:
        [21 "[[push_server]]\nid = \"b\"\naddress = \"10.0.1.1\"\nfeed_port = 7503\nchannels = [1]\n\
             record = { keep = \"1d\" }"]
        ["21:1: the control of push server `b` and the control of push server `hall` (line 13) both listen at 10.0.1.1 \
          UDP port 7404; give one of them another port"];
    a_feed_at_a_port_of_the_database_server_is_refused: [15 "address = \"10.0.0.2\"\nfeed_port = 7402"]
        ["16:13: the feed of push server `hall` and the database server's directory (line 1) both listen at 10.0.0.2 \
          TCP port 7402; give one of them another port"];
    two_channels_on_one_port_of_one_destination_are_refused:
        [12 "input = \"mux-5\"\n[[channel]]\nid = 2\nname = \"Two\"\nport = 7601\nacquisition_server = \"roof\"\n\
             input = \"mux-5\"", 16 "channels = [1, 2]"]
        ["22:16: channels 1 and 2 would both go to 239.192.1.1 port 7601 on network 10.0.1.0/24 (the other is listed \
          at line 22); give one of them another port or another destination"];
    two_channels_on_one_port_from_two_push_servers_are_refused: [21 RIVAL_WITH_CHANNEL_2]
        ["30:13: channels 1 and 2 would both go to 239.192.1.1 port 7601 on network 10.0.1.0/24 (the other is listed \
          at line 16); give one of them another port or another destination"];
    every_fault_is_told_at_once_in_the_order_of_the_file:
        [2 "adress = \"x\"", 7 "url = \"x\"", 11 "acquisition_server = \"rof\"",
         19 "interface = \"eth0\"\nttl = 300", 20 "serves = [\"10.0.1.1/24\", 5]"]
        ["2:1: unknown key `adress` in [database_server]; did you mean `address`?",
         "7:7: bad input URL: an input URL begins with testcard:, file:, udp:, rtp:, exec:, http:, https:, dvb:, satip:, srt: or hdhomerun:",
         "11:22: there is no acquisition server `rof`; did you mean `roof`?",
         "20:7: `ttl` is 1 to 255, not 300",
         "21:11: prefix 10.0.1.1/24 has host bits set; write 10.0.1.0/24",
         "21:26: `serves` is a string, not a whole number"];
}

/// Another channel, with channel 1's port, from another push server to the same group on the same network.
const RIVAL_WITH_CHANNEL_2: &str = "[[channel]]
id = 2
name = \"Two\"
acquisition_server = \"roof\"
input = \"mux-5\"
port = 7601
[[push_server]]
id = \"spare\"
address = \"10.0.1.2\"
channels = [2]
[[push_server.destination]]
address = \"239.192.1.1\"
interface = \"10.0.1.2\"
serves = [\"10.0.1.0/24\"]";

#[test]
fn the_small_file_is_right() {
    assert_eq!(told(&changed(&[])), [""; 0]);
    assert_eq!(remarked(&changed(&[])), [""; 0]);
}

#[test]
fn what_masthead_up_runs_without_a_file_is_right_and_serves_this_machine() {
    let (topology, warnings) = Topology::parse("up.toml", OWN).unwrap();
    assert_eq!(warnings, []);
    let network = topology.network_of("127.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(topology.channels_of(network).len(), 2);
}

#[test]
fn the_example_is_right() {
    let (topology, warnings) = Topology::parse("topology.toml", EXAMPLE).unwrap();
    assert_eq!(warnings, []);
    assert_eq!((topology.hosts.len(), topology.networks.len()), (4, 4));
    let hall = topology.network_of("fd00:1::abcd".parse().unwrap()).unwrap();
    assert_eq!(hall.as_str(), "10.0.1.0/24+fd00:1::/64");
    assert_eq!(Some(hall), topology.network_of("::ffff:10.0.1.9".parse().unwrap()));
    assert_eq!(topology.channels_of(hall), &[1, 2, 3, 10, 11, 99].map(ChannelId).into());
    let rivals: Vec<String> =
        topology.carriers(ChannelId(2), hall).iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(rivals, ["hall", "hall-spare"]);
    assert_eq!(topology.carriers(ChannelId(10), hall).len(), 1);
    assert_eq!(topology.carriers(ChannelId(7), hall), []);
    let room = topology.network_of("10.0.2.77".parse().unwrap()).unwrap();
    assert_eq!(room.as_str(), "10.0.2.77/32");
    let sender = topology.destination(&topology.carriers(ChannelId(1), room)[0]).unwrap();
    assert_eq!((sender.kind, sender.ttl, sender.dscp), (DestinationKind::Unicast, 64, 34));
    assert_eq!(topology.network_of("192.0.2.1".parse().unwrap()), None);
}

#[test]
fn defaults_are_those_of_the_reference() {
    let (topology, _) = parse(&changed(&[])).unwrap();
    let host = &topology.hosts[&"hall".parse().unwrap()];
    assert_eq!((host.feed().port(), host.control().port()), (7403, 7404));
    let first = &host.destinations[0];
    assert_eq!((first.ttl, first.dscp, first.window_ms), (1, 0, 10));
    let database = &topology.database_server;
    assert_eq!((database.registration().port(), database.directory().port()), (7401, 7402));
    assert_eq!((database.http().port(), topology.channels[&ChannelId(1)].port), (7480, 7601));
}

#[test]
fn one_channel_from_two_push_servers_to_one_group_is_meant() {
    let rival = RIVAL_WITH_CHANNEL_2.replace("channels = [2]", "channels = [1]");
    let (topology, _) = parse(&changed(&[(21, &rival)])).unwrap();
    let (network, _) = topology.networks.first_key_value().unwrap();
    assert_eq!(topology.carriers(ChannelId(1), network).len(), 2);
}

#[test]
fn one_group_may_carry_different_channels_on_different_networks() {
    let elsewhere = RIVAL_WITH_CHANNEL_2.replace("10.0.1.0/24", "10.0.2.0/24");
    assert_eq!(told(&changed(&[(21, &elsewhere)])), [""; 0]);
}

#[test]
fn one_host_address_is_one_place_from_whatever_network() {
    let unicast = changed(&[(18, "address = \"10.0.1.9\""), (21, RIVAL_WITH_CHANNEL_2)])
        .replace("239.192.1.1", "10.0.1.9")
        .replacen("10.0.1.0/24", "10.0.0.0/16", 1);
    let kinds: Vec<_> = parse(&unicast).unwrap_err().0.into_iter().map(|fault| fault.kind).collect();
    assert!(matches!(kinds[..], [FaultKind::SharedPort { port: 7601, .. }]), "{kinds:?}");
}

#[test]
fn doubtful_things_are_remarked_and_accepted() {
    let unseen = "[[channel]]\nid = 2\nname = \"one\"\nacquisition_server = \"roof\"\ninput = \"mux-5\"\n\
                  [[acquisition_server]]\nid = \"attic\"\n\
                  [[acquisition_server.input]]\nid = \"a\"\nurl = \"testcard:\"\n\
                  [[push_server]]\nid = \"idle\"\naddress = \"10.0.1.9\"\nchannels = []";
    let more_input = "url = \"testcard:\"\n[[acquisition_server.input]]\nid = \"b\"\nurl = \"testcard:\"";
    assert_eq!(
        remarked(&changed(&[(7, more_input), (21, unseen)])),
        [
            "9:6: no channel comes from input `b` of acquisition server `roof`",
            "25:6: no push server carries channel 2, so nobody can see it",
            "26:8: channel 2 has the name of channel 1; viewers can tell them apart by number only",
            "30:6: no channel comes from acquisition server `attic`",
            "35:6: push server `idle` carries no channel",
            "35:6: push server `idle` has no destination and records nothing, so it has nothing to do",
        ]
    );
    assert_eq!(
        remarked(&changed(&[(18, "address = \"10.0.9.255\"")])),
        ["18:11: 10.0.9.255 lies in none of the prefixes that it serves; it is sent to as a single host"]
    );
    assert_eq!(
        remarked(&changed(&[(18, "address = \"224.0.0.5\"")])),
        ["18:11: switches send 224.0.0.5 to every port, watched or not; take a group of 239.0.0.0/8"]
    );
}

#[test]
fn a_fault_shows_its_line_with_the_place_marked() {
    let faults = parse(&changed(&[(2, "  adress = \"10.0.0.2\"")])).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "t.toml:2:3: unknown key `adress` in [database_server]; did you mean `address`?\n  |\n\
         2 |   adress = \"10.0.0.2\"\n  |   ^^^^^^\n"
    );
    let (_, warnings) = parse(&changed(&[(16, "channels = []")])).unwrap();
    assert!(warnings[0].to_string().starts_with("t.toml:9:6: warning: no push server carries channel 1"));
}

/// The faults of too many things among all faults of a file.
fn limits(text: &str) -> Vec<FaultKind> {
    let Err(Faults(faults)) = parse(text) else { return Vec::new() };
    let kinds = faults.into_iter().map(|fault| fault.kind);
    kinds.filter(|kind| matches!(kind, FaultKind::TooMany { .. })).collect()
}

#[test]
fn too_many_of_anything_are_refused() {
    let too_many = |what, limit| vec![FaultKind::TooMany { what, found: limit + 1, limit }];
    let with = |more: &str, count: usize| limits(&(changed(&[]) + &more.repeat(count)));
    let found = with("[[push_server.destination]]\n", MAX_DESTINATIONS_PER_HOST);
    assert_eq!(found, too_many("destinations of one push server", MAX_DESTINATIONS_PER_HOST));
    assert_eq!(with("[[channel]]\n", MAX_CHANNELS), too_many("channels", MAX_CHANNELS));
    assert_eq!(with("[[push_server]]\n", MAX_HOSTS), too_many("push servers", MAX_HOSTS));
    let found = with("[[acquisition_server]]\n", MAX_ACQUISITION_SERVERS);
    assert_eq!(found, too_many("acquisition servers", MAX_ACQUISITION_SERVERS));
    let found = with("[[acquisition_server.input]]\n", MAX_INPUTS_PER_SERVER);
    assert_eq!(found, too_many("inputs of one acquisition server", MAX_INPUTS_PER_SERVER));
    let serves: Vec<String> = (0..65).map(|number| format!("\"10.1.{number}.0/24\"")).collect();
    let found = limits(&changed(&[(20, &format!("serves = [{}]", serves.join(",")))]));
    assert_eq!(found, too_many("prefixes in one `serves`", MAX_PREFIXES_PER_NETWORK));
    let long = " ".repeat(MAX_FILE_BYTES + 1);
    assert_eq!(parse(&long).unwrap_err().0[0].kind, FaultKind::FileTooLong(MAX_FILE_BYTES + 1));
}

#[test]
fn one_network_more_than_the_limit_is_refused() {
    let lans = (0..MAX_NETWORKS).map(|number| {
        let (host, lan) = (number / 250, number % 250);
        let server =
            format!("[[push_server]]\nid = \"h{host}\"\naddress = \"10.9.9.{host}\"\nchannels = [1]\n");
        let server = if lan == 0 { server } else { String::new() };
        let lan = format!("10.{}.{lan}", 10 + host);
        server + &format!("[[push_server.destination]]\naddress = \"{lan}.255\"\nserves = [\"{lan}.0/24\"]\n")
    });
    let text = changed(&[]) + &lans.collect::<Vec<_>>().concat();
    let kind = FaultKind::TooMany {
        what: "networks (different `serves`)",
        found: MAX_NETWORKS + 1,
        limit: MAX_NETWORKS,
    };
    assert_eq!(limits(&text), [kind]);
}

#[test]
fn faults_past_the_limit_are_counted() {
    let many = changed(&[(16, &format!("channels = [1{}]", ", 7".repeat(MAX_FAULTS + 5)))]);
    let Faults(faults) = parse(&many).unwrap_err();
    assert_eq!(faults.len(), MAX_FAULTS + 1);
    assert!(matches!(faults[MAX_FAULTS].kind, FaultKind::MoreFaults(more) if more > 5));
}

#[test]
fn the_fingerprint_is_of_the_content_alone() {
    let fingerprint = |text: &str| parse(text).unwrap_or_else(|faults| panic!("{faults}")).0.fingerprint();
    let good = fingerprint(&changed(&[]));
    // Pinned: it is kept in databases, and has to be the same in the next version.
    assert_eq!(format!("{good:016x}"), "d6de007fe059339e");
    let turned = [GOOD[12..].join("\n"), GOOD[2..12].join("\n"), GOOD[..2].join("\n")].join("\n");
    assert_eq!(fingerprint(&turned), good);
    assert_eq!(fingerprint(&changed(&[(9, "id = 0x1 # first"), (10, "port = 7601\nname = 'One'")])), good);
    assert_eq!(fingerprint(&changed(&[(2, "http_port = 7480\naddress = \"::ffff:10.0.0.2\"")])), good);
    let written_out = "serves = [\"10.0.1.0/24\"]\nchannels = [1]\nmembership = false\nannounce = false";
    assert_eq!(fingerprint(&changed(&[(20, written_out)])), good);
    let written_out =
        "address = \"10.0.0.2\"\nname = \"Masthead\"\nconsole = \"open\"\ngateway = \"127.0.0.1:7490\"";
    assert_eq!(fingerprint(&changed(&[(2, written_out)])), good);
    for (line, other) in [
        (2, "address = \"10.0.0.3\""),
        (7, "url = \"file:/a.ts\""),
        (10, "name = \"Two\""),
        (10, "name = \"One\"\nservice = 5"),
        (16, "channels = []"),
        (16, "channels = [1]\nrecord = { keep = \"7d\" }"),
        (19, "interface = \"eth0\""),
        (20, "serves = [\"10.0.1.0/24\"]\nttl = 2"),
        (20, "serves = [\"10.0.0.0/16\"]"),
        (2, "address = \"10.0.0.2\"\nname = \"Hotel\""),
        (2, "address = \"10.0.0.2\"\nconsole = \"accounts\""),
        (2, "address = \"10.0.0.2\"\ngateway = \"10.0.0.9:80\""),
        (10, "name = \"One\"\nlogo = \"https://tv.example/1.png\""),
        (10, "name = \"One\"\ngroup = \"News\""),
        (16, "channels = [1]\ndrain = true"),
        (20, "serves = [\"10.0.1.0/24\"]\nmembership = true"),
        (20, "serves = [\"10.0.1.0/24\"]\nannounce = true"),
    ] {
        assert_ne!(fingerprint(&changed(&[(line, other)])), good, "{other}");
    }
}

/// Ten channels on one port, each with a group of its own.
fn ten() -> String {
    let channels: Vec<String> = (1..=10)
        .map(|id| {
            let source = "acquisition_server = \"roof\"\ninput = \"mux-5\"\nport = 5004";
            format!("[[channel]]\nid = {id}\nname = \"Channel {id}\"\n{source}\n")
        })
        .collect();
    let (head, tail) = (GOOD[..7].join("\n"), GOOD[12..].join("\n"));
    let tail = tail.replace("[1]", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]").replace(
        "239.192.1.1",
        "239.192.1.0/24\"\nmembership = true\nannounce = true\nchannels = [1, 2, 3, 7]#",
    );
    format!("{head}\n{}{tail}", channels.concat())
}

#[test]
fn a_prefix_gives_each_channel_a_group_of_its_own_and_channels_say_which() {
    let (topology, _) = parse(&ten()).unwrap_or_else(|faults| panic!("{faults}"));
    let host = &topology.hosts[&"hall".parse().unwrap()];
    let sent: Vec<(String, Vec<u32>)> = host
        .destinations
        .iter()
        .map(|to| (to.address.to_string(), host.channels_at(to).map(|channel| channel.0).collect()))
        .collect();
    let expected = [1, 2, 3, 7].map(|id| (format!("239.192.1.{id}"), vec![id]));
    assert_eq!(sent, expected);
    assert!(host.destinations.iter().all(|to| to.membership && to.announce));
    let network = &host.destinations[0].network;
    assert_eq!(topology.channels_of(network).iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3, 7]);
    let carriers = topology.carriers(ChannelId(7), network);
    assert_eq!(topology.destination(&carriers[0]).unwrap().address.to_string(), "239.192.1.7");
    assert_eq!(carriers.len(), 1);
    let text = topology.describe(Paint::Plain);
    let line = "to 10.0.1.0/24, channel 7, members are viewers, announced by SAP\n";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("  7  Channel 7  multicast 239.192.1.7:5004 from hall\n"), "{text}");
}

#[test]
fn a_prefix_of_ipv6_groups_has_one_for_every_channel() {
    let text = ten()
        .replace("239.192.1.0/24", "ff15::1:0:0/96")
        .replace("serves = [\"10.0.1.0/24\"]", "serves = [\"fd00:1::/64\"]")
        .replace("\"10.0.1.1\"\nserves", "\"eth0\"\nserves");
    let (topology, _) = parse(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let host = &topology.hosts[&"hall".parse().unwrap()];
    assert_eq!(host.destinations[3].address.to_string(), "ff15::1:0:7");
}

#[test]
fn more_groups_than_a_push_server_may_have_destinations_are_refused() {
    let ids: Vec<String> = (1..=600).map(|id| id.to_string()).collect();
    let second = "[[push_server.destination]]\naddress = \"239.193.0.0/16\"\ninterface = \"eth0\"\n\
                  serves = [\"10.0.2.0/24\"]";
    let prefix = (18, "address = \"239.192.0.0/16\"");
    let found = limits(&changed(&[(16, &format!("channels = [{}]", ids.join(","))), prefix, (21, second)]));
    let what = "destinations of one push server, with one for each channel of a prefix";
    assert_eq!(found, [FaultKind::TooMany { what, found: 1_200, limit: MAX_DESTINATIONS_PER_HOST }]);
}

#[test]
fn what_people_read_is_kept_as_it_was_written() {
    let keys = "address = \"10.0.0.2\"\nname = \"Hôtel\"\nconsole = \"accounts\"\ngateway = \"[fd00::2]:80\"";
    let shown = "name = \"One\"\ngroup = \"News & Talk\"\nlogo = \"https://tv.example/1.png?s=2\"";
    let (topology, _) =
        parse(&changed(&[(2, keys), (10, shown), (16, "channels = [1]\ndrain = true")])).unwrap();
    let database = &topology.database_server;
    assert_eq!((database.name.as_str(), database.console), ("Hôtel", Console::Accounts));
    assert_eq!(database.gateway.to_string(), "[fd00::2]:80");
    let channel = &topology.channels[&ChannelId(1)];
    assert_eq!(channel.group.as_deref(), Some("News & Talk"));
    assert_eq!(channel.logo.as_deref(), Some("https://tv.example/1.png?s=2"));
    assert!(topology.hosts[&"hall".parse().unwrap()].drain);
    let text = topology.describe(Paint::Plain);
    assert!(text.contains("\n  site Hôtel, console accounts, its player at [fd00::2]:80\n"), "{text}");
    assert!(text.contains("control 7404, drained\n") && text.contains("in News & Talk\n"), "{text}");
    let (plain, _) = parse(&changed(&[])).unwrap();
    let database = plain.database_server;
    assert_eq!((database.name.as_str(), database.gateway), ("Masthead", DEFAULT_GATEWAY));
}

#[test]
fn the_order_of_destinations_changes_nothing() {
    let other = "[[push_server.destination]]\naddress = \"10.0.2.255\"\nserves = [\"10.0.2.0/24\"]";
    let (last, _) = parse(&changed(&[(21, other)])).unwrap();
    let (first, _) = parse(&changed(&[(16, &format!("channels = [1]\n{other}"))])).unwrap();
    assert_eq!(first, last);
    assert_eq!(first.fingerprint(), last.fingerprint());
}

#[test]
fn the_description_follows_references_for_people_and_programs() {
    let (topology, _) = parse(&changed(&[])).unwrap();
    let text = topology.describe(Paint::Plain);
    for expected in [
        "1 channel, 1 acquisition server, 1 push server, 1 network;",
        "\n  10.0.0.2, registration 7401, directory 7402, console 7480\n",
        "\n  input mux-5  testcard:\n    channel 1  One\n  feeds        hall\n",
        "\n  10.0.1.1, feed 7403, control 7404\n  carries channel 1\n  multicast  239.192.1.1  through 10.0.1.1  ",
        "\nviewers on 10.0.1.0/24\n  1  One  multicast 239.192.1.1:7601 from hall\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
    assert!(!text.contains('\x1b') && topology.describe(Paint::Coloured).contains('\x1b'));
    let json = serde_json::to_value(topology.description()).unwrap();
    assert_eq!(json["networks"][0]["channels"][0]["carriers"][0]["push_server"]["host"], "hall");
    assert_eq!(json["acquisition_servers"][0]["inputs"][0]["url"], "testcard:");
    assert_eq!(json["push_servers"][0]["destinations"][0]["kind"], "multicast");
    let whole = serde_json::to_value(&topology).unwrap();
    assert_eq!(whole["hosts"]["hall"]["destinations"][0]["interface"], "10.0.1.1");
}

/// A second input, and the channel's backup of it behind line 12.
const SECOND_INPUT: (usize, &str) =
    (7, "url = \"testcard:\"\n[[acquisition_server.input]]\nid = \"mux-6\"\nurl = \"file:b.ts\"");

#[test]
fn a_channels_backups_are_kept_in_their_order_and_described() {
    let third = "url = \"testcard:\"\n[[acquisition_server.input]]\nid = \"mux-6\"\nurl = \"file:b.ts\"\n\
                 [[acquisition_server.input]]\nid = \"aux\"\nurl = \"file:c.ts\"";
    let channel = "input = \"mux-5\"\nhold_off = \"5s\"\nreturn_after = \"2m\"\n\
                   [[channel.backup]]\ninput = \"mux-6\"\nservice = 258\n[[channel.backup]]\ninput = \"aux\"";
    let text = changed(&[(7, third), (12, channel)]);
    assert!(remarked(&text).is_empty());
    let (topology, _) = parse(&text).unwrap();
    let channel = &topology.channels[&ChannelId(1)];
    let backup = |input: &str, service| Backup { input: input.parse().unwrap(), service };
    assert_eq!(channel.backups, [backup("mux-6", Some(258)), backup("aux", None)]);
    assert_eq!(channel.failover.hold_off.as_secs(), 5);
    assert_eq!(channel.failover.return_after.as_secs(), 120);
    let text = topology.describe(Paint::Plain);
    assert!(text.contains("channel 1  One, backup 1  service 258  after 5s, back after 2m\n"), "{text}");
    assert!(text.contains("channel 1  One, backup 2               after 5s, back after 2m\n"), "{text}");
    let json = serde_json::to_value(topology.description()).unwrap();
    assert_eq!(json["acquisition_servers"][0]["inputs"][0]["backup_of"][0], 1);
    let json = serde_json::to_value(&topology).unwrap();
    assert_eq!(json["channels"]["1"]["failover"]["return_after_s"], 120);
}

#[test]
fn every_word_on_failover_counts_in_the_fingerprint() {
    let of = |channel: &str| parse(&changed(&[SECOND_INPUT, (12, channel)])).unwrap().0.fingerprint();
    let plain = of("input = \"mux-5\"");
    let backup = "input = \"mux-5\"\n[[channel.backup]]\ninput = \"mux-6\"";
    let all = [
        plain,
        of(backup),
        of(&format!("{backup}\nservice = 2")),
        of(&backup.replace("[[", "hold_off = \"3s\"\n[[")),
        of(&backup.replace("[[", "return_after = \"3s\"\n[[")),
    ];
    assert_eq!(std::collections::BTreeSet::from(all).len(), all.len());
    assert_eq!(of(backup), of(&backup.replace("[[", "hold_off = \"2s\"\nreturn_after = \"30s\"\n[[")));
}

#[test]
fn times_without_a_backup_are_remarked() {
    let warnings = remarked(&changed(&[(12, "input = \"mux-5\"\nhold_off = \"3s\"")]));
    assert_eq!(warnings, ["13:12: channel 1 has no [[channel.backup]], so `hold_off` says nothing"]);
}

#[test]
fn what_is_wrong_with_backups_is_told_with_its_place() {
    let told_of = |channel: &str| told(&changed(&[SECOND_INPUT, (12, channel)]));
    for (channel, fault) in [
        (
            "input = \"mux-5\"\n[[channel.backup]]\ninput = \"mux-5\"",
            "17:9: the channel comes from input `mux-5` already; a backup is another input",
        ),
        (
            "input = \"mux-5\"\n[[channel.backup]]\ninput = \"mux-66\"",
            "17:9: there is no input `mux-66` at acquisition server `roof`; did you mean `mux-6`?",
        ),
        (
            "input = \"mux-5\"\n[[channel.backup]]\nservice = 1",
            "16:1: missing key `input` in [[channel.backup]]; add `input = \"mux-6\"`",
        ),
        (
            "input = \"mux-5\"\n[[channel.backup]]\ninput = \"mux-6\"\nurl = \"x\"",
            "18:1: unknown key `url` in [[channel.backup]]; there are `input`, `service`",
        ),
        ("input = \"mux-5\"\nhold_off = \"0s\"", "16:12: bad `hold_off`: it is 1s to 5m, such as \"2s\""),
        (
            "input = \"mux-5\"\nreturn_after = \"soon\"",
            "16:16: bad `return_after`: `soon` is no length of time; write a number and a unit (s, m, h or d), such as \
             \"2s\"",
        ),
    ] {
        assert_eq!(told_of(channel), [fault]);
    }
    let backup = "\n[[channel.backup]]\ninput = \"mux-6\"";
    let many = told_of(&format!("input = \"mux-5\"{}", backup.repeat(MAX_BACKUPS + 1)));
    assert!(
        many.iter().any(|fault| fault.contains("8 backups of one channel; there are at most 7")),
        "{many:?}"
    );
}

/// One way to spoil a file: where, how many bytes go, what comes in their place.
fn mutation() -> impl Strategy<Value = (Pick, usize, String)> {
    let pieces: Vec<&str> = PIECES.split(' ').collect();
    let piece = prop_oneof![
        1 => proptest::collection::vec(any::<char>(), 0..4).prop_map(String::from_iter),
        3 => proptest::sample::select(pieces).prop_map(str::to_owned),
    ];
    (any::<Pick>(), 0..40_usize, piece)
}

/// What goes into spoilt files beside random characters, and also nothing (the first piece).
const PIECES: &str = " [ ] [[ { } \" ' = # 0 1e5 true 65536 -1 é \u{0} \r\n [[channel]] [[push_server]] \
                      [[push_server.destination]] id=1 255.255.255.255 :: /0";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever a file looks like, it is answered, and every answer points into the file.
    #[test]
    fn a_spoilt_file_never_panics_and_faults_lie_in_it(mutations in proptest::collection::vec(mutation(), 1..6)) {
        let mut text = EXAMPLE.to_owned();
        for (pick, length, piece) in mutations {
            let start = text.floor_char_boundary(pick.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, &piece);
        }
        let places: Vec<Place> = match parse(&text) {
            Ok((topology, warnings)) => {
                topology.describe(Paint::Plain);
                warnings.into_iter().map(|warning| warning.place).collect()
            }
            Err(faults) => {
                prop_assert!(!faults.to_string().is_empty());
                faults.0.into_iter().map(|fault| fault.place).collect()
            }
        };
        for place in places {
            prop_assert!(text.get(place.span.clone()).is_some(), "{:?}", place);
            let line = text.split('\n').nth(place.line - 1);
            prop_assert!(line.is_some_and(|line| place.column <= line.chars().count() + 1), "{:?}", place);
        }
    }
}

const EXAMPLE: &str = include_str!("../../../topology.toml");
const OWN: &str = include_str!("../../../src/up.toml");
