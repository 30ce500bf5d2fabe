//! Every bound in one place: its unit, its reason, and what happens there. Numbers with a setting are in
//! [`crate::config`].

use crate::time::UnixMillis;
use core::time::Duration;

/// Bytes of a request head (request line and headers). Twilio's are below 3 KiB; longer: 431.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header lines of a request. Twilio sends about 15, proxies add some; more: 431.
pub const HEADERS_MAX: usize = 100;
/// Bytes of a request body. The longest webhook seen is 4 KiB (marketplace add-ons); longer: 413.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Pairs read from a form; Twilio sends about 40. The rest is dropped and the form counts as damaged.
pub const FORM_PAIRS_MAX: usize = 512;
/// Bytes of a line with a chunk's size, extension and line end included, in a request (longer: 400) or a response.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Hexadecimal digits of a chunk's size: those of 64 bits. More are an attempt at an overflow.
pub const CHUNK_SIZE_DIGITS_MAX: usize = 16;
/// A whole request head is due this long after its first byte, or the connection is closed with 408.
pub const HEAD_TIME: Duration = Duration::from_secs(5);
/// A whole body is due this long after its head, or 408.
pub const BODY_TIME: Duration = Duration::from_secs(5);
/// A kept-alive connection without a request is closed after this.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
/// A client that does not take an answer within this is cut.
pub const WRITE_TIME: Duration = Duration::from_secs(10);
/// After an answer or a close frame that ends a connection its input is read away for this long: closed earlier, the
/// unread bytes would reset the connection and the client would lose what was said last.
pub const LINGER_TIME: Duration = Duration::from_secs(2);
/// A listener that cannot accept (no descriptors left) is tried again after this.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Open connections, WebSockets included. Ten thousand calls and their webhooks; more are closed at once.
pub const CONNECTIONS_MAX: usize = 16 * 1024;
/// Bytes of a WebSocket read buffer, one per stream: twelve frames of 20 ms. More costs memory and clearing time.
pub const SOCKET_READ_BYTES: usize = 4 * 1024;
/// Bytes of one WebSocket message; Twilio's are below 2 KiB. Longer: close 1009.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes a WebSocket may hold unsent. We send a mark now and then; a peer that takes none is cut.
pub const SOCKET_WRITE_BYTES_MAX: usize = 8 * 1024;

/// Requests that wait for their answer. Each has a connection, so this is reached only after that limit; then 503
/// for pages and the recording document for webhooks.
pub const REQUESTS_MAX: usize = CONNECTIONS_MAX;
/// Open WebSockets; more upgrades get 503.
pub const STREAMS_MAX: usize = CONNECTIONS_MAX;
/// Calls in memory: ten thousand live ones and as many that ended within a minute. At the limit the oldest ended one
/// leaves; when all are live a new call is answered with the recording document and not watched.
pub const CALLS_MAX: usize = 32 * 1024;
/// HTTP requests of ours under way. A fallback that finds no room waits for the next free one.
pub const FETCHES_MAX: usize = 1_024;
/// Requests waiting for one call's row or claim: the webhook and its repeats (Twilio repeats five times at most).
pub const WAITERS_PER_CALL_MAX: usize = 16;
/// Expired deadlines worked off in one turn, so that a stampede cannot starve webhooks; the rest stays due.
pub const EXPIRIES_PER_TURN_MAX: usize = 64;

/// Facts that wait for the database (D4): an hour of outage at one call a second and some eight facts a call. At the
/// limit timeline events are dropped first, then the newest fact, each counted and logged `DB_ERROR`.
pub const FACTS_WAITING_MAX: usize = 32 * 1024;
/// Facts in one file of the spool (D3): what a disk writes at once without anybody waiting for it.
pub const SPOOL_FACTS_PER_FILE_MAX: usize = 1_024;
/// Bytes of all those files: a million facts, a day and more of outage at one call a second. What comes then waits in
/// memory alone.
pub const SPOOL_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A disk that did not take a file of the spool, or did not give it back, is tried again after this.
pub const SPOOL_RETRY: Duration = Duration::from_secs(1);
/// Facts in one transaction.
pub const FACTS_PER_COMMAND_MAX: usize = 64;
/// Fact commands at the database at once; more wait here and are merged into fewer, larger ones.
pub const FACT_COMMANDS_MAX: usize = 8;
/// Database commands of every kind at once; [`FACT_COMMANDS_MAX`] and one more of them are kept for the queue of facts.
/// A row or claim beyond goes on without the database.
pub const STORE_COMMANDS_MAX: usize = 4_096;

