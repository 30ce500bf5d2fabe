//! The command line: one word at most.

use std::ffi::OsString;

/// What `--help` prints.
pub const HELP: &str = "\
callwarden answers a business's Twilio number; no caller is ever left in silence.

Usage: callwarden [COMMAND]

Commands:
  serve      Run the server (the default)
  config     Print the effective configuration, secrets masked, and check it
  prompts    Render the prompts that are missing, and list what callers hear
  demo       Play five simulated calls against a real server, and say what became of them

Options:
  --version  Print name and version
  --help     Print this

Settings come from environment variables; `callwarden config` lists every one.
Exit codes: 0 done, 1 cannot start or render, 2 wrong usage or configuration, 70 internal error.
";

/// What the process is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the command line")]
pub enum Command {
    Serve,
    Config,
    Prompts,
    Demo,
    Version,
    Help,
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// One line that says what is wrong.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let Some(first) = arguments.next() else { return Ok(Command::Serve) };
    let command = match first.to_str() {
        Some("serve") => Command::Serve,
        Some("config") => Command::Config,
        Some("prompts") => Command::Prompts,
        Some("demo") => Command::Demo,
        Some("--version" | "-V") => Command::Version,
        Some("--help" | "-h" | "help") => Command::Help,
        _ => return Err(unknown(&first)),
    };
    match arguments.next() {
        Some(extra) => Err(unknown(&extra)),
        None => Ok(command),
    }
}

/// `{:?}` keeps it one line, whatever bytes the argument holds.
fn unknown(argument: &OsString) -> String {
    format!("unknown argument {argument:?}; `callwarden --help` lists the commands")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn no_argument_means_serve() {
        assert_eq!(words(""), Ok(Command::Serve));
        assert_eq!(words("serve"), Ok(Command::Serve));
        assert_eq!(words("config"), Ok(Command::Config));
        assert_eq!(words("prompts"), Ok(Command::Prompts));
        assert_eq!(words("demo"), Ok(Command::Demo));
        assert_eq!(words("--version"), Ok(Command::Version));
        assert_eq!(words("-h"), Ok(Command::Help));
    }

    #[test]
    fn the_first_argument_that_is_not_understood_is_named() {
        for (line, named) in [("שרת", "\"שרת\""), ("serve --port", "\"--port\""), ("config serve", "\"serve\"")] {
            let problem = words(line).expect_err("refused");
            assert!(problem.contains(named) && problem.lines().count() == 1, "{problem}");
        }
    }

    #[test]
    fn an_argument_cannot_break_the_line() {
        let problem = parse([OsString::from("a\nb")]).expect_err("refused");
        assert_eq!(problem.lines().count(), 1);
    }
}
