//! How much one client address holds at once: connections, or requests where a proxy's connections carry those of many.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// What each address holds. It knows an address only while that holds something.
pub(crate) struct Addresses {
    max: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    /// Each address at most `max`.
    pub(crate) fn new(max: usize) -> Arc<Addresses> {
        Arc::new(Addresses { max, held: Mutex::default() })
    }

    /// One more for an address; `None`: it holds as much as it may. This machine is not limited: what runs here has other
    /// ways to do harm.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Held> {
        let address = one_client(address.to_canonical());
        if address.is_loopback() {
            return Some(Held(None));
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Held(Some((Arc::clone(self), address))))
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.held.lock().unwrap().len()
    }
}

/// An IPv6 client has a whole /64 to take addresses from.
pub(super) fn one_client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) if address.is_loopback() => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// One of an address, until it is dropped.
pub(crate) struct Held(Option<(Arc<Addresses>, IpAddr)>);

impl Drop for Held {
    fn drop(&mut self) {
        let Some((addresses, address)) = &self.0 else { return };
        let mut held = addresses.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_so_much_and_is_forgotten_with_the_last() {
        let addresses = Addresses::new(2);
        let enter = |address: &str| addresses.enter(address.parse().unwrap());
        let (first, second) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").unwrap();
        drop(first);
        let third = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let (_six, _same) = (enter("2001:db8::1").unwrap(), enter("2001:db8::ffff:2").unwrap());
        assert!(enter("2001:db8::3").is_none(), "the same /64");
        assert!(enter("2001:db8:0:1::3").is_some());
        let ours: Vec<_> = (0..9).map(|_| (enter("127.0.0.1").unwrap(), enter("::1").unwrap())).collect();
        drop((second, third, other, ours));
        assert_eq!(addresses.known(), 1, "what is left is the /64");
    }
}
