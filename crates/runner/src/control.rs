//! The control socket: the edge hands an isolate's socket over, with what the isolate must be made with.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// An order to run an isolate on the socket that comes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The most memory the isolate may use, in MiB.
    pub memory_mib: u32,
}

const ORDER_BYTES: usize = 4;

/// Sends an order with its socket.
pub fn send(control: impl AsFd, order: Order, socket: impl AsFd) -> Result<(), Errno> {
    let bytes = order.memory_mib.to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(Errno::NOBUFS);
    }
    rustix::net::sendmsg(control, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for an order and its socket; `None` when the edge closed the control socket.
pub fn receive(control: impl AsFd) -> Result<Option<(Order, OwnedFd)>, Errno> {
    let mut bytes = [0_u8; ORDER_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            control.as_fd(),
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let socket = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    match socket {
        Some(socket) if received.bytes == ORDER_BYTES => {
            Ok(Some((Order { memory_mib: u32::from_le_bytes(bytes) }, socket)))
        }
        _ => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn an_order_arrives_with_its_socket() {
        let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let (edge, runner) = pair();
        let (kept, given) = pair();
        send(&edge, Order { memory_mib: 64 }, &given).unwrap();
        let (order, socket) = receive(&runner).unwrap().unwrap();
        assert_eq!(order.memory_mib, 64);
        rustix::io::write(&socket, b"hello").unwrap();
        let mut bytes = [0; 5];
        rustix::io::read(&kept, &mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        drop(edge);
        assert!(receive(&runner).unwrap().is_none());
    }
}