/// A webhook waits this long for its row (D1), and no longer.
pub const ROW_TIME: Duration = Duration::from_millis(1_000);
/// The database's own limit on one statement, below [`ROW_TIME`] so that the server gives up first.
pub const STATEMENT_TIME: Duration = Duration::from_millis(900);
/// A claim waits this long for the database, then the watch acts on what this process knows (W5).
pub const CLAIM_TIME: Duration = Duration::from_millis(500);
/// A granted claim belongs to its process for this long, by the database's clock, unless its holder renews it.
pub const CLAIM_LEASE: Duration = Duration::from_secs(10);
/// The first wait before a database that failed is tried again; doubled up to [`STORE_RETRY_MAX`].
pub const STORE_RETRY_MIN: Duration = Duration::from_millis(250);
/// The longest wait before a database that failed is tried again.
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(2);
/// Any other database command is given up after this and sent again.
pub const STORE_TIME: Duration = Duration::from_secs(5);
/// How long a statement waits for a row another transaction holds: below [`STATEMENT_TIME`], so that the error names
/// the lock.
pub const LOCK_TIME: Duration = Duration::from_millis(700);
/// The database ends a transaction whose process fell silent in the middle, and frees its rows.
pub const TRANSACTION_IDLE_TIME: Duration = Duration::from_secs(5);
/// A command that waits longer than this for a connection asks why there is none.
pub const CONNECTION_WAIT: Duration = Duration::from_millis(100);
/// Connections of a process to Postgres: one for each of [`FACT_COMMANDS_MAX`] and as many for claims. More commands
/// wait. Six processes fit Postgres's default of 100.
pub const POSTGRES_CONNECTIONS_MAX: u32 = 16;
/// The latest time a database is given (June 2255): Postgres multiplies intervals in floating point, which is exact up
/// to 2^53 microseconds. Later times are stored as this one, times before 1970 as 1970.
pub const STORED_TIME_MAX: UnixMillis = UnixMillis(9_007_199_254_740);

/// A socket must show a valid `start` within this (S7), else close 1008.
pub const START_TIME: Duration = Duration::from_secs(10);
/// A stream heard within this is not displaced by another socket of the same call (S8).
pub const STREAM_FRESH: Duration = Duration::from_secs(2);
/// Unparsable messages in a row that close a socket with 1007 (S6).
pub const BAD_MESSAGES_IN_A_ROW_MAX: u32 = 100;
/// A mark that asks whether a quiet stream lives is echoed within this, or the stream has stalled (W3).
pub const ECHO_TIME: Duration = Duration::from_secs(2);
/// A stream that echoes, or never did, counts as lost after this long without a frame (W3).
pub const QUIET_TIME: Duration = Duration::from_secs(30);
/// A frame deadline that passed leaves this much time for frames that the socket holds already (W3): the runtime
/// reads before it looks at its timer.
pub const LAST_LOOK: Duration = Duration::from_millis(10);
/// A socket we closed, or whose call moved to recording, is dropped if the peer does not close within this.
pub const CLOSE_TIME: Duration = Duration::from_secs(5);
/// Characters of each text kept from a `start` message or a webhook (names, reasons); the rest is cut.
pub const TEXT_CHARS_MAX: usize = 512;
/// Custom parameters read from one `start`; the rest is ignored.
pub const CUSTOM_PARAMETERS_MAX: usize = 32;

