//! Who turns the demo's speech into text: the service that the environment names, or a stand-in on loopback.

use super::DemoError;
use crate::far_end::OpenAiService;
use callwarden_core::config::Config;
use callwarden_core::far_end::openai::{Ear, Passage};
use callwarden_core::far_end::sample;
use callwarden_core::secret::Secret;

/// With this one, when it is not empty, the demo asks a real service.
const KEY: &str = "OPENAI_API_KEY";
/// What else says which service, and how it is asked.
const OTHERS: [&str; 3] = ["OPENAI_BASE_URL", "TRANSCRIBE_MODEL", "TRANSCRIBE_LANGUAGE"];

/// The transcription service of the demo's server.
#[derive(Debug)]
pub(super) enum Transcriber {
    /// It hears by its samples what the sample's words are.
    StandIn { service: OpenAiService, key: Secret, passage: Passage },
    /// The settings of a real one.
    Service(Vec<(String, String)>),
}

impl Transcriber {
    /// The service of this environment, else a stand-in that takes this key.
    pub(super) async fn start(environment: &[(String, String)], key: Secret) -> Result<Self, DemoError> {
        let named = |name: &str| environment.iter().find(|(given, value)| given == name && !value.is_empty()).cloned();
        if let Some(given) = named(KEY) {
            let given: Vec<_> = [given].into_iter().chain(OTHERS.into_iter().filter_map(named)).collect();
            // Told before there is anything to be cleared away.
            Config::from_pairs(given.clone()).map_err(DemoError::Config)?;
            return Ok(Self::Service(given));
        }
        let passage = sample::passage().expect("a test reads the program's own table");
        let service = OpenAiService::listen(key.clone(), Ear::new(vec![passage.clone()])).await;
        Ok(Self::StandIn { service: service.map_err(DemoError::System)?, key, passage })
    }

    /// The settings of a server that asks it.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        match self {
            Self::StandIn { service, key, .. } => {
                vec![(KEY.to_owned(), key.expose().to_owned()), (OTHERS[0].to_owned(), service.base_url())]
            }
            Self::Service(given) => given.clone(),
        }
    }

    /// What is said, where that is known.
    pub(super) fn passage(&self) -> Option<&Passage> {
        match self {
            Self::StandIn { passage, .. } => Some(passage),
            Self::Service(_) => None,
        }
    }

    /// In words, for the opening.
    pub(super) fn story(&self, config: &Config) -> String {
        match self {
            Self::StandIn { .. } => {
                format!("Without {KEY} a local stand-in transcribes: it answers with the sample's own text.")
            }
            Self::Service(_) => {
                let Config { openai_base_url, transcribe_model, transcribe_language, .. } = config;
                format!("{openai_base_url} transcribes (model {transcribe_model}, language {transcribe_language}).")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn start(environment: &[(&str, &str)]) -> Transcriber {
        smol::block_on(Transcriber::start(&pairs(environment), Secret::new("own"))).expect("loopback")
    }

    #[test]
    fn a_key_in_the_environment_chooses_the_real_service_with_all_that_is_set_for_it() {
        let environment = [
            ("PORT", "80"),
            ("TRANSCRIBE_MODEL", "whisper-1"),
            ("OPENAI_BASE_URL", ""),
            ("OPENAI_API_KEY", "sk-theirs"),
            ("TRANSCRIBE_LANGUAGE", "en"),
        ];
        let transcriber = start(&environment);
        let expected =
            [("OPENAI_API_KEY", "sk-theirs"), ("TRANSCRIBE_MODEL", "whisper-1"), ("TRANSCRIBE_LANGUAGE", "en")];
        assert_eq!((transcriber.settings(), transcriber.passage()), (pairs(&expected), None));
        let config = Config::from_pairs(transcriber.settings()).expect("settings");
        let story = transcriber.story(&config);
        assert_eq!(story, "https://api.openai.com/v1 transcribes (model whisper-1, language en).");
    }

    #[test]
    fn without_a_key_a_stand_in_says_that_it_is_one() {
        for environment in [&[][..], &[("OPENAI_API_KEY", ""), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")]] {
            let transcriber = start(environment);
            let config = Config::from_pairs(transcriber.settings()).expect("settings");
            assert_eq!(config.openai_api_key.as_ref().map(Secret::expose), Some("own"));
            let Transcriber::StandIn { service, .. } = &transcriber else { panic!("{transcriber:?}") };
            assert_eq!(config.openai_base_url, service.base_url());
            let story = transcriber.story(&config);
            assert!(story.contains("stand-in") && story.contains("OPENAI_API_KEY"), "{story}");
        }
    }
}
