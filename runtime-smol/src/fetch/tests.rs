//! What is refused before any connection.

use super::*;
use callwarden_core::limits::REST_TIME;

fn request() -> FetchRequest {
    FetchRequest {
        method: Method::Post,
        url: "http://127.0.0.1:1/path?query=1".to_owned(),
        headers: vec![("content-type", "text/plain".to_owned())],
        authorization: None,
        body: Bytes::from_static("גוף".as_bytes()),
        timeout: Duration::from_secs(1),
        response_bytes_max: 100,
        public_only: false,
    }
}

fn refused(request: FetchRequest) -> String {
    match smol::block_on(Client::new(ClientSettings::default()).fetch(request)) {
        Err(FetchError::NotSent(cause)) => cause,
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[test]
fn a_url_that_is_not_plain_http_is_refused_without_showing_it() {
    for url in ["", "/path", "ftp://host.test/", "file:///etc/x", "http://user:pass-word@host.test/", "http://u@h.test"]
    {
        let cause = refused(FetchRequest { url: url.to_owned(), ..request() });
        assert!(cause.contains("URL") && !cause.contains("pass-word"), "{url}: {cause}");
    }
}

#[test]
fn a_timeout_beyond_the_clock_is_refused() {
    assert!(refused(FetchRequest { timeout: Duration::MAX, ..request() }).contains("timeout"));
}

#[test]
fn a_request_for_public_addresses_does_not_reach_our_own_network_by_address_or_by_name() {
    smol::block_on(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = Client::new(ClientSettings::default());
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
            let url = format!("http://{host}:{port}/");
            match client.fetch(FetchRequest { url, public_only: true, ..request() }).await {
                Err(FetchError::NotAllowed(cause)) => assert!(cause.contains("no public address"), "{host}: {cause}"),
                other => panic!("{host} was reached: {other:?}"),
            }
        }
        let knock = smol::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (_, first) = listener.accept().await.unwrap();
        assert_eq!(first, knock.local_addr().unwrap(), "nobody connected before");
    });
}

#[test]
fn an_unreachable_peer_is_known_before_a_rest_update_is_given_up() {
    const { assert!(CONNECT_TIME.as_millis() < REST_TIME.as_millis()) };
}
