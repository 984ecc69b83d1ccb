//! Finding the device of an id: a broadcast to UDP 65001 of each network, which the device answers.

use protocols::hdhomerun::{
    DEVICE_ID, DEVICE_TYPE, DISCOVER_REPLY, DISCOVER_REQUEST, DeviceId, Message, TUNER,
};

/// The datagram that asks for a device.
pub fn request(id: DeviceId) -> Vec<u8> {
    Message::new(DISCOVER_REQUEST)
        .with(DEVICE_TYPE, &TUNER.to_be_bytes())
        .with(DEVICE_ID, &id.number().to_be_bytes())
        .encode()
}

/// Whether a datagram is that device's answer.
pub fn is_answer_of(id: DeviceId, datagram: &[u8]) -> bool {
    Message::parse(datagram)
        .is_some_and(|it| it.kind == DISCOVER_REPLY && it.number(DEVICE_ID) == Some(id.number()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_asked_for_by_its_id_and_known_by_it() {
        let id = DeviceId::from_number(0x1040_1233).unwrap();
        let bytes = [0, 2, 0, 12, 1, 4, 0, 0, 0, 1, 2, 4, 0x10, 0x40, 0x12, 0x33];
        assert_eq!(request(id)[..16], bytes);
        let reply = Message::new(DISCOVER_REPLY).with(DEVICE_ID, &id.number().to_be_bytes());
        assert!(is_answer_of(id, &reply.encode()));
        assert!(!is_answer_of(DeviceId::of("other"), &reply.encode()));
        assert!(!is_answer_of(id, &request(id)) && !is_answer_of(id, b"hello"));
    }
}
