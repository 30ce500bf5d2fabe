//! Where prompts that are texts become audio: drives the core's [`Renderer`] with the HTTP client, the key and the disk.

use crate::clock::Clock;
use crate::fetch::Client;
use crate::google::Signer;
use crate::spawner::unblock;
use callwarden_core::config::Config;
use callwarden_core::google::ServiceAccount;
use callwarden_core::prompts::{KEPT, Prompts, RenderInput, RenderOutput, RenderReport, Renderer};
use callwarden_core::time::Instant;
use std::fs::{self, File};
use std::future::{Future, pending};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::time::sleep_until;

/// A renderer with what it needs of this machine.
#[derive(Debug)]
pub struct Studio {
    renderer: Renderer,
    signer: Signer,
    clock: Clock,
    client: Client,
    directory: PathBuf,
}

impl Studio {
    /// A studio for what of `prompts` is not rendered yet.
    #[must_use]
    pub fn new(
        config: &Config,
        prompts: &Prompts,
        (account, signer): (ServiceAccount, Signer),
        clock: Clock,
        client: Client,
    ) -> Self {
        let to_render = prompts.to_render(&config.google_tts_voice);
        let renderer = Renderer::new(clock.now(), account, config, to_render);
        Self { renderer, signer, clock, client, directory: config.data_dir.join(KEPT) }
    }

    /// Renders until it is `enough`, at the latest until there is nothing left to render. `tell` hears what became of
    /// each prompt.
    pub async fn run<F>(mut self, enough: fn(&Renderer) -> bool, tell: impl Fn(RenderReport) -> F)
    where
        F: Future<Output = ()>,
    {
        let mut out = Vec::new();
        self.renderer.handle_timeout(self.clock.now(), &mut out);
        loop {
            let mut answer = None;
            for output in out.drain(..) {
                match output {
                    RenderOutput::Sign { step, message } => {
                        answer = Some(RenderInput::Signed { step, result: self.signer.sign(&message) });
                    }
                    RenderOutput::Fetch { step, request } => {
                        let result = self.client.fetch_guarded(request).await;
                        answer = Some(RenderInput::Fetched { step, result });
                    }
                    RenderOutput::Keep { file, bytes } => {
                        let (directory, name) = (self.directory.clone(), file.clone());
                        if let Err(error) = unblock(move || keep(&directory, &name, &bytes)).await {
                            tell(RenderReport::NotKept { file, cause: error.to_string() }).await;
                        }
                    }
                    RenderOutput::Report(report) => tell(report).await,
                }
            }
            match (answer, self.renderer.next_timeout()) {
                (Some(answer), _) => self.renderer.handle(self.clock.now(), answer, &mut out),
                (None, None) => return,
                (None, Some(_)) if enough(&self.renderer) => return,
                (None, Some(at)) => {
                    self.sleep_until(at).await;
                    self.renderer.handle_timeout(self.clock.now(), &mut out);
                }
            }
        }
    }

    async fn sleep_until(&self, at: Instant) {
        match self.clock.deadline(at) {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }
}

/// Writes a file under another name first, so that what has the right one is whole, also after a loss of power.
fn keep(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    fs::create_dir_all(directory)?;
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let unfinished = directory.join(format!("{name}.{}-{number}.unfinished", std::process::id()));
    let written = write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, directory.join(name)));
    if written.is_err() {
        // What is left of it is in nobody's way.
        fs::remove_file(&unfinished).ok();
    }
    written
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
