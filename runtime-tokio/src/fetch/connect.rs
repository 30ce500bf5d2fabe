//! Where a request may be connected to, and whom to believe: addresses and TLS. Nothing of a request is sent here, so
//! every failure here means "not sent".

use super::ClientSettings;
use callwarden_core::fetch::FetchError;
use callwarden_core::http::address::is_public;
use callwarden_core::limits::FETCH_IDLE_PER_HOST_MAX;
use core::error::Error;
use core::fmt;
use core::iter::successors;
use core::net::{IpAddr, SocketAddr};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an `http` or `https` URL; `None` for any other.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { tls, host, port: url.port_or_known_default()? })
    }

    /// `host:port`.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Refuses a host that is an address which is not public. Names are judged when they are resolved.
    ///
    /// # Errors
    ///
    /// [`FetchError::NotAllowed`].
    pub(super) fn check_literal(&self) -> Result<(), FetchError> {
        match self.host.parse::<IpAddr>() {
            Ok(address) if !is_public(address) => Err(FetchError::NotAllowed(self.not_public())),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn not_public(&self) -> String {
        format!("{self} has no public address, and this request may go to public ones only")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// Trusts the bundled roots, the system's (or those of `SSL_CERT_FILE`), and `extra_roots`.
pub(super) fn tls(extra_roots: Vec<CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        tracing::warn!(%error, "some of the system's root certificates cannot be read; check SSL_CERT_FILE");
    }
    let (_, unusable) = roots.add_parsable_certificates(native.certs.into_iter().chain(extra_roots));
    if unusable > 0 {
        tracing::warn!(unusable, "some root certificates are not valid and are not trusted");
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The library's client, doing only what it is asked.
pub(super) fn client(settings: &ClientSettings, tls: ClientConfig, public_only: bool) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Resolver { public_only }))
        .no_proxy()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .tcp_nodelay(true)
        .pool_idle_timeout(settings.idle_time)
        .pool_max_idle_per_host(FETCH_IDLE_PER_HOST_MAX)
        .build()
        .expect("the settings are constant and the TLS configuration is whole")
}

/// The system's resolver.
#[derive(Debug)]
struct Resolver {
    public_only: bool,
}

/// A host has addresses, and none that may be connected to.
#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no public address")
    }
}

impl Error for NotPublic {}

/// A host has no address.
#[derive(Debug)]
struct NoAddress(std::io::Error);

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for NoAddress {}

impl Resolve for Resolver {
    /// A lookup that is given up goes on in its thread until the system's resolver returns.
    fn resolve(&self, name: Name) -> Resolving {
        let public_only = self.public_only;
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(NoAddress)?;
            let addresses = allowed(public_only, addresses.collect())?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses that a request may be sent to.
fn allowed(public_only: bool, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, NotPublic> {
    if public_only {
        addresses.retain(|address| is_public(address.ip()));
        if addresses.is_empty() {
            return Err(NotPublic);
        }
    }
    Ok(addresses)
}

/// What it means that no connection came about.
pub(super) fn not_connected(origin: &Origin, error: &reqwest::Error) -> FetchError {
    if chain(error).any(|error| error.is::<NotPublic>()) {
        return FetchError::NotAllowed(origin.not_public());
    }
    if let Some(error) = chain(error).find_map(|error| error.downcast_ref::<NoAddress>()) {
        return FetchError::NotSent(format!("no address for {}: {error}", origin.host));
    }
    // The library's first text would show the URL.
    let cause = error.source().map(causes).unwrap_or_default();
    let is_tls = |error: &(dyn Error + 'static)| {
        let inner = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>())
    };
    FetchError::NotSent(if chain(error).any(is_tls) {
        format!("TLS with {origin}: {cause}")
    } else {
        format!("connect to {}: {cause}", origin.authority())
    })
}

/// An error and all its causes.
pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let next = |error: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> { (*error).source() };
    successors(Some(error), next)
}

/// The text of an error with all its causes. Causes that a text already quotes are not repeated.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in chain(error) {
        let said = error.to_string();
        if text.is_empty() {
            text = said;
        } else if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Option<Origin> {
        Origin::of(&url.parse().unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Host.test/a?b"), origin("https://host.test:443/c"));
        assert_ne!(origin("http://host.test:443/"), origin("https://host.test/"));
        assert_eq!(origin("http://[::1]:8080/").unwrap().to_string(), "http://[::1]:8080");
        assert_eq!(origin("http://[::1]/").unwrap().host.parse(), Ok(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
        assert_eq!(origin("ftp://host.test/"), None);
    }

    #[test]
    fn only_public_addresses_are_left_of_a_host_that_also_has_others() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mixed = vec![address("10.0.0.1:443"), address("8.8.8.8:443"), address("[::1]:443")];
        assert_eq!(allowed(true, mixed.clone()).unwrap(), [address("8.8.8.8:443")]);
        assert_eq!(allowed(false, mixed.clone()).unwrap(), mixed);
        assert!(allowed(true, vec![address("127.0.0.1:443")]).is_err());
        for (url, is_allowed) in [
            ("https://10.0.0.1/", false),
            ("https://[::1]/", false),
            ("https://8.8.8.8/", true),
            ("https://a.test/", true),
        ] {
            assert_eq!(origin(url).unwrap().check_literal().is_ok(), is_allowed, "{url}");
        }
    }

    #[test]
    fn the_causes_of_an_error_are_all_told_once() {
        let inner = std::io::Error::new(std::io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert_eq!(causes(&inner), "cannot decrypt peer's message");
        assert_eq!(causes(&Outer(inner)), "outer: cannot decrypt peer's message");
    }

    #[derive(Debug)]
    struct Outer(std::io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
}