/// Auth tokens in `TWILIO_AUTH_TOKEN`: a rotation needs two. More are a configuration problem.
pub const AUTH_TOKENS_MAX: usize = 4;
/// Threads in `WORKER_THREADS`; more are a configuration problem.
pub const WORKER_THREADS_MAX: usize = 1_024;
/// The shortest and longest `STREAM_START_TIMEOUT` and `MEDIA_TIMEOUT`. Below, every call would fall back; above, a
/// caller has hung up.
pub const WATCH_TIMES: core::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// The shortest and longest `END_SILENCE`; 0 turns it off.
pub const END_SILENCES: core::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);
/// The longest `DRAIN_SECONDS`: no call is longer (W10).
pub const DRAIN_MAX: Duration = Duration::from_secs(4 * 3_600);
/// When `DRAIN_SECONDS` are over, the calls still open are moved to recording, and the process waits this long for
/// that: an update of [`REST_TIME`] and the socket's end.
pub const DRAIN_MOVES_TIME: Duration = Duration::from_secs(5);

/// Loudness from which a frame may be speech (W12): the mean square of its samples at -40 dBFS, which is
/// (32,768 × 10^(-40/20))². Telephone speech is around -25 dBFS, line noise below -50.
pub const SPEECH_MEAN_SQUARE: u32 = 107_374;
/// So many loud frames in a row are speech: 100 ms. A click is shorter.
pub const SPEECH_FRAMES_MIN: u32 = 5;

/// Loudness below which a detector that rests is not woken (T1): the mean square of samples at -55 dBFS. Sound below it
/// costs a sum; a good line is quieter, and a caller 20 dB softer than usual is still heard.
pub const SPEECH_GATE_MEAN_SQUARE: u32 = 3_395;
/// Loudness of the softest speech (T1), -60 dBFS: below it lies what a detector hears on after a word. Lower than the
/// gate, because words fade.
pub const SPEECH_LEAST_MEAN_SQUARE: u32 = 1_074;
/// The detector goes on listening for this long after the last block above the gate: the gaps in a word are shorter.
pub const SPEECH_GATE_HOLD: Duration = Duration::from_millis(200);
/// A detector that wakes first hears this much of what came before (T1). Without it the first word of a soft caller is
/// lost in part; twice as much is no better.
pub const SPEECH_WARM_UP: Duration = Duration::from_millis(128);
/// Sound with less speech than this is no utterance (T1), but for the last one of a stream. A short word between two
/// silences (כן, לא) has 0.2 s; keys, clicks and noise have less.
pub const UTTERANCE_SPEECH_MIN: Duration = Duration::from_millis(200);
/// The last utterance of a stream has at least this much speech: a caller may hang up in mid-word.
pub const LAST_UTTERANCE_SPEECH_MIN: Duration = Duration::from_millis(100);
/// The longest utterance (T1): 120 kB of mu-law. A longer one is cut at its quietest point within the last
/// [`UTTERANCE_CUT_WINDOW`].
pub const UTTERANCE_TIME_MAX: Duration = Duration::from_secs(15);
/// Where an utterance that is too long may be cut (T1): fluent speech pauses for breath about this often.
pub const UTTERANCE_CUT_WINDOW: Duration = Duration::from_secs(3);
/// Silence that ends an utterance (T1); pauses within a sentence are shorter.
pub const UTTERANCE_END_SILENCE: Duration = Duration::from_millis(700);
/// Sound kept from before the first speech of an utterance (T1): a soft first consonant is no speech to a detector.
pub const UTTERANCE_LEAD_IN: Duration = Duration::from_millis(300);
/// Sound kept after the last speech of an utterance, so that its last consonant stays. The rest of
/// [`UTTERANCE_END_SILENCE`] would be paid for and says nothing.
pub const UTTERANCE_TAIL: Duration = Duration::from_millis(300);
/// A frame whose place lies further ahead of what was heard than this follows a gap, which counts as silence. Less is
/// jitter, or a packet or two that were lost.
pub const AUDIO_GAP: Duration = Duration::from_millis(500);
/// The latest place in a stream; a frame that claims a later one is taken to be here. No call is longer (W10).
pub const AUDIO_PLACE_MAX: Duration = Duration::from_secs(4 * 3_600);
/// Bytes by which the buffer of an utterance grows: a second of mu-law. The last step ends just above
/// [`UTTERANCE_TIME_MAX`]; doubling would hold up to twice as much.
pub const UTTERANCE_STEP_BYTES: usize = 8_000;
/// Loudness of near-silence (T6): the mean square of samples at -45 dBFS, between line noise (below -50) and soft
/// speech. Sound that never holds it for [`SPEECH_FRAMES_MIN`] frames of 20 ms in a row is not believed to be a stock
/// phrase.
pub const NEAR_SILENT_MEAN_SQUARE: u32 = 33_954;

