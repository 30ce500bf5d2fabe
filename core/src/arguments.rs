//! The command line: one word at most. Both servers read it here, and differ in their name and in what they offer.

use crate::config::Config;
use crate::config::SETTINGS;
use std::ffi::OsString;

/// A server's command line. `Own` are the commands that only this server has.
#[derive(Clone, Copy, Debug)]
pub struct CommandLine<Own: 'static> {
    /// What the binary is called.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The words of its own commands, and what they do.
    pub own: &'static [(&'static str, &'static str, Own)],
}

/// What the process is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the command line")]
pub enum Command<Own> {
    Serve,
    Config,
    Prompts,
    Own(Own),
    Version,
    Help,
}

/// What every server can do besides serving, as `--help` says it.
const DESCRIBED: [(&str, &str); 3] = [
    ("serve", "Run the server (the default)"),
    ("config", "Print the effective configuration, secrets masked, and check it"),
    ("prompts", "Render the prompts that are missing, and list what callers hear"),
];

/// How a process ends, beside success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something outside is in the way: the port, a directory, the system; or the work could not be done: a prompt was
    /// not rendered or not kept, a call of the demo came out wrong.
    Failed,
    /// The command line or a variable is wrong.
    WrongUsage,
    /// A bug of ours (`EX_SOFTWARE`).
    InternalError,
}

impl Exit {
    /// The code the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::WrongUsage => 2,
            Self::InternalError => 70,
        }
    }
}

impl<Own: Copy> CommandLine<Own> {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(&self, arguments: impl IntoIterator<Item = OsString>) -> Result<Command<Own>, String> {
        let mut arguments = arguments.into_iter();
        let Some(first) = arguments.next() else { return Ok(Command::Serve) };
        let command = match first.to_str() {
            Some("serve") => Command::Serve,
            Some("config") => Command::Config,
            Some("prompts") => Command::Prompts,
            Some("--version" | "-V") => Command::Version,
            Some("--help" | "-h" | "help") => Command::Help,
            other => {
                let own = self.own.iter().find(|(word, ..)| Some(*word) == other);
                Command::Own(own.ok_or_else(|| self.unknown(&first))?.2)
            }
        };
        match arguments.next() {
            Some(extra) => Err(self.unknown(&extra)),
            None => Ok(command),
        }
    }

    /// `{:?}` keeps it one line, whatever bytes the argument holds.
    fn unknown(&self, argument: &OsString) -> String {
        format!("unknown argument {argument:?}; `{} --help` lists the commands", self.name)
    }

    /// What `--help` prints.
    #[must_use]
    pub fn help(&self) -> String {
        let name = self.name;
        let own = self.own.iter().map(|(word, meaning, _)| (*word, *meaning));
        let described = DESCRIBED.into_iter().chain(own);
        let commands: String = described.map(|(word, meaning)| format!("  {word:<9}  {meaning}\n")).collect();
        format!(
            "{name} answers a business's Twilio number; no caller is ever left in silence.

Usage: {name} [COMMAND]

Commands:
{commands}
Options:
  --version  Print name and version
  --help     Print this

Settings come from environment variables; `{name} config` lists every one.
Exit codes: 0 done, 1 cannot start or render, 2 wrong usage or configuration, 70 internal error.
"
        )
    }

    /// What `--version` prints.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{} {}\n", self.name, self.version)
    }
}

/// What `config` prints: every setting in force, its meaning above it.
#[must_use]
pub fn settings_in_force(config: &Config) -> String {
    let settings = SETTINGS.iter().zip(config.describe());
    settings.map(|(setting, (name, value))| format!("# {}\n{name}={value}\n", setting.meaning)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command of one server alone.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Demo;

    const LINE: CommandLine<Demo> =
        CommandLine { name: "callwarden", version: "1.2.3", own: &[("demo", "Play five calls", Demo)] };

    fn words(line: &str) -> Result<Command<Demo>, String> {
        LINE.parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn no_argument_means_serve() {
        assert_eq!(words(""), Ok(Command::Serve));
        assert_eq!(words("serve"), Ok(Command::Serve));
        assert_eq!(words("config"), Ok(Command::Config));
        assert_eq!(words("prompts"), Ok(Command::Prompts));
        assert_eq!(words("demo"), Ok(Command::Own(Demo)));
        assert_eq!(words("--version"), Ok(Command::Version));
        assert_eq!(words("-h"), Ok(Command::Help));
    }

    #[test]
    fn a_server_that_does_not_offer_a_command_neither_takes_nor_lists_it() {
        let line = CommandLine::<Demo> { name: "other", own: &[], ..LINE };
        let problem = line.parse([OsString::from("demo")]).expect_err("refused");
        assert!(problem.contains("\"demo\"") && problem.contains("`other --help`"), "{problem}");
        let help = line.help();
        assert!(help.contains("  config     Print") && help.contains("`other config`"), "{help}");
        assert!(!help.contains("demo") && LINE.help().contains("\n  demo       Play"), "{help}");
    }

    #[test]
    fn the_first_argument_that_is_not_understood_is_named() {
        for (line, named) in [("שרת", "\"שרת\""), ("serve --port", "\"--port\""), ("config serve", "\"serve\"")] {
            let problem = words(line).expect_err("refused");
            assert!(problem.contains(named) && problem.lines().count() == 1, "{problem}");
        }
    }

    #[test]
    fn every_way_to_end_has_the_code_that_help_names() {
        let ends = [Exit::Failed, Exit::WrongUsage, Exit::InternalError];
        assert_eq!(ends.map(Exit::code), [1, 2, 70]);
    }

    #[test]
    fn the_version_is_a_line_of_name_and_version() {
        assert_eq!(LINE.version(), "callwarden 1.2.3\n");
    }

    #[test]
    fn every_setting_in_force_stands_below_its_meaning() {
        let config = Config::from_pairs([]).expect("the defaults are valid");
        let text = settings_in_force(&config);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 * SETTINGS.len());
        for (setting, pair) in SETTINGS.iter().zip(lines.chunks(2)) {
            assert_eq!(pair[0], format!("# {}", setting.meaning));
            assert!(pair[1].starts_with(&format!("{}=", setting.name)), "{}", pair[1]);
        }
        assert!(text.contains("\nMEDIA_TIMEOUT=6s\n"), "{text}");
    }

    #[test]
    fn an_argument_cannot_break_the_line() {
        let problem = LINE.parse([OsString::from("a\nb")]).expect_err("refused");
        assert_eq!(problem.lines().count(), 1);
    }
}
