//! The paths of the HTTP surface, in one place: TwiML names them and the router answers them.

/// Twilio asks what to do with a new call.
pub const INCOMING_CALL: &str = "/webhook/incoming_call";
/// Twilio tells how a call goes.
pub const CALL_STATUS: &str = "/webhook/call_status";
/// Twilio tells how a stream goes: the `<Stream statusCallback>`.
pub const STREAM_STATUS: &str = "/webhook/stream_status";
/// Twilio asks what follows a stream: the `<Connect action>` and the `<Redirect>` after it.
pub const STREAM_ENDED: &str = "/webhook/stream_ended";
/// Twilio asks what follows a recording: the `<Record action>`.
pub const HANDLE_RECORDING: &str = "/webhook/handle_recording";
/// Twilio tells how a recording goes: the `recordingStatusCallback`.
pub const RECORDING_STATUS: &str = "/webhook/recording_status";
/// The WebSocket of media streams; the same path with a slash at its end is answered too.
pub const MEDIA: &str = "/ws/twilio-media";
/// The greeting.
pub const GREETING_AUDIO: &str = "/static/tts/greeting_he.mp3";
/// The prompt of the recording document.
pub const FALLBACK_AUDIO: &str = "/static/tts/fallback_he.mp3";
/// What is said before hanging up.
pub const GOODBYE_AUDIO: &str = "/static/tts/goodbye_he.mp3";
/// Whether this process can answer a call.
pub const HEALTHZ: &str = "/healthz";
/// The state of every service.
pub const READYZ: &str = "/readyz";
/// Which build runs.
pub const VERSION: &str = "/version";
/// Metrics for Prometheus.
pub const METRICS: &str = "/metrics";
