//! Everything that the database server wants done.

use std::fmt::Display;
use std::net::SocketAddr;

use protocols::preamble::Refusal;
use protocols::time::ClusterTime;
use protocols::{p1_registration as p1, p2_directory as p2};

use crate::input::ConnectionId;
use crate::record::{Event, Record};

/// What the shell must do next, in order.
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send to an acquisition server.
    SendToAcquisition {
        /// Its connection.
        connection: ConnectionId,
        /// What to say.
        message: p1::ToAcquisition,
    },
    /// Close the connection of an acquisition server. P1 has no frame for the refusal after the handshake: it is for the
    /// log. No [`crate::Input::AcquisitionClosed`] is needed for it.
    RefuseAcquisition {
        /// Its connection.
        connection: ConnectionId,
        /// Why.
        refusal: Refusal,
    },
    /// Send to a client.
    SendToClient {
        /// Its connection.
        connection: ConnectionId,
        /// What to say.
        message: p2::ToClient,
    },
    /// Tell a client why and close its connection. No [`crate::Input::ClientClosed`] is needed for it.
    CloseClient {
        /// Its connection.
        connection: ConnectionId,
        /// Why.
        refusal: Refusal,
    },
    /// Send from the P4 socket.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Keep across restarts.
    Store(Record),
}

impl Output {
    /// A line for the journal.
    pub(crate) fn event(at: ClusterTime, subject: &dyn Display, text: String) -> Self {
        Self::Store(Record::Event(Event { at, subject: subject.to_string(), text }))
    }
}