/// Bytes of 16-bit PCM in one request for a transcription; a longer recording is sent in pieces (T2). The API takes
/// 25 MB, form and header included.
pub const CLIP_BYTES_MAX: usize = 24 * 1024 * 1024;
/// The longest audio in one request for a transcription (T2): an answer to more might come after the client gave up.
pub const CLIP_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// How far before its bound a piece of a recording may end, so that it ends in a pause (T2).
pub const CLIP_CUT_WINDOW: Duration = Duration::from_secs(30);

/// The token in a TwiML document admits a stream for this long: the longest greeting and a slow `start`.
pub const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);
/// How far two nodes' clocks may differ when a token is checked.
pub const TOKEN_SKEW: Duration = Duration::from_secs(60);

/// A REST update is given up after this: ambiguous (W7).
pub const REST_TIME: Duration = Duration::from_secs(4);
/// Bytes of a REST answer that are read; a call's JSON is 2 KiB.
pub const REST_BYTES_MAX: usize = 64 * 1024;
/// Characters of a REST answer's message that are repeated in a log line.
pub const REST_MESSAGE_CHARS_MAX: usize = 200;
/// The first wait before an update that was not delivered for sure is tried again; doubled (W7).
pub const REST_RETRY_MIN: Duration = Duration::from_millis(500);
/// The longest such wait (W7).
pub const REST_RETRY_MAX: Duration = Duration::from_secs(4);
/// The longest wait that another side may ask for with `retry-after`; one that asks for more is asked again as usual.
/// The transcription service's own client draws the line here.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
/// A recording is downloaded within this; four hours at 2 MB a second.
pub const RECORDING_TIME: Duration = Duration::from_secs(120);
/// Bytes of a recording: the four hours that Twilio lets a call last, 8,000 samples of 16 bits a second, are 220 MiB.
pub const RECORDING_BYTES_MAX: usize = 240 * 1024 * 1024;
/// Recordings of one call that a look-up asks for and reads. Ours make three ([`RECORD_CONTINUED_MAX`]); each is 1 KiB
/// of an answer that must stay below [`REST_BYTES_MAX`].
pub const RECORDINGS_LISTED_MAX: usize = 20;
/// How long signs of an ambiguous update are waited for before it is repeated (W7).
pub const AMBIGUOUS_WAIT: Duration = Duration::from_millis(1_500);
/// How often an ambiguous update is repeated: a repeat restarts a running recording (W7).
pub const AMBIGUOUS_REPEATS_MAX: u32 = 2;
/// "No such call" means over when a terminal status or a `stop` agrees within this (W7).
pub const OVER_AGREEMENT: Duration = Duration::from_secs(5);
/// An update not confirmed for this long closes the socket, so that Twilio asks `stream_ended` (W7).
pub const UNCONFIRMED_CLOSE: Duration = Duration::from_secs(3);
/// After the recording document was given and its prompt is over, a recording has called back within this; otherwise
/// the document went nowhere (W5).
pub const RECORDING_STARTS: Duration = Duration::from_secs(10);
/// An unconfirmed claim is overdue again after this (W5).
pub const CLAIM_OVERDUE: Duration = Duration::from_secs(10);
/// `stream_ended` usually follows a `stream-error`: REST waits this long for it (W4).
pub const STREAM_ERROR_WAIT: Duration = Duration::from_millis(1_500);
/// After a stream went away something must happen within this (W11).
pub const BRIDGE_TIME: Duration = Duration::from_secs(8);
/// After a repeated `<Connect>`, which has no greeting, a `start` must come within this (W11).
pub const BRIDGE_TIME_RECONNECT: Duration = Duration::from_secs(4);
/// Streams of one call; after the third the call goes to recording (`stream_ended` table).
pub const STREAMS_PER_CALL_MAX: u32 = 3;
/// A `stream_ended` that comes this soon after one that was answered with `<Connect>` is its repeat and gets the same
/// answer (D5): Twilio may have taken either. No stream fails as fast as that.
pub const REPEAT_TIME: Duration = Duration::from_millis(200);
/// A greeting file whose length cannot be read counts as this long (W1).
pub const GREETING_UNREADABLE: Duration = Duration::from_secs(15);
/// An entry of a call that ended stays this long, so that late and repeated webhooks find it (D5).
pub const ENDED_KEPT: Duration = Duration::from_secs(60);
/// An entry not heard of for this long leaves memory: Twilio ends calls after 4 h (W10).
pub const SILENT_ENTRY: Duration = Duration::from_secs(5 * 60 * 60);

