//! A listener whose connections each get a thread. All of it ends when it goes.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::socket;

/// The listener.
#[derive(Debug)]
pub(crate) struct Acceptor {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Has `converse` called with each connection and its peer.
    pub(crate) fn start(
        listener: TcpListener,
        converse: impl Fn(TcpStream, SocketAddr) + Clone + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a listener has an address");
        let (listener, connections) = (Arc::new(listener), Arc::new(Mutex::new(Vec::new())));
        let accepting = Some(std::thread::spawn({
            let (listener, connections) = (listener.clone(), connections.clone());
            move || {
                while let Ok((stream, peer)) = listener.accept() {
                    if let Ok(kept) = stream.try_clone() {
                        connections.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
                    }
                    let converse = converse.clone();
                    std::thread::spawn(move || converse(stream, peer));
                }
            }
        }));
        Self { address, listener, connections, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections; new ones may come.
    pub(crate) fn break_connections(&self) {
        for connection in self.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // Wakes the thread, whichever network the calling one is in.
        let _ = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        self.break_connections();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn connections_are_taken_until_it_goes_and_broken_then() {
        let (said, heard) = mpsc::channel();
        let acceptor = Acceptor::start(TcpListener::bind("127.0.0.1:0").unwrap(), move |mut stream, peer| {
            said.send(peer).unwrap();
            let _ = stream.read(&mut [0]);
        });
        let address = acceptor.address();
        let mut one = TcpStream::connect(address).unwrap();
        assert_eq!(heard.recv().unwrap(), one.local_addr().unwrap());
        acceptor.break_connections();
        assert_eq!(one.read(&mut [0]).unwrap(), 0);
        let mut two = TcpStream::connect(address).unwrap();
        assert_eq!(heard.recv().unwrap(), two.local_addr().unwrap());
        drop(acceptor);
        assert_eq!(two.read(&mut [0]).unwrap(), 0);
        assert!(TcpStream::connect(address).is_err());
    }
}
