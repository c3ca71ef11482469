//! How many connections clients have: all of them, and each.
//!
//! A connection takes a descriptor, and one table of descriptors serves this whole process. Half of it is kept for what is
//! not a client's connection: the API, files, isolates, workers' connections to the world.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections by TCP at once, where there are descriptors enough.
const CONNECTIONS_MAX: usize = 32_768;
/// Connections of one client at once: of an address of IPv4, of a /64 of IPv6. It may be a proxy, with many behind it.
const ADDRESS_CONNECTIONS_MAX: usize = 4_096;

/// Counts the connections of a server.
pub struct Clients {
    /// One permit for each connection by TCP that there may be.
    free: Arc<Semaphore>,
    connections_max: usize,
    address_max: usize,
    counts: Mutex<FxHashMap<IpAddr, usize>>,
}

/// A place among the connections of one address.
pub struct Place {
    clients: Arc<Clients>,
    network: IpAddr,
}

/// What a connection by TCP holds for as long as its socket is open.
pub struct Seat {
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

// === impl Clients ===

impl Clients {
    /// As many as this process has descriptors for.
    pub fn new() -> Arc<Self> {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::with_descriptors(usize::try_from(descriptors).unwrap_or(usize::MAX))
    }

    fn with_descriptors(descriptors: usize) -> Arc<Self> {
        let connections_max = (descriptors / 2).clamp(1, CONNECTIONS_MAX);
        // One client alone leaves some for the others.
        let address_max = ADDRESS_CONNECTIONS_MAX.min(connections_max - connections_max / 4);
        let free = Arc::new(Semaphore::new(connections_max));
        Arc::new(Self { free, connections_max, address_max, counts: Mutex::default() })
    }

    /// Connections by TCP that there may be.
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Connections that one address may have.
    pub fn address_max(&self) -> usize {
        self.address_max
    }

    /// Leave for one more connection by TCP, if there is any.
    pub fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Leave for one more connection by TCP, once there is any.
    pub async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// One more connection of this client; none where it has too many.
    pub fn place(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let network = network(client);
        let mut counts = self.counts.lock();
        let count = counts.entry(network).or_insert(0);
        if *count >= self.address_max {
            return None;
        }
        *count += 1;
        Some(Place { clients: Arc::clone(self), network })
    }

    /// Whether this client has half of what it may have: somebody else might be using its name.
    pub fn is_crowded(&self, client: IpAddr) -> bool {
        self.counts.lock().get(&network(client)).is_some_and(|count| *count >= self.address_max / 2)
    }
}

// === impl Place ===

impl Place {
    /// A seat at this place.
    pub fn seat(self, permit: OwnedSemaphorePermit) -> Seat {
        Seat { _place: self, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.clients.counts.lock();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

/// What one client has as its own: an address of IPv4, a /64 of IPv6.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_half_of_the_descriptors_and_one_client_leaves_some_for_others() {
        let few = Clients::with_descriptors(256);
        assert_eq!((few.connections_max(), few.address_max()), (128, 96));
        let permits: Vec<_> = (0..128).map_while(|_| few.try_permit()).collect();
        assert_eq!(permits.len(), 128);
        assert!(few.try_permit().is_none());
        drop(permits);
        assert!(few.try_permit().is_some());
        let many = Clients::with_descriptors(usize::MAX);
        assert_eq!((many.connections_max(), many.address_max()), (CONNECTIONS_MAX, ADDRESS_CONNECTIONS_MAX));
        assert_eq!(Clients::with_descriptors(1).connections_max(), 1);
    }

    #[test]
    fn a_client_of_ipv6_has_no_more_connections_with_more_addresses() {
        let clients = Clients::with_descriptors(64);
        let address = |number: u32| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | u128::from(number)));
        let places: Vec<_> = (0..100).map_while(|number| clients.place(address(number))).collect();
        assert_eq!(places.len(), clients.address_max());
        assert!(clients.is_crowded(address(200)));
        let other = "2001:db8:0:1::1".parse().unwrap();
        assert!(!clients.is_crowded(other) && clients.place(other).is_some());
        let mapped = ["::ffff:10.0.0.1", "10.0.0.1"].map(|text| network(text.parse().unwrap()));
        assert_eq!(mapped[0], mapped[1]);
        drop(places);
        assert!(clients.counts.lock().is_empty());
    }
}