/// A transcription is due after this and as long as its audio plays: services on a processor work about as fast as
/// people speak.
pub const TRANSCRIPTION_TIME: Duration = Duration::from_secs(30);
/// The longest a transcription may take; the service's own client waits as long.
pub const TRANSCRIPTION_TIME_MAX: Duration = Duration::from_secs(600);
/// Bytes of a transcription's answer. Ten minutes of speech are 10 KiB of text; with the times of every word it is 200.
pub const TRANSCRIPTION_BYTES_MAX: usize = 1024 * 1024;
/// The first wait before a transcription is asked for again (T4); doubled up to [`TRANSCRIPTION_RETRY_MAX`].
pub const TRANSCRIPTION_RETRY_MIN: Duration = Duration::from_millis(500);
/// The longest such wait. The service's own client gives up before; ours goes on, for an outage may last for hours.
pub const TRANSCRIPTION_RETRY_MAX: Duration = Duration::from_secs(60);

/// Seconds of silence that end a recording: the `timeout` of `<Record>`.
pub const RECORD_SILENCE_SECONDS: u32 = 10;
/// Seconds a recording may last: the `maxLength` of `<Record>`.
pub const RECORD_LENGTH_SECONDS: u32 = 120;
/// A recording that hit its length with the caller still there goes on this often.
pub const RECORD_CONTINUED_MAX: usize = 2;
/// Characters of TwiML in a REST update; Twilio takes no more.
pub const REST_TWIML_CHARS_MAX: usize = 4_000;
/// Bytes of one prompt file; 40 minutes of MP3 would be 10 MB, and a file so long may drop the call.
pub const PROMPT_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Characters of a prompt's text: most of a minute of speech. Even when each becomes six (`&quot;`) and the host name is
/// as long as one can be, the recording document fits a REST update.
pub const PROMPT_TEXT_CHARS_MAX: usize = 450;
/// Characters of a public host: a DNS name is at most 253 long, a colon and a port six more.
pub const PUBLIC_HOST_CHARS_MAX: usize = 253 + 6;

/// Characters of the name of a voice of Google's; the longest are below 40. More are a configuration problem.
pub const VOICE_CHARS_MAX: usize = 64;
/// Bytes of a Google key file; one is 2.4 KiB. More are a configuration problem.
pub const CREDENTIALS_BYTES_MAX: usize = 64 * 1024;
/// How long an assertion counts from when it says it was made: the longest that Google takes.
pub const ASSERTION_LIFE: Duration = Duration::from_secs(3_600);
/// An assertion says it was made this long ago: Google refuses one of the future, and clocks differ a little.
pub const ASSERTION_BACKDATED: Duration = Duration::from_secs(10);
/// An access token is not used any more when less than this is left of it.
pub const ACCESS_TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// A request for an access token is given up after this.
pub const GOOGLE_TOKEN_TIME: Duration = Duration::from_secs(10);
/// Bytes of the answer to it; Google's is below 2 KiB.
pub const GOOGLE_TOKEN_BYTES_MAX: usize = 64 * 1024;
/// A request for speech is given up after this; the longest text takes a few seconds.
pub const SPEECH_TIME: Duration = Duration::from_secs(30);
/// Bytes of the answer to it: six minutes of telephone audio in Base64, for a text that is spoken in one.
pub const SPEECH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of Google's own words in a log line: enough for the address of the page that enables an API.
pub const GOOGLE_MESSAGE_CHARS_MAX: usize = 400;
/// A prompt that could not be rendered is tried again after this; doubled each time.
pub const RENDER_RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest such wait, and the first one where only a change at Google or here can help. It goes on for ever:
/// callers hear Twilio's voice meanwhile.
pub const RENDER_RETRY_MAX: Duration = Duration::from_secs(5 * 60);

