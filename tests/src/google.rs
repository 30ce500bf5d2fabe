//! Google's token endpoint and speech service on loopback. It looks at everything it is sent, from Google's own
//! documentation and not with our code, and says what it found wrong.

mod service;

pub use service::{CLIENT_EMAIL, GoogleService, KEY, KEY_PKCS1, Mood, key_file, speech};

use callwarden::server::{Answer, Connections, ServerLimits, Service, Stopper, serve, stop};
use callwarden::spawner::Spawner;
use callwarden_core::http::Request;
use callwarden_core::http::notice::Notice;
use service::TOKEN_PATH;
use smol::Timer;
use smol::net::TcpListener;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LOOK: Duration = Duration::from_millis(5);

/// The service. Dropping it closes it.
#[derive(Debug)]
pub struct Google {
    address: SocketAddr,
    inside: Inside,
    _stopper: Stopper,
    _serving: smol::Task<()>,
}

#[derive(Clone, Debug)]
struct Inside(Arc<Mutex<GoogleService>>);

impl Google {
    /// Starts one.
    ///
    /// # Panics
    /// Without loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let mut service = GoogleService::new(format!("http://{address}{TOKEN_PATH}"));
        // Here every clock is the same.
        service.oldest_assertion = 60;
        let inside = Inside(Arc::new(Mutex::new(service)));
        let (stopper, stop) = stop();
        let executor = Arc::new(smol::Executor::new());
        let (spawner, service) = (Spawner::new(&executor), inside.clone());
        let serving = smol::spawn(async move {
            let serving = serve(listener, service, spawner, ServerLimits::default(), Connections::default(), stop);
            executor.run(serving).await;
        });
        Self { address, inside, _stopper: stopper, _serving: serving }
    }

    /// The settings of a server that uses it.
    #[must_use]
    pub fn settings(&self) -> [(&'static str, String); 2] {
        [("GOOGLE_APPLICATION_CREDENTIALS", self.credentials()), ("GOOGLE_TTS_BASE_URL", self.base_url())]
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `GOOGLE_TTS_BASE_URL`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The key file that opens it.
    #[must_use]
    pub fn credentials(&self) -> String {
        self.inside.lock().credentials()
    }

    /// From now on it behaves like this.
    pub fn set_mood(&self, mood: Mood) {
        self.inside.lock().mood = mood;
    }

    /// The tokens it gave still look like tokens, and open nothing.
    pub fn forget_tokens(&self) {
        self.inside.lock().forget_tokens();
    }

    /// Every token it gave.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.inside.lock().tokens().to_vec()
    }

    /// Every text it spoke.
    #[must_use]
    pub fn spoken(&self) -> Vec<String> {
        self.inside.lock().spoken().to_vec()
    }

    /// How many requests it got.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.inside.lock().requests
    }

    /// What was wrong with requests.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.inside.lock().complaints.clone()
    }
}

impl Service for Inside {
    async fn call(&self, request: Request) -> Answer {
        self.lock().requests += 1;
        while self.lock().mood == Mood::Silent {
            Timer::after(LOOK).await;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        self.lock().answer(now, &request).map_or(Answer::Close, Answer::Reply)
    }

    fn notice(&self, notice: Notice<'_>) {
        self.lock().complaints.push(format!("{notice:?}"));
    }
}

impl Inside {
    fn lock(&self) -> MutexGuard<'_, GoogleService> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
