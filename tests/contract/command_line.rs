//! The binary as an operator meets it: its words, exit codes, signals and log.

use super::{BINARY, NAME};
use callwarden_core::limits;
use callwarden_tests::google::{Google, KEY, KEY_PKCS1, Mood, key_file, speech};
use callwarden_tests::signal::kill;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Nothing here takes longer on a machine that works at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("callwarden-שורת-פקודה-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The binary without this process's environment, in development mode on a free port.
fn binary(directory: &Directory, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().env("DATA_DIR", &directory.0).env("PORT", "0").stdin(Stdio::null());
    command
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let directory = Directory::new();
    binary(&directory, arguments).envs(variables.iter().copied()).output().expect("it runs")
}

/// A running server, which does not outlive its test.
struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
    _directory: Directory,
}

impl Server {
    fn start(variables: &[(&str, &str)]) -> Self {
        let directory = Directory::new();
        let mut command = binary(&directory, &[]);
        let mut child = command.envs(variables.iter().copied()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let line = line_with(&mut log, "APP_START");
        let (_, address) = line.split_once("http://").expect("an address");
        let address = address.split_once(' ').expect("more").0.parse().expect("an address");
        Self { child, log, address, _directory: directory }
    }

    fn signal(&self, name: &str) {
        let killed = kill(name, &[self.child.id().to_string()]).status();
        assert!(killed.expect("a shell").success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("a child").code()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// The status line and all that follows.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn line_with(log: &mut impl BufRead, word: &str) -> String {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("a log"), 0, "the log ended without {word}");
    }
    line
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

#[test]
fn an_unknown_argument_is_one_line_and_exit_2() {
    let output = run(&["שרת"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(lines(&output).len(), 1, "{:?}", lines(&output));
    assert!(lines(&output)[0].contains("שרת") && lines(&output)[0].contains("--help"));
}

#[test]
fn version_and_help_are_printed_and_succeed() {
    let version = run(&["--version"], &[]);
    assert_eq!((version.status.code(), version.stderr.len()), (Some(0), 0));
    assert!(version.stdout.starts_with(format!("{NAME} ").as_bytes()));
    let help = run(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    let words = String::from_utf8_lossy(&help.stdout);
    assert!(words.contains(&format!("`{NAME} config`")) && words.contains("  prompts "), "{words}");
}

#[test]
fn config_shows_the_effective_values_and_no_secret() {
    let variables = [("GREETING_TEXT", "שלום"), ("METRICS_TOKEN", "hush-hush"), ("DRAIN_SECONDS", "7")];
    let output = run(&["config"], &variables);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    assert!(shown.contains("GREETING_TEXT=שלום\n") && shown.contains("MEDIA_TIMEOUT=6s\n"), "{shown}");
    assert!(shown.contains("# Port to listen on; 0 lets the system choose.\nPORT=0\n"), "{shown}");
    assert!(!shown.contains("hush-hush"), "{shown}");
}

#[test]
fn every_wrong_variable_is_a_line_of_its_own_and_exit_2() {
    for arguments in [&["config"][..], &[]] {
        let output = run(arguments, &[("PORT", "שמונים"), ("DRAIN_SECONDS", "soon")]);
        assert_eq!(output.status.code(), Some(2));
        let lines = lines(&output);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("callwarden: PORT: ") && lines[1].starts_with("callwarden: DRAIN_SECONDS: "));
    }
}

#[test]
fn a_wrong_log_filter_is_one_line_and_exit_2() {
    let output = run(&[], &[("RUST_LOG", "callwarden=loud")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(lines(&output).len() == 1 && lines(&output)[0].contains("RUST_LOG"), "{:?}", lines(&output));
}

/// Everything that can stand in `GOOGLE_APPLICATION_CREDENTIALS` and is no usable key, and what is said of it.
fn wrong_credentials() -> Vec<(String, &'static str)> {
    let key = |pem: &str| key_file(pem, "https://oauth2.example/token").to_string();
    let whole = key(KEY);
    let other_type = whole.replace("service_account", "authorized_user");
    vec![
        (whole[..whole.len() / 2].to_owned(), "its JSON ends in the middle"),
        (key(&KEY.replace('\n', "\\n")), "escaped twice"),
        (whole.replace("\\n", "\n"), "no JSON (line 2, "),
        (other_type, "`type` is authorized_user and not service_account"),
        (key(&KEY[..KEY.len() / 2]), "no whole PEM"),
        (key(&KEY.replacen("MII", "MIX", 1)), "no RSA key that can be used (InvalidEncoding)"),
        (key(&KEY.replacen("MII", "M!!", 1)), "no whole PEM"),
        (key(include_str!("../data/google/ec.pem")), "no RSA key that can be used (WrongAlgorithm)"),
        (key(include_str!("../data/google/ec_sec1.pem")), "is labelled EC PRIVATE KEY"),
        (key(include_str!("../data/google/small.pem")), "no RSA key that can be used (TooSmall)"),
        (key(include_str!("../data/google/encrypted.pem")), "is encrypted"),
        (key(include_str!("../data/google/encrypted_pkcs1.pem")), "is encrypted"),
    ]
}

#[test]
fn credentials_that_cannot_be_used_stop_the_start_with_a_line_that_says_what_to_do() {
    let directory = Directory::new();
    let file = directory.0.join("מפתח.json");
    let path = file.to_str().expect("UTF-8");
    for (text, wrong) in wrong_credentials() {
        std::fs::write(&file, &text).expect("written");
        for (arguments, value) in [(&[][..], text.as_str()), (&[], path), (&["prompts"], path)] {
            let output = run(arguments, &[("GOOGLE_APPLICATION_CREDENTIALS", value)]);
            let lines = lines(&output);
            assert_eq!((output.status.code(), lines.len()), (Some(2), 1), "{lines:?}");
            assert!(lines[0].starts_with("callwarden: GOOGLE_APPLICATION_CREDENTIALS: "), "{lines:?}");
            assert!(lines[0].contains(wrong) && lines[0].contains("; "), "{wrong}: {lines:?}");
            let key = KEY.lines().filter(|line| !line.starts_with("-----"));
            assert!(key.into_iter().all(|line| !lines[0].contains(line)) && !lines[0].contains("MI"), "{lines:?}");
        }
    }
    std::fs::write(&file, " ".repeat(limits::CREDENTIALS_BYTES_MAX + 1)).expect("written");
    let long = lines(&run(&[], &[("GOOGLE_APPLICATION_CREDENTIALS", path)]));
    assert!(long.len() == 1 && long[0].contains("longer than 64 KiB"), "{long:?}");
    for missing in ["/nowhere/key.json", path.trim_end_matches("json"), "/"] {
        let lines = lines(&run(&[], &[("GOOGLE_APPLICATION_CREDENTIALS", missing)]));
        assert!(lines.len() == 1 && lines[0].contains("the file it names cannot be read: "), "{lines:?}");
    }
}

#[test]
fn a_voice_that_is_no_name_is_a_wrong_variable() {
    let output = run(&["config"], &[("GOOGLE_TTS_VOICE", "Google.he-IL-Wavenet-A")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(lines(&output)[0].starts_with("callwarden: GOOGLE_TTS_VOICE: "), "{:?}", lines(&output));
}

/// The cells of a line of `callwarden prompts`.
fn prompt_line(output: &Output, role: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with(role)).unwrap_or_else(|| panic!("no {role}: {text}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

#[test]
fn prompts_lists_what_callers_hear_and_where_it_comes_from() {
    let directory = Directory::new();
    std::fs::write(directory.0.join("greeting_he.wav"), speech("אבגדהוזחטי")).expect("written");
    let own = directory.0.to_str().expect("UTF-8");
    let variables = [("PROMPTS_DIR", own), ("FALLBACK_TEXT", "אבגדהוזחטיכ"), ("GOODBYE_TEXT", "")];
    let output = run(&["prompts"], &variables);
    assert_eq!((output.status.code(), lines(&output)), (Some(0), vec![]));
    let file = directory.0.join("greeting_he.wav").display().to_string();
    assert_eq!(prompt_line(&output, "greeting"), ["greeting", "file", "-", "0.6", "4846", &file]);
    assert_eq!(
        prompt_line(&output, "fallback"),
        ["fallback", "said by Twilio", "Google.he-IL-Wavenet-A", "about 2", "-", "-"]
    );
    assert_eq!(prompt_line(&output, "goodbye"), ["goodbye", "none", "-", "0", "-", "-"]);
}

#[test]
fn prompts_renders_what_is_missing_and_says_what_could_not_be_rendered() {
    smol::block_on(async {
        let (google, directory) = (Google::start().await, Directory::new());
        let credentials = key_file(KEY_PKCS1, &google.base_url().replace("/v1", "/token")).to_string();
        let base = google.base_url();
        let prompts = || {
            let mut command = binary(&directory, &["prompts"]);
            command.env("GOOGLE_APPLICATION_CREDENTIALS", &credentials).env("GOOGLE_TTS_BASE_URL", &base);
            command.env("GREETING_TEXT", "שלום").env("GOOGLE_TTS_VOICE", "he-IL-Chirp3-HD-Kore");
            smol::unblock(move || command.output().expect("it runs"))
        };
        google.set_mood(Mood::NoSpeech(403));
        let refused = prompts().await;
        assert_eq!((refused.status.code(), lines(&refused).len()), (Some(1), 3));
        let line = &lines(&refused)[0];
        assert!(line.starts_with("callwarden: the greeting could not be rendered: Google answered 403"), "{line}");
        assert!(line.contains("enable the Cloud Text-to-Speech API"), "{line}");
        assert_eq!(prompt_line(&refused, "greeting")[1..3], ["said by Twilio", "Google.he-IL-Wavenet-A"]);
        google.set_mood(Mood::Fine);
        for _ in 0..2 {
            let rendered = prompts().await;
            assert_eq!((rendered.status.code(), lines(&rendered)), (Some(0), vec![]));
            let cells = prompt_line(&rendered, "greeting");
            assert_eq!(cells[..4], ["greeting", "rendered", "he-IL-Chirp3-HD-Kore", "0.2"]);
            assert_eq!(std::fs::read(&cells[5]).expect("a file"), speech("שלום"));
        }
        assert_eq!((google.spoken().len(), google.tokens().len(), google.complaints()), (3, 2, vec![]));
        std::fs::remove_dir_all(directory.0.join("prompts")).expect("removed");
        std::fs::write(directory.0.join("prompts"), "in the way").expect("written");
        let unkept = prompts().await;
        assert_eq!(unkept.status.code(), Some(1));
        assert!(lines(&unkept)[0].contains("cannot keep") && lines(&unkept)[0].contains("DATA_DIR"));
    });
}

#[test]
fn a_port_in_use_is_one_line_that_says_what_to_do() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("an address").port().to_string();
    let output = run(&[], &[("PORT", &port)]);
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&output);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&port) && lines[0].contains("another process") && lines[0].contains("set PORT"));
}

#[test]
fn a_data_directory_that_cannot_be_written_is_one_line() {
    let directory = Directory::new();
    let file = directory.0.join("קובץ");
    std::fs::write(&file, "").expect("a file");
    let output = run(&[], &[("DATA_DIR", file.join("data").to_str().expect("UTF-8"))]);
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&output);
    assert!(lines.len() == 1 && lines[0].contains("set DATA_DIR") && lines[0].contains("קובץ"), "{lines:?}");
}

#[test]
fn a_signal_drains_and_exits_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&[]);
        assert!(server.ask(HEALTH).starts_with("HTTP/1.1 "));
        server.signal(signal);
        let stopping = line_with(&mut server.log, "APP_STOP");
        assert!(stopping.contains(&format!("SIG{signal}")), "{stopping}");
        line_with(&mut server.log, "drained");
        assert_eq!(server.exit_code(), Some(0));
    }
}

#[test]
fn a_second_signal_exits_at_once() {
    let mut server = Server::start(&[]);
    // A request under way is answered before the process ends, and this one never gets its body.
    let mut slow = server.connect();
    let head =
        "POST /webhook/call_status HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).expect("written");
    slow.read_exact(&mut [0; 12]).expect("HTTP/1.1 100");
    server.signal("TERM");
    line_with(&mut server.log, "APP_STOP");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(128 + 15));
}

#[test]
fn a_database_that_is_away_does_not_hinder_the_start() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let server = Server::start(&[("DATABASE_URL", &format!("postgres://user:hush-hush@{nobody}/calls"))]);
    assert!(server.ask(HEALTH).starts_with("HTTP/1.1 "));
}

#[test]
fn a_log_nobody_reads_holds_nothing_up() {
    let server = Server::start(&[]);
    // Each is a line of the log, and together they are several times what a pipe holds.
    for _ in 0..2_000 {
        assert!(server.ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
    }
    assert!(server.ask(HEALTH).starts_with("HTTP/1.1 "));
}

#[test]
fn the_log_is_json_for_a_machine_and_text_when_asked() {
    let mut server = Server::start(&[]);
    server.signal("TERM");
    let line = line_with(&mut server.log, "APP_STOP");
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&line["message"], &line["reason"]), (&"APP_STOP".into(), &"SIGTERM".into()));
    let mut server = Server::start(&[("LOG_FORMAT", "text")]);
    server.signal("TERM");
    let line = line_with(&mut server.log, "APP_STOP");
    assert!(line.contains(" INFO APP_STOP reason=\"SIGTERM\""), "{line}");
}
