//! libsrt, the library that everybody's SRT is (Haivision, MPL-2.0): looked for when the first `srt://` input opens, so that a server
//! without such inputs needs neither it nor C++.
//!
//! Its sockets are numbers, of which it counts through two thousand million before it uses one again. Each call may be made from any
//! thread, and closing a socket wakes whoever waits for it.
#![expect(unsafe_code, reason = "calls of a C library; its bindings in Rust are not kept")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute;
use std::net::SocketAddr;
use std::ptr::null_mut;
use std::sync::OnceLock;

use nix::libc;
use socket2::SockAddr;

/// A loaded library.
pub(crate) struct Library(Functions);

/// What a call failed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The library's number, thousands a kind.
    pub(crate) code: i32,
    /// In the library's words.
    pub(crate) text: String,
}

/// An open socket; closed when dropped.
pub(crate) struct Socket {
    library: &'static Library,
    number: c_int,
}

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// `SRTO_PASSPHRASE`.
    Passphrase,
    /// `SRTO_STREAMID`.
    StreamId,
}

/// What is said when no library is found.
const MISSING: &str = "libsrt is not installed: on Debian, `apt install libsrt1.5-openssl`";
/// Names under which distributions have it; the number is that of its interface.
const NAMES: [&CStr; 3] = [c"libsrt.so.1.5", c"libsrt-openssl.so.1.5", c"libsrt-gnutls.so.1.5"];
/// Callers that wait to be accepted.
const BACKLOG: c_int = 1;
const SRTO_LATENCY: c_int = 23;
const SRTO_PASSPHRASE: c_int = 26;
const SRTO_STREAMID: c_int = 46;
/// Longest stream id, with the zero behind it.
const STREAM_ID_BYTES: usize = 513;
/// Only what the library cannot live with is written to standard error; causes are told by us.
const LOG_CRITICAL: c_int = 2;

macro_rules! functions {
    ($($name:ident($($argument:ty),*) -> $result:ty;)+) => {
        /// The functions of `srt/srt.h` that are called.
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> $result,)+
        }

        impl Functions {
            fn find(handle: *mut c_void) -> Option<Self> {
                Some(Self {
                    $($name: {
                        let found = symbol(handle, concat!("srt_", stringify!($name)))?;
                        // SAFETY: the library's header declares the function of this name with these types.
                        unsafe { transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> $result>(found) }
                    },)+
                })
            }
        }
    };
}

functions! {
    startup() -> c_int;
    setloglevel(c_int) -> ();
    create_socket() -> c_int;
    setsockflag(c_int, c_int, *const c_void, c_int) -> c_int;
    getsockflag(c_int, c_int, *mut c_void, *mut c_int) -> c_int;
    bind(c_int, *const c_void, c_int) -> c_int;
    listen(c_int, c_int) -> c_int;
    accept(c_int, *mut c_void, *mut c_int) -> c_int;
    connect(c_int, *const c_void, c_int) -> c_int;
    recvmsg(c_int, *mut c_char, c_int) -> c_int;
    close(c_int) -> c_int;
    getlasterror(*mut c_int) -> c_int;
    getlasterror_str() -> *const c_char;
    getrejectreason(c_int) -> c_int;
}

/// The library, loaded by the first who asks and never unloaded. A missing one is looked for again.
pub(crate) fn library() -> Result<&'static Library, String> {
    static LOADED: OnceLock<Library> = OnceLock::new();
    if let Some(loaded) = LOADED.get() {
        return Ok(loaded);
    }
    let loaded = load(&NAMES)?;
    Ok(LOADED.get_or_init(|| loaded))
}

fn load(names: &[&CStr]) -> Result<Library, String> {
    // SAFETY: the names end with a zero. What the library does when it is loaded is what every program that links it does.
    let open = |name: &&CStr| unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    let handle = names.iter().map(open).find(|handle| !handle.is_null()).ok_or(MISSING)?;
    let functions = Functions::find(handle).ok_or("this libsrt lacks functions; version 1.5 is needed")?;
    // SAFETY: the function of the header, which may be called any number of times.
    let started = unsafe { (functions.startup)() };
    if started < 0 {
        return Err("libsrt does not start".to_owned());
    }
    // SAFETY: the function of the header, which takes a number.
    unsafe { (functions.setloglevel)(LOG_CRITICAL) };
    Ok(Library(functions))
}