/// Outputs one input can cause, per call it touches; a property test holds it.
pub const OUTPUTS_PER_INPUT_MAX: usize = 64;
/// Messages that wait between a connection and the switchboard, in both runtimes. A full queue makes the sender wait.
pub const INBOX_MAX: usize = 1_024;
/// Commands that wait for a stream's task. A full queue means a dead task: the stream is dropped.
pub const COMMANDS_PER_STREAM_MAX: usize = 8;
/// An update whose answer is this much later than [`REST_TIME`] counts as ambiguous even if the runtime is silent.
pub const REST_GRACE: Duration = Duration::from_millis(500);
/// A fallback that found [`FETCHES_MAX`] requests under way looks again after this.
pub const NO_ROOM_WAIT: Duration = Duration::from_millis(50);
/// A fallback that failed begins anew after [`CLAIM_OVERDUE`], then twice, … this many times that: at most a minute.
pub const OVERDUE_FACTOR_MAX: u32 = 6;
/// A stream that does not say within this whether it is heard is displaced by a newer socket (S8).
pub const CHALLENGE_TIME: Duration = Duration::from_secs(1);
/// Characters of an error code or status that are kept for the timeline.
pub const ERROR_CODE_CHARS_MAX: usize = 32;
/// Characters of a request path that are logged.
pub const LOGGED_PATH_CHARS_MAX: usize = 128;
/// Distinct streams one call may start in all; Twilio opens one per `<Connect>`. More are refused.
pub const STREAMS_SEEN_MAX: usize = 16;

/// Twilio's ceiling on one request of a call, repeats included; the simulated far end keeps it.
pub const FAR_END_REQUEST_TIME: Duration = Duration::from_secs(15);
/// Bytes of a TwiML document; Twilio refuses a longer one with 11750.
pub const FAR_END_TWIML_BYTES_MAX: usize = 64 * 1024;
/// Twilio ends a call after this.
pub const FAR_END_CALL_TIME: Duration = Duration::from_secs(4 * 60 * 60);
/// Requests of one simulated call under way; one more is not sent and noted as 15002. A call has one request for a
/// document and a handful of callbacks.
pub const FAR_END_REQUESTS_MAX: usize = 64;
/// Outputs after which a simulated call that is late leaves the rest of its frames due.
pub const FAR_END_OUTPUTS_PER_TURN_MAX: usize = 48;

