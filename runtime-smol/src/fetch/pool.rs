//! Connections kept for the next request to the same place.

use super::connect::{Connection, Origin};
use callwarden_core::limits::{FETCH_IDLE_MAX, FETCH_IDLE_PER_HOST_MAX};
use core::time::Duration;
use smol::future::poll_once;
use smol::io::AsyncReadExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Idle connections, the longest idle first; at most [`FETCH_IDLE_MAX`], and [`FETCH_IDLE_PER_HOST_MAX`] to one origin.
#[derive(Debug)]
pub(super) struct Pool {
    idle_time: Duration,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    origin: Origin,
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// A pool whose connections are usable for `idle_time`.
    pub(super) fn new(idle_time: Duration) -> Self {
        Self { idle_time, idle: Mutex::default() }
    }

    /// A connection to `origin` that the peer has not closed, the one used last if there are several.
    pub(super) async fn take(&self, origin: &Origin) -> Option<Connection> {
        loop {
            let mut connection = self.pop(origin)?;
            // An idle connection is silent. A close, an error and bytes out of turn all show as "ready", and such a
            // connection is dropped. TLS session tickets are consumed by the read without becoming ready.
            if poll_once(connection.read(&mut [0])).await.is_none() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last answer was complete.
    pub(super) fn put(&self, origin: Origin, connection: Connection) {
        let mut idle = self.fresh();
        if idle.iter().filter(|kept| kept.origin == origin).count() >= FETCH_IDLE_PER_HOST_MAX {
            let oldest = idle.iter().position(|kept| kept.origin == origin);
            oldest.map(|at| idle.remove(at));
        } else if idle.len() >= FETCH_IDLE_MAX {
            idle.remove(0);
        }
        idle.push(Idle { origin, connection, since: Instant::now() });
    }

    fn pop(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.fresh();
        let last = idle.iter().rposition(|kept| kept.origin == *origin)?;
        Some(idle.remove(last).connection)
    }

    /// The list without what has been idle for too long. A panic cannot leave it half changed.
    fn fresh(&self) -> MutexGuard<'_, Vec<Idle>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.since.elapsed() < self.idle_time);
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::super::connect::Connector;
    use super::*;
    use smol::io::AsyncWriteExt;
    use smol::net::{TcpListener, TcpStream};

    /// Somewhere to connect to.
    struct Place {
        listener: TcpListener,
        origin: Origin,
    }

    impl Place {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            Self { listener, origin: Origin::of(&url.parse().unwrap(), false).unwrap() }
        }

        /// Both ends of a new connection.
        async fn connect(&self, connector: &Connector) -> (Connection, TcpStream) {
            let connection = connector.connect(&self.origin, Duration::from_secs(5)).await.unwrap();
            (connection, self.listener.accept().await.unwrap().0)
        }
    }

    fn kept(pool: &Pool, place: &Place) -> usize {
        pool.fresh().iter().filter(|idle| idle.origin == place.origin).count()
    }

    #[test]
    fn kept_connections_are_bounded_per_host_and_in_total_and_the_oldest_leaves() {
        smol::block_on(async {
            let (pool, connector) = (Pool::new(Duration::from_secs(600)), Connector::new(Vec::new()));
            let places = [Place::new().await, Place::new().await, Place::new().await];
            let (first, mut first_far_end) = places[0].connect(&connector).await;
            pool.put(places[0].origin.clone(), first);
            let mut far_ends = Vec::new();
            for place in &places {
                for _ in 0..FETCH_IDLE_PER_HOST_MAX {
                    let (connection, far_end) = place.connect(&connector).await;
                    pool.put(place.origin.clone(), connection);
                    far_ends.push(far_end);
                    assert!(kept(&pool, place) <= FETCH_IDLE_PER_HOST_MAX);
                    assert!(pool.fresh().len() <= FETCH_IDLE_MAX);
                }
            }
            assert_eq!(first_far_end.read(&mut [0]).await.unwrap(), 0, "the oldest of a full host was closed");
            assert_eq!((kept(&pool, &places[0]), kept(&pool, &places[2])), (0, FETCH_IDLE_PER_HOST_MAX));
        });
    }

    #[test]
    fn a_connection_that_closed_spoke_or_waited_too_long_is_not_given_out() {
        smol::block_on(async {
            let connector = Connector::new(Vec::new());
            let place = Place::new().await;
            let pool = Pool::new(Duration::from_secs(600));
            let (quiet, _far_end_of_quiet) = place.connect(&connector).await;
            let (mut spoke, mut far_end_of_spoke) = place.connect(&connector).await;
            let (mut closed, far_end_of_closed) = place.connect(&connector).await;
            far_end_of_spoke.write_all(b"ab").await.unwrap();
            drop(far_end_of_closed);
            // Reading one of two bytes waits until the rest is there to be found; reading the end does not consume it.
            assert_eq!(spoke.read(&mut [0]).await.unwrap(), 1);
            assert_eq!(closed.read(&mut [0]).await.unwrap(), 0);
            for connection in [quiet, spoke, closed] {
                pool.put(place.origin.clone(), connection);
            }
            assert!(pool.take(&place.origin).await.is_some(), "the quiet one, after the others");
            assert_eq!(kept(&pool, &place), 0);

            let (late, _far_end_of_late) = place.connect(&connector).await;
            let pool = Pool::new(Duration::ZERO);
            pool.put(place.origin.clone(), late);
            assert!(pool.take(&place.origin).await.is_none());
        });
    }
}
