//! The calls of the Linux DVB API: frontends, demultiplexers and what comes out of them.
//!
//! The layouts are those of `linux/dvb/frontend.h` and `linux/dvb/dmx.h`. Calls to a frontend may take many milliseconds, for
//! they are carried out over a slow bus; who cannot wait makes them in a thread of his own.
#![expect(unsafe_code, reason = "device calls of the Linux DVB API; no kept safe crate makes them")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;
use tokio::io::unix::AsyncFd;

use crate::dvb::Property;
use crate::dvb::diseqc::Burst;
use crate::dvb::tuning::DTV_ENUM_DELSYS;

/// Bytes of the union in `struct dtv_property`; its largest member ends with a pointer.
const PROPERTY_BYTES: usize = 48 + size_of::<usize>();
/// Bytes of it that a list of systems takes at most; how many there are stands behind them.
const LIST_BYTES: usize = 32;

/// `struct dtv_property`.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct RawProperty {
    command: u32,
    reserved: [u32; 3],
    data: [u8; PROPERTY_BYTES],
    result: i32,
}

/// `struct dtv_properties`.
#[repr(C)]
struct RawProperties {
    count: u32,
    properties: *mut RawProperty,
}

/// `struct dvb_frontend_info`: a name, and ten numbers that nobody here asks for.
#[repr(C)]
struct RawInfo {
    name: [u8; 128],
    numbers: [u32; 10],
}

/// `struct dvb_diseqc_master_cmd`.
#[repr(C)]
struct RawMessage {
    bytes: [u8; 6],
    length: u8,
}

/// `struct dmx_pes_filter_params`.
#[repr(C)]
struct RawFilter {
    pid: u16,
    input: u32,
    output: u32,
    pes_type: u32,
    flags: u32,
}

mod calls {
    use super::{RawFilter, RawInfo, RawMessage, RawProperties};

    nix::ioctl_read!(info, b'o', 61, RawInfo);
    nix::ioctl_write_ptr!(message, b'o', 63, RawMessage);
    nix::ioctl_write_int_bad!(burst, nix::request_code_none!(b'o', 65));
    nix::ioctl_read!(status, b'o', 69, u32);
    nix::ioctl_read!(strength, b'o', 71, u16);
    nix::ioctl_read!(noise_ratio, b'o', 72, u16);
    nix::ioctl_write_ptr!(set_properties, b'o', 82, RawProperties);
    nix::ioctl_read!(get_properties, b'o', 83, RawProperties);
    nix::ioctl_write_ptr!(set_filter, b'o', 44, RawFilter);
    nix::ioctl_write_int_bad!(set_buffer, nix::request_code_none!(b'o', 45));
}

/// An open frontend, ours alone until it is dropped.
#[derive(Debug)]
pub(crate) struct Frontend(File);

impl Frontend {
    /// Opens it for tuning; `EBUSY` where another program has it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).map(Self)
    }

    /// What its driver calls it.
    pub(crate) fn name(&self) -> io::Result<String> {
        let mut info = RawInfo { name: [0; 128], numbers: [0; 10] };
        // SAFETY: the descriptor is open, and `info` is a whole `dvb_frontend_info` that outlives the call.
        unsafe { calls::info(self.0.as_raw_fd(), &raw mut info) }?;
        let name = info.name.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// The systems that it knows, by the kernel's numbers.
    pub(crate) fn systems(&self) -> io::Result<Vec<u8>> {
        let data = self.get(DTV_ENUM_DELSYS)?;
        let (list, rest) = data.split_at(LIST_BYTES);
        let count = rest.first_chunk().map_or(0, |count| u32::from_ne_bytes(*count));
        Ok(list.iter().take(usize::try_from(count).unwrap_or(0)).copied().collect())
    }

    /// Says `properties`, in order; the kernel takes at most 64.
    pub(crate) fn set(&self, properties: &[Property]) -> io::Result<()> {
        let mut raw: Vec<RawProperty> = properties.iter().map(RawProperty::from).collect();
        let list = listed(&mut raw)?;
        // SAFETY: the descriptor is open; `list` names as many whole `dtv_property` as `raw` has, and both outlive the call.
        unsafe { calls::set_properties(self.0.as_raw_fd(), &raw const list) }?;
        Ok(())
    }

    /// The union of a property, as the kernel fills it.
    pub(crate) fn get(&self, command: u32) -> io::Result<[u8; PROPERTY_BYTES]> {
        let mut raw = [RawProperty::from(&Property { command, data: 0 })];
        let mut list = listed(&mut raw)?;
        // SAFETY: the descriptor is open; `list` names the one whole `dtv_property` of `raw`, and both outlive the call, in
        // which the kernel writes to that property alone.
        unsafe { calls::get_properties(self.0.as_raw_fd(), &raw mut list) }?;
        Ok(raw[0].data)
    }

    /// The status bits `FE_HAS_…`.
    pub(crate) fn status(&self) -> io::Result<u32> {
        let mut status = 0;
        // SAFETY: the descriptor is open, and `status` is the 4 bytes that the kernel fills.
        unsafe { calls::status(self.0.as_raw_fd(), &raw mut status) }?;
        Ok(status)
    }

    /// Strength as drivers of version 3 tell it, 0 to 65,535.
    pub(crate) fn old_strength(&self) -> io::Result<u16> {
        let mut strength = 0;
        // SAFETY: the descriptor is open, and `strength` is the 2 bytes that the kernel fills.
        unsafe { calls::strength(self.0.as_raw_fd(), &raw mut strength) }?;
        Ok(strength)
    }

    /// Signal to noise as drivers of version 3 tell it, 0 to 65,535.
    pub(crate) fn old_noise_ratio(&self) -> io::Result<u16> {
        let mut ratio = 0;
        // SAFETY: the descriptor is open, and `ratio` is the 2 bytes that the kernel fills.
        unsafe { calls::noise_ratio(self.0.as_raw_fd(), &raw mut ratio) }?;
        Ok(ratio)
    }

    /// Sends a DiSEqC message; returns when it has gone out.
    pub(crate) fn message(&self, message: [u8; 4]) -> io::Result<()> {
        let [a, b, c, d] = message;
        let raw = RawMessage { bytes: [a, b, c, d, 0, 0], length: 4 };
        // SAFETY: the descriptor is open, and `raw` is a whole `dvb_diseqc_master_cmd` that outlives the call.
        unsafe { calls::message(self.0.as_raw_fd(), &raw const raw) }?;
        Ok(())
    }

    /// Sends a tone burst.
    pub(crate) fn burst(&self, burst: Burst) -> io::Result<()> {
        let which = match burst {
            Burst::A => 0,
            Burst::B => 1,
        };
        // SAFETY: the descriptor is open, and the call takes a number.
        unsafe { calls::burst(self.0.as_raw_fd(), which) }?;
        Ok(())
    }
}