/// A connection of our HTTP client stands within this (address, TCP, TLS), or the request was not sent. Below
/// [`REST_TIME`], so that an unreachable Twilio is known as not sent and tried again without harm (W7).
pub const CONNECT_TIME: Duration = Duration::from_secs(3);
/// The head of an answer is due this long after the request was written, if the request itself allows so much: a
/// transcription has its head when it is done.
pub const RESPONSE_HEAD_TIME: Duration = TRANSCRIPTION_TIME_MAX;
/// Our HTTP client gives up a peer that takes no byte of a request, or sends none of a begun answer, for this long.
pub const TRANSFER_STALL_TIME: Duration = Duration::from_secs(10);
/// A kept connection of our HTTP client is not used again after this. Common servers close after 5 s (Node.js,
/// uvicorn); a request that meets such a close would be ambiguous.
pub const FETCH_IDLE_TIME: Duration = Duration::from_secs(4);
/// Connections our HTTP client keeps to one host; the oldest is closed for a newer one.
pub const FETCH_IDLE_PER_HOST_MAX: usize = 32;
/// Connections our HTTP client keeps to all hosts; the oldest is closed for a newer one.
pub const FETCH_IDLE_MAX: usize = 64;
/// Bytes of a response head. Twilio's and OpenAI's are below 3 KiB. The rest up to the codec's own 8 KiB is room for
/// what rebuilding the head adds: a length, and a space per line.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 8 * 1024 - 256;
/// Header lines of a response; Twilio sends about 20.
pub const RESPONSE_HEADERS_MAX: usize = 100;
/// Interim (1xx) answers skipped before the final one.
pub const INTERIM_RESPONSES_MAX: usize = 8;
/// Inputs a task takes in before it lets others run: a flooding socket or queue shares its thread.
pub const INPUTS_PER_TURN_MAX: usize = 64;
/// Log lines that wait to be written. At the limit further ones are lost and counted: a stuck log never holds up a call.
pub const LOG_LINES_MAX: usize = 4_096;
/// How long a stopping process waits for its last log lines to be written.
pub const LOG_FLUSH_TIME: Duration = Duration::from_secs(1);
/// How long a stopped server waits for threads that are still busy: a name being looked up may hold one much longer.
pub const THREADS_END_TIME: Duration = Duration::from_secs(1);
/// A silent caller whose `END_SILENCE` passed while no frames came may still speak for this long when they come again
/// (W12). Below [`STREAM_FRESH`], so that frames which come seconds apart still count as flowing when it is over.
pub const HEARING_AGAIN: Duration = Duration::from_secs(1);

/// Bytes of an upload; OpenAI refuses a longer one with 413. The simulated API counts the whole body, which errs to the
/// strict side by the few hundred bytes around the file.
pub const FAR_END_UPLOAD_BYTES_MAX: usize = 25 * 1024 * 1024;
/// Bytes of an upload that the simulated API still keeps; of a longer one it knows the length and no more.
pub const FAR_END_UPLOAD_BYTES_READ_MAX: usize = 26 * 1024 * 1024;
/// OpenAI refuses shorter audio with `audio_too_short`.
pub const FAR_END_AUDIO_TIME_MIN: Duration = Duration::from_millis(100);
/// Characters of a prompt or keyword `gpt-transcribe` takes.
pub const FAR_END_PROMPT_CHARS_MAX: usize = 65_536;
/// Parts of a form the simulated API takes: the dozen fields of the API and lists of some length.
pub const FAR_END_FORM_PARTS_MAX: usize = 256;
/// Characters of one segment's text that are stored; ten minutes of fast speech are some 12,000. The rest is cut.
pub const SEGMENT_CHARS_MAX: usize = 64 * 1024;
/// A recording that a process took to be transcribed belongs to it for this long, by the database's clock (T5): its
/// download, and 24 pieces of ten minutes each at the pace of a slow service.
pub const RECORDING_LEASE: Duration = Duration::from_secs(30 * 60);
/// Recordings a process takes at a time, and works on at once: each is in memory as a whole.
pub const RECORDINGS_TAKEN_MAX: u64 = 4;
/// Recordings of calls that are never transcribed that are passed over with each look for others: a few milliseconds.
pub const RECORDINGS_PASSED_OVER_MAX: u64 = 256;
/// After how long without news a call that lacks its end or its recording is looked up (T8): the first, the second, and
/// the third and every further time.
pub const LOOK_UP_TIMES: [Duration; 3] =
    [Duration::from_secs(2 * 60), Duration::from_secs(10 * 60), Duration::from_secs(60 * 60)];