fn symbol(handle: *mut c_void, name: &str) -> Option<*mut c_void> {
    let name = CString::new(name).ok()?;
    // SAFETY: the handle is that of a loaded library, and the name ends with a zero.
    let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

impl Library {
    /// A new socket for live streams, which is what libsrt's are unless told otherwise.
    pub(crate) fn socket(&'static self) -> Result<Socket, Failure> {
        // SAFETY: the function of the header.
        let number = unsafe { (self.0.create_socket)() };
        self.checked(number).map(|number| Socket { library: self, number })
    }

    fn checked(&self, answer: c_int) -> Result<c_int, Failure> {
        if answer >= 0 {
            return Ok(answer);
        }
        // SAFETY: the functions of the header; the first takes null where nobody wants the system's number. The text is the calling
        // thread's own until its next call.
        let (code, text) = unsafe { ((self.0.getlasterror)(null_mut()), (self.0.getlasterror_str)()) };
        let text = if text.is_null() {
            String::new()
        } else {
            // SAFETY: a text that ends with a zero, as above.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().trim_end_matches('.').to_owned()
        };
        Err(Failure { code, text })
    }

    /// Closes a socket, whoever waits for it; nothing happens where it is closed already.
    fn close(&self, number: c_int) {
        // SAFETY: the function of the header, which takes any number.
        unsafe { (self.0.close)(number) };
    }
}

impl Socket {
    /// Sets the latency of both directions. Before it is connected.
    pub(crate) fn set_latency(&self, milliseconds: u16) -> Result<(), Failure> {
        self.set(SRTO_LATENCY, &c_int::from(milliseconds).to_ne_bytes())
    }

    /// Sets a text. Before it is connected.
    pub(crate) fn set_text(&self, setting: Setting, text: &str) -> Result<(), Failure> {
        let option = match setting {
            Setting::Passphrase => SRTO_PASSPHRASE,
            Setting::StreamId => SRTO_STREAMID,
        };
        self.set(option, text.as_bytes())
    }

    fn set(&self, option: c_int, value: &[u8]) -> Result<(), Failure> {
        let length = c_int::try_from(value.len()).unwrap_or(c_int::MAX);
        // SAFETY: `value` holds `length` bytes and outlives the call.
        let answer =
            unsafe { (self.library.0.setsockflag)(self.number, option, value.as_ptr().cast(), length) };
        self.library.checked(answer).map(drop)
    }

    /// What the other end has asked for.
    pub(crate) fn stream_id(&self) -> Result<String, Failure> {
        let mut text = [0u8; STREAM_ID_BYTES];
        let mut length = c_int::try_from(STREAM_ID_BYTES).unwrap_or_default();
        // SAFETY: `text` holds `length` bytes; both outlive the call.
        let answer = unsafe {
            (self.library.0.getsockflag)(
                self.number,
                SRTO_STREAMID,
                text.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        self.library.checked(answer)?;
        let text = text.get(..usize::try_from(length).unwrap_or_default()).unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Listens at an own address.
    pub(crate) fn listen(&self, address: SocketAddr) -> Result<(), Failure> {
        let (address, length) = raw(address);
        // SAFETY: `address` is a whole address of `length` bytes that outlives the call.
        let answer = unsafe { (self.library.0.bind)(self.number, address.as_ptr().cast(), length) };
        self.library.checked(answer)?;
        // SAFETY: the function of the header, which takes numbers.
        let answer = unsafe { (self.library.0.listen)(self.number, BACKLOG) };
        self.library.checked(answer).map(drop)
    }

    /// Waits for a caller.
    pub(crate) fn accept(&self) -> Result<Self, Failure> {
        // SAFETY: the function of the header, which takes null where nobody wants the caller's address.
        let number = unsafe { (self.library.0.accept)(self.number, null_mut(), null_mut()) };
        self.library.checked(number).map(|number| Self { library: self.library, number })
    }

    /// Calls; returns when the other end has taken it.
    pub(crate) fn connect(&self, address: SocketAddr) -> Result<(), Failure> {
        let (address, length) = raw(address);
        // SAFETY: `address` is a whole address of `length` bytes that outlives the call.
        let answer = unsafe { (self.library.0.connect)(self.number, address.as_ptr().cast(), length) };
        self.library.checked(answer).map(drop)
    }

    /// Why a call was not taken: `SRT_REJ_…`.
    pub(crate) fn reject_reason(&self) -> i32 {
        // SAFETY: the function of the header, which takes a number.
        unsafe { (self.library.0.getrejectreason)(self.number) }
    }

    /// Waits for a message, which is at most 1456 bytes long.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let length = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
        // SAFETY: `buffer` holds at least `length` bytes and outlives the call.
        let answer = unsafe { (self.library.0.recvmsg)(self.number, buffer.as_mut_ptr().cast(), length) };
        self.library.checked(answer).map(|count| usize::try_from(count).unwrap_or_default())
    }

    /// Its number, by which another thread may [`hang_up`](Self::hang_up).
    pub(crate) fn number(&self) -> i32 {
        self.number
    }

    /// Closes a socket of whoever; he who waits for it is told that it is closed.
    pub(crate) fn hang_up(library: &Library, number: i32) {
        library.close(number);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.library.close(self.number);
    }
}

fn raw(address: SocketAddr) -> (SockAddr, c_int) {
    let address = SockAddr::from(address);
    let length = c_int::try_from(address.len()).unwrap_or_default();
    (address, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_told_with_what_to_install() {
        let cause = load(&[c"libsrt-of-nobody.so.9"]).err().unwrap();
        assert!(cause.contains("apt install libsrt1.5"), "{cause}");
    }

    #[test]
    fn another_library_is_not_taken_for_it() {
        let cause = load(&[c"libm.so.6"]).err().unwrap();
        assert!(cause.contains("version 1.5 is needed"), "{cause}");
    }
}
