//! What a SAT>IP server says of its tuner's signal: RTCP application packets named `SES1` (specification §3.5.11), beside
//! the RTP stream, five times a second.
//!
//! ```text
//! vers0.9;src=1;tuner=1,240,1,7,12402,v,dvbs,,,,27500,34;pids=0,400,401      level 0..255, lock, quality 0..15
//! ```

use crate::signal::Signal;

/// RTCP packet type APP (RFC 3550 §6.7).
const APPLICATION: u8 = 204;
const NAME: &[u8; 4] = b"SES1";

/// The signal in a datagram of RTCP; `None` where it tells of none.
pub fn signal(datagram: &[u8]) -> Option<Signal> {
    let mut rest = datagram;
    while let [first, kind, high, low, ..] = rest {
        // The length is in words of 32 bits, without the first (RFC 3550 §6.4.1).
        let len = 4 * (1 + usize::from(u16::from_be_bytes([*high, *low])));
        let (packet, after) = rest.split_at_checked(len)?;
        if first >> 6 == 2 && *kind == APPLICATION && packet.get(8..12) == Some(NAME.as_slice()) {
            // Behind the name: two bytes of identifier, two of length, the text.
            let text_len = usize::from(u16::from_be_bytes(*packet.get(14..16)?.first_chunk()?));
            let text = packet.get(16..)?;
            return tuner(std::str::from_utf8(text.get(..text_len).unwrap_or(text)).ok()?);
        }
        rest = after;
    }
    None
}

/// The signal in a text such as `ver=1.0;src=1;tuner=…;pids=…`, which also stands in the SDP that DESCRIBE gives.
fn tuner(text: &str) -> Option<Signal> {
    let tuner = text.split([';', ' ']).find_map(|part| part.trim().strip_prefix("tuner="))?;
    let mut fields = tuner.split(',').skip(1).map(str::trim);
    let (level, lock, quality) = (fields.next(), fields.next()?, fields.next());
    let percent = |field: Option<&str>, most: u16| {
        let value: u16 = field?.parse().ok()?;
        u8::try_from(value.min(most) * 100 / most).ok()
    };
    Some(Signal {
        lock: lock == "1",
        strength_percent: percent(level, 255),
        quality_percent: percent(quality, 15),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(text: &str) -> Vec<u8> {
        let mut body =
            [b"\0\0\0\x09SES1\0\0".as_slice(), &u16::try_from(text.len()).unwrap().to_be_bytes()].concat();
        body.extend(text.as_bytes());
        body.resize(body.len().next_multiple_of(4), 0);
        let words = u16::try_from(body.len() / 4).unwrap();
        [&[0x80, APPLICATION], words.to_be_bytes().as_slice(), &body].concat()
    }

    #[test]
    fn signals_are_read_of_satellite_terrestrial_and_cable() {
        for text in [
            "vers0.9;src=1;tuner=1,128,1,15,12402,v,dvbs,,,,27500,34;pids=0,400,401",
            "ver=1.1;tuner=2,128,1,15,514.00,8,dvbt2,32k,256qam,19128,35,1,,0;pids=all",
            "ver=1.2;tuner=3,128,1,15,330.00,,dvbc,256qam,6900,,,,0;pids=none",
        ] {
            // A sender report and a source description go before it in one datagram.
            let before = [&[0x80, 200, 0, 1, 0, 0, 0, 9], [0x81, 202, 0, 1, 0, 0, 0, 9].as_slice()].concat();
            let datagram = [before, report(text)].concat();
            let good = Signal { lock: true, strength_percent: Some(50), quality_percent: Some(100) };
            assert_eq!(signal(&datagram), Some(good), "{text}");
        }
        let none = Signal { lock: false, strength_percent: None, quality_percent: Some(0) };
        assert_eq!(signal(&report("ver=1.0;src=1;tuner=1,,0,0,,,,,,,,;pids=")), Some(none));
    }

    #[test]
    fn what_tells_of_no_tuner_is_none() {
        assert_eq!(signal(&report("ver=1.0;pids=0")), None);
        assert_eq!(signal(&[0x80, 200, 0, 1, 0, 0, 0, 9]), None);
        assert_eq!(signal(&[0x80, APPLICATION, 0, 9, 0, 0, 0, 9]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[a-z0-9=,;]{0,60}", at: usize, by: u8) {
            let _ = signal(&bytes);
            let mut damaged = report(&format!("tuner={text}"));
            let at = at % damaged.len();
            damaged[at] ^= by;
            let _ = signal(&damaged);
        }
    }
}