impl From<&Property> for RawProperty {
    fn from(property: &Property) -> Self {
        let mut data = [0; PROPERTY_BYTES];
        data[..4].copy_from_slice(&property.data.to_ne_bytes());
        Self { command: property.command, reserved: [0; 3], data, result: 0 }
    }
}

fn listed(properties: &mut [RawProperty]) -> io::Result<RawProperties> {
    let count = u32::try_from(properties.len()).map_err(io::Error::other)?;
    Ok(RawProperties { count, properties: properties.as_mut_ptr() })
}

/// Packets of one PID, or of all, on their way to the [`Stream`] of the same adapter; ends when dropped.
#[derive(Debug)]
pub(crate) struct Filter(#[expect(dead_code, reason = "held open: closing it is what ends the filter")] File);

/// The PID that stands for all.
pub(crate) const EVERY_PID: u16 = 0x2000;

impl Filter {
    /// Lets a PID through, or [`EVERY_PID`].
    pub(crate) fn open(demultiplexer: &Path, pid: u16) -> io::Result<Self> {
        const FROM_FRONTEND: u32 = 0;
        const TO_STREAM: u32 = 2;
        const OTHER_PES: u32 = 20;
        const START_NOW: u32 = 4;
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(demultiplexer)?;
        let raw =
            RawFilter { pid, input: FROM_FRONTEND, output: TO_STREAM, pes_type: OTHER_PES, flags: START_NOW };
        // SAFETY: the descriptor is open, and `raw` is a whole `dmx_pes_filter_params` that outlives the call.
        unsafe { calls::set_filter(file.as_raw_fd(), &raw const raw) }?;
        Ok(Self(file))
    }
}

/// The transport stream that the filters of an adapter let through; one reader at a time.
#[derive(Debug)]
pub(crate) struct Stream(AsyncFd<File>);

impl Stream {
    /// Opens it with a buffer in the kernel. Call within a tokio runtime.
    pub(crate) fn open(path: &Path, buffer_bytes: i32) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        // SAFETY: the descriptor is open, and the call takes a number.
        unsafe { calls::set_buffer(file.as_raw_fd(), buffer_bytes) }?;
        // SAFETY: the file stays with the `AsyncFd`, is never replaced, and is closed with it.
        let file = unsafe { AsyncFd::register(file) }?;
        Ok(Self(file))
    }

    /// Waits for bytes. `EOVERFLOW`: the kernel's buffer ran over, and what was in it is lost. May be dropped without losing any.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.async_io(tokio::io::Interest::READABLE, |mut file| file.read(buffer)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn structures_are_as_large_as_the_kernels() {
        assert_eq!(size_of::<RawProperty>(), 76);
        assert_eq!(size_of::<RawProperties>(), 16);
        assert_eq!(size_of::<RawInfo>(), 168);
        assert_eq!(size_of::<RawMessage>(), 7);
        assert_eq!(size_of::<RawFilter>(), 20);
    }

    #[test]
    fn a_property_lies_where_the_kernel_reads_it() {
        let raw = RawProperty::from(&Property { command: 3, data: 474_000_000 });
        let (command, data) = (raw.command, raw.data);
        assert_eq!((command, &data[..4]), (3, &474_000_000u32.to_ne_bytes()[..]));
    }

    #[test]
    fn what_is_no_device_refuses_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frontend0");
        std::fs::write(&path, b"no device").unwrap();
        let frontend = Frontend::open(&path).unwrap();
        assert!(frontend.name().is_err() && frontend.systems().is_err() && frontend.status().is_err());
        assert!(frontend.set(&[Property { command: 1, data: 0 }]).is_err());
        assert!(Filter::open(&path, EVERY_PID).is_err());
    }
}
