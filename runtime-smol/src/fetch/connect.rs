//! From an origin to a connected stream: addresses, TCP, TLS. Nothing of a request is sent here, so every failure here
//! means "not sent".

use callwarden_core::fetch::FetchError;
use callwarden_core::http::address::is_public;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use futures_rustls::TlsConnector;
use http_types::Url;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Where a connection leads: connections to the same origin are interchangeable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    tls: bool,
    host: String,
    port: u16,
    public_only: bool,
}

impl Origin {
    /// The origin of an `http` or `https` URL; `None` for any other. With `public_only` it is one that is reached at
    /// public addresses only: a connection that was made without that care does not lead there.
    pub(super) fn of(url: &Url, public_only: bool) -> Option<Self> {
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { tls, host, port: url.port_or_known_default()?, public_only })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// What a connection is made of.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connected stream, TLS included.
pub(super) struct Connection(Box<dyn Transport>);

impl Connection {
    /// A connection over `transport`.
    pub(super) fn over(transport: impl Transport + 'static) -> Self {
        Self(Box::new(transport))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Connector {
    tls: Arc<ClientConfig>,
}

impl Connector {
    /// Trusts the bundled roots, the system's (or those of `SSL_CERT_FILE`), and `extra_roots`.
    pub(super) fn new(extra_roots: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let native = rustls_native_certs::load_native_certs();
        for error in native.errors {
            tracing::warn!(%error, "some of the system's root certificates cannot be read; check SSL_CERT_FILE");
        }
        let (_, unusable) = roots.add_parsable_certificates(native.certs.into_iter().chain(extra_roots));
        if unusable > 0 {
            tracing::warn!(unusable, "some root certificates are not valid and are not trusted");
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: Arc::new(tls) }
    }

    /// Connects within `time`, trying every address of the host in order.
    ///
    /// # Errors
    ///
    /// [`FetchError::NotAllowed`] when the host has only addresses that the origin may not be reached at,
    /// [`FetchError::NotSent`] for everything else.
    pub(super) async fn connect(&self, origin: &Origin, time: Duration) -> Result<Connection, FetchError> {
        let due = Instant::now() + time;
        let addresses = before(due, resolve(origin)).await.map_err(|error| {
            let host = &origin.host;
            FetchError::NotSent(format!("no address for {host}: {}", causes(&error)))
        })?;
        let addresses = allowed(origin, addresses).map_err(FetchError::NotAllowed)?;
        self.connect_to(origin, &addresses, due).await.map_err(FetchError::NotSent)
    }

    async fn connect_to(&self, origin: &Origin, addresses: &[SocketAddr], due: Instant) -> Result<Connection, String> {
        let tcp = connect_any(addresses, due).await?;
        tcp.set_nodelay(true).map_err(|error| format!("connect to {origin}: {}", causes(&error)))?;
        if !origin.tls {
            return Ok(Connection::over(tcp));
        }
        let tls_failed = |error: &dyn core::error::Error| format!("TLS with {origin}: {}", causes(error));
        let name = ServerName::try_from(origin.host.clone()).map_err(|error| tls_failed(&error))?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp);
        let tls = before(due, handshake).await.map_err(|error| tls_failed(&error))?;
        Ok(Connection::over(tls))
    }
}

/// The addresses of a host. A lookup that is given up goes on in its thread until the system's resolver returns.
async fn resolve(origin: &Origin) -> io::Result<Vec<SocketAddr>> {
    match origin.host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, origin.port)]),
        Err(_) => smol::net::resolve((origin.host.as_str(), origin.port)).await,
    }
}

/// The addresses that a request for `origin` may be sent to.
fn allowed(origin: &Origin, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    if origin.public_only {
        addresses.retain(|address| is_public(address.ip()));
        if addresses.is_empty() {
            return Err(format!("{origin} has no public address, and this request may go to public ones only"));
        }
    }
    Ok(addresses)
}

/// Connects to the first address that answers. Each gets an equal share of the time left, so that one that is not
/// reachable does not use up the time of those behind it.
async fn connect_any(addresses: &[SocketAddr], due: Instant) -> Result<TcpStream, String> {
    let mut failures = Vec::new();
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let now = Instant::now();
        let share = due.saturating_duration_since(now) / u32::try_from(left).unwrap_or(u32::MAX);
        match before(now + share, TcpStream::connect(*address)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failures.push(format!("connect to {address}: {}", causes(&error))),
        }
    }
    Err(if failures.is_empty() { "the host has no address".to_owned() } else { failures.join("; ") })
}

/// The result of `work`, or a timeout at `due`.
async fn before<T>(due: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        smol::Timer::at(due).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "not done in time"))
    };
    work.or(late).await
}

/// An error with all its causes.
pub(super) fn causes(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::net::TcpListener;

    fn origin(url: &str) -> Option<Origin> {
        Origin::of(&url.parse().unwrap(), false)
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Host.test/a?b"), origin("https://host.test:443/c"));
        assert_ne!(origin("http://host.test:443/"), origin("https://host.test/"));
        assert_eq!(origin("http://[::1]:8080/").unwrap().to_string(), "http://[::1]:8080");
        assert_eq!(origin("http://[::1]/").unwrap().host.parse(), Ok(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
        assert_eq!(origin("ftp://host.test/"), None);
        let public = Origin::of(&"https://host.test/".parse().unwrap(), true);
        assert_ne!(public, origin("https://host.test/"), "their connections are not interchangeable");
    }

    #[test]
    fn only_public_addresses_are_left_of_a_host_that_also_has_others() {
        let public = Origin::of(&"https://host.test/".parse().unwrap(), true).unwrap();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mixed = vec![address("10.0.0.1:443"), address("8.8.8.8:443"), address("[::1]:443")];
        assert_eq!(allowed(&public, mixed.clone()), Ok(vec![address("8.8.8.8:443")]));
        assert_eq!(allowed(&origin("https://host.test/").unwrap(), mixed.clone()), Ok(mixed));
        let cause = allowed(&public, vec![address("127.0.0.1:443")]).unwrap_err();
        assert!(cause.starts_with("https://host.test:443 has no public address"), "{cause}");
    }

    #[test]
    fn addresses_are_tried_in_order_and_every_failure_is_told() {
        smol::block_on(async {
            let due = Instant::now() + Duration::from_secs(30);
            let mut listeners = Vec::new();
            for _ in 0..4 {
                listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
            }
            let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
            listeners.drain(..2);
            assert_eq!(connect_any(&addresses, due).await.unwrap().peer_addr().unwrap(), addresses[2]);
            listeners.clear();
            let cause = connect_any(&addresses, due).await.unwrap_err();
            for address in addresses {
                assert!(cause.contains(&format!("connect to {address}: ")), "{cause}");
            }
            assert_eq!(connect_any(&[], due).await.unwrap_err(), "the host has no address");
        });
    }

    #[test]
    fn the_causes_of_an_error_are_all_told() {
        let inner = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert_eq!(causes(&inner), "cannot decrypt peer's message");
        assert_eq!(causes(&Outer(inner)), "outer: cannot decrypt peer's message");
    }

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl core::error::Error for Outer {
        fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
            Some(&self.0)
        }
    }
}
