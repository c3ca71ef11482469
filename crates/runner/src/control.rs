//! The control socket: the edge hands an isolate's socket over, with what the isolate must be made with; the runner says
//! which isolate it cannot stop.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use selvedge_isolate::Stuck;

/// An order to run an isolate on the socket that comes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// What the edge calls the isolate.
    pub isolate: u64,
    /// The most memory the isolate may use, in MiB.
    pub memory_mib: u32,
}

const ORDER_BYTES: usize = 12;
/// A report is shorter.
const REPORT_BYTES_MAX: usize = 1024;

impl Order {
    fn encode(self) -> [u8; ORDER_BYTES] {
        let mut bytes = [0; ORDER_BYTES];
        let (isolate, memory) = bytes.split_at_mut(8);
        isolate.copy_from_slice(&self.isolate.to_le_bytes());
        memory.copy_from_slice(&self.memory_mib.to_le_bytes());
        bytes
    }

    fn decode([a, b, c, d, e, f, g, h, rest @ ..]: [u8; ORDER_BYTES]) -> Self {
        Self { isolate: u64::from_le_bytes([a, b, c, d, e, f, g, h]), memory_mib: u32::from_le_bytes(rest) }
    }
}

/// Says that an isolate cannot be stopped. Does not wait: the edge reads as soon as it can, and notices the end of a
/// runner in any case.
pub fn report(control: impl AsFd, stuck: &Stuck) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(stuck).map_err(|_| Errno::INVAL)?;
    rustix::net::send(control, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Waits for a report; `None` when the runner closed its end.
pub fn take_report(control: impl AsFd) -> Result<Option<Stuck>, Errno> {
    let mut bytes = [0_u8; REPORT_BYTES_MAX];
    let (taken, _) = rustix::net::recv(control, &mut bytes, RecvFlags::empty())?;
    if taken == 0 {
        return Ok(None);
    }
    serde_json::from_slice(bytes.get(..taken).unwrap_or_default()).map(Some).map_err(|_| Errno::PROTO)
}

/// Sends an order with its socket.
pub fn send(control: impl AsFd, order: Order, socket: impl AsFd) -> Result<(), Errno> {
    let bytes = order.encode();
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
        Some(socket) if received.bytes == ORDER_BYTES => Ok(Some((Order::decode(bytes), socket))),
        _ => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use selvedge_model::LimitName;

    #[test]
    fn an_order_arrives_with_its_socket() {
        let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let (edge, runner) = pair();
        let (kept, given) = pair();
        send(&edge, Order { isolate: 7, memory_mib: 64 }, &given).unwrap();
        let (order, socket) = receive(&runner).unwrap().unwrap();
        assert_eq!(order, Order { isolate: 7, memory_mib: 64 });
        rustix::io::write(&socket, b"hello").unwrap();
        let mut bytes = [0; 5];
        rustix::io::read(&kept, &mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        report(&runner, &Stuck { isolate: 7, event: 3, limit: LimitName::CpuMs, used: 60, allowed: 50 }).unwrap();
        let stuck = take_report(&edge).unwrap().unwrap();
        assert_eq!((stuck.isolate, stuck.event, stuck.used, stuck.allowed), (7, 3, 60, 50));
        drop(edge);
        assert!(receive(&runner).unwrap().is_none());
    }
}
