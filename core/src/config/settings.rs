//! The table of settings: the parser takes its defaults from here, and the README's table is tested against it.

/// One environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// What counts when it is unset; `None` where nothing does, or where the meaning says what then holds.
    pub default: Option<&'static str>,
    /// What it does.
    pub meaning: &'static str,
}

const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default: Some(default), meaning }
}

const fn optional(name: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default: None, meaning }
}

/// Every setting, in the README's order.
pub const SETTINGS: [Setting; 31] = [
    setting("PORT", "8080", "Port to listen on; 0 lets the system choose."),
    optional("BIND", "Address to listen on; unset: 0.0.0.0 with TWILIO_AUTH_TOKEN, else 127.0.0.1."),
    optional("PUBLIC_HOST", "Host name under which Twilio reaches the server; unset: what each request says."),
    optional("DATABASE_URL", "postgres://… or sqlite:PATH; unset, without TWILIO_AUTH_TOKEN: a file in DATA_DIR."),
    setting("DATA_DIR", "./data", "Directory where this process keeps files; it must be able to write there."),
    optional("TWILIO_ACCOUNT_SID", "The Twilio account; with TWILIO_AUTH_TOKEN or not at all."),
    optional(
        "TWILIO_AUTH_TOKEN",
        "Its auth token, or several separated by commas while one is rotated; unset: development mode.",
    ),
    setting("TWILIO_API_BASE", "https://api.twilio.com", "Where Twilio's REST API is."),
    setting("ENABLE_CALLS_STREAM", "true", "Stream calls; false: every call is recorded."),
    setting("STREAM_START_TIMEOUT", "8s", "A stream that has not started after this moves the call to a recording."),
    setting("MEDIA_TIMEOUT", "6s", "A stream without a frame for this long moves the call to a recording."),
    setting("END_SILENCE", "20s", "A caller who says nothing for this long is said goodbye to; 0 turns it off."),
    optional("OPENAI_API_KEY", "Key of the transcription service; unset: no transcripts."),
    setting("OPENAI_BASE_URL", "https://api.openai.com/v1", "Where the transcription service is."),
    setting("TRANSCRIBE_MODEL", "gpt-transcribe", "Model; gpt-transcribe* speaks the new dialect, others whisper's."),
    setting("TRANSCRIBE_LANGUAGE", "he", "Language the callers speak."),
    optional(
        "GOOGLE_APPLICATION_CREDENTIALS",
        "Google service account, a path or the JSON itself; unset: Twilio speaks the texts.",
    ),
    setting("GOOGLE_TTS_VOICE", "he-IL-Wavenet-A", "Google's voice for the prompts."),
    setting("GOOGLE_TTS_BASE_URL", "https://texttospeech.googleapis.com/v1", "Where Google's speech service is."),
    optional("PROMPTS_DIR", "Directory with your own greeting_he, fallback_he and goodbye_he as .mp3 or .wav."),
    setting("GREETING_TEXT", "שלום, תודה שהתקשרתם אלינו, אנא ספרו לנו במה נוכל לעזור.", "Greeting; empty: none."),
    setting(
        "FALLBACK_TEXT",
        "אנא השאירו לנו הודעה אחרי הצליל ונחזור אליכם בהקדם.",
        "Said before a recording; empty: only the beep.",
    ),
    setting(
        "GOODBYE_TEXT",
        "תודה שהתקשרתם, נחזור אליכם בהקדם, להתראות ויום נעים.",
        "Said before hanging up; empty: nothing.",
    ),
    optional("LOG_FORMAT", "text or json; unset: text on a terminal, else json."),
    setting("RUST_LOG", "info", "Which log lines are written."),
    optional("METRICS_TOKEN", "Bearer token of /metrics; unset: only served in development mode."),
    optional("CONSOLE_TOKEN", "Bearer token of the console; unset: there is none."),
    setting("DRAIN_SECONDS", "30", "How long running streams may go on after SIGTERM."),
    optional("WORKER_THREADS", "Threads that serve; unset: one per processor."),
    optional("DEPLOY_ID", "Name of the deployment, shown by /version."),
    optional("GIT_COMMIT", "Commit of the build, shown by /version."),
];