/// Overdue calls a process takes at a time; each costs two requests to Twilio.
pub const OVERDUE_TAKEN_MAX: u64 = 16;
/// How long the audio of an utterance is kept while it cannot be transcribed (T5): a long weekend without a valid key.
pub const AUDIO_AGE_MAX: Duration = Duration::from_secs(72 * 60 * 60);
/// A segment that waits for this much longer than [`AUDIO_AGE_MAX`] has been forgotten by the process that had its audio,
/// or that process is gone for good: it has failed.
pub const STALE_AFTER: Duration = Duration::from_secs(60 * 60);
/// Segments read back from the database at a time.
pub const SEGMENTS_FOUND_MAX: u64 = 16;
/// Stretches of speech that wait to be transcribed and stored: four hours of one utterance a second. More are said to
/// have failed.
pub const SPEECH_JOBS_MAX: usize = 16 * 1024;
/// Bytes of speech in memory that wait for their file or their request; ten thousand callers who end a sentence of a
/// second at once. More are said to have failed.
pub const SPEECH_MEMORY_MAX: usize = 80 * 1024 * 1024;
/// Bytes of speech kept in `DATA_DIR`: 37 hours. The oldest gives way (T5).
pub const SPEECH_ON_DISK_MAX: u64 = 1024 * 1024 * 1024;
/// File commands under way; each job has two at most.
pub const FILE_COMMANDS_MAX: usize = 2 * SPEECH_JOBS_MAX;
/// Transcription requests under way. Each holds some 100 KiB; an account's rate limit is a few hundred a minute.
pub const TRANSCRIPTIONS_MAX: usize = 32;
/// Texts that the database is taking at once.
pub const TEXTS_STORED_AT_ONCE_MAX: usize = 8;
/// A service that needs a person (a wrong key, an empty account) is tried again after this.
pub const BLOCKED_RETRY: Duration = Duration::from_secs(10 * 60);
/// The first wait before a recording is fetched again; Twilio needs a moment to have it ready.
pub const RECORDING_RETRY_MIN: Duration = Duration::from_secs(1);
/// How often recordings that wait are looked for, news of one apart.
pub const RECORDINGS_ROUND: Duration = Duration::from_secs(5);
/// How often calls that lack something are looked for (T8).
pub const OVERDUE_ROUND: Duration = Duration::from_secs(30);
/// How often segments that everybody forgot are looked for, and speech that was kept for too long.
pub const STALE_ROUND: Duration = Duration::from_secs(60 * 60);
/// How often files of processes that are gone are looked for.
pub const ADOPT_TIME: Duration = Duration::from_secs(60);
/// After so many look-ups (an hour) a recording that Twilio does not know of is missing (T8).
pub const LOOK_UPS_MIN: u32 = 3;
/// After so many look-ups (a day) in which Twilio did not answer a call counts as over, and its recording as missing.
pub const LOOK_UPS_MAX: u32 = 26;
/// How far ahead of the clock a frame's timestamp may be to be believed: what a network may hold back and then deliver
/// at once.
pub const TIMESTAMP_AHEAD_MAX: Duration = Duration::from_secs(10);
/// A frame whose number is lower than the newest one's by less than this (10 s) is a repeat or late, and is not heard.
pub const FRAMES_LATE_MAX: u64 = 500;
/// A recording that Twilio has not ready, or does not know of, this long after it was first heard of is none.
pub const RECORDING_READY_TIME: Duration = Duration::from_secs(60 * 60);
/// Files of processes that are gone that become jobs in one turn, and files that are removed in one; the rest has its
/// turn at once, after whatever else is due.
pub const FILES_PER_TURN_MAX: usize = 16;
/// The wait before more rows of a process that is gone are read: until the first ones are written.
pub const INHERIT_WAIT: Duration = Duration::from_millis(250);
/// How long a process's word that it lives is good. Three renewals: one that is late or lost is no death.
pub const NODE_LEASE: Duration = Duration::from_secs(6);
/// Between two such words.
pub const NODE_RENEWAL: Duration = Duration::from_secs(2);
/// How long the row of a process that is gone stays, for whoever looks.
pub const NODE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Calls taken over at a time. The rest come with the next word.
pub const CALLS_TAKEN_MAX: u64 = 256;
/// Processes declared gone at a time. The rest wait for the next word.
pub const GONE_DECLARED_MAX: usize = 16;
/// Calls whose rows are asked for when a process begins: those it is asked about before its database is open. Beyond, it
/// answers by what it knows.
pub const ROWS_SOUGHT_MAX: usize = 1_024;
/// Samples a second of a recording. Studios use 192,000; a number beyond is none, and a sample would play for no time.
pub const SAMPLE_RATE_MAX: u32 = 384_000;
