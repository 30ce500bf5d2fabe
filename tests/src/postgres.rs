//! A throwaway Postgres server for tests: its own data directory under the temporary one, a free port on loopback, no
//! password, no socket in the file system.
//!
//! A guard process reads a pipe that only this process writes to. When the pipe closes, because the [`Cluster`] was
//! dropped or because this process is gone, killed or not, the guard stops the server and removes its directory. So
//! nothing lingers, even after `kill -9`, and a cluster in a `static` is removed at exit.

use crate::signal::kill;
use core::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Who owns the server's tables.
const OWNER: &str = "postgres";
/// How often another port is tried when somebody else took the one that was free a moment ago.
const PORTS_TRIED_MAX: u32 = 5;
/// What the server's log says then.
const PORT_TAKEN: &str = "could not create any TCP/IP sockets";
/// Seconds the server may take to start or to stop.
const WAIT_SECONDS: &str = "60";
/// A crash of the machine may lose a test's data, which nobody misses; tests of durability kill processes. Shared memory
/// is a file, because a container's own may be small or closed to the user.
const SETTINGS: &str = "fsync = off
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
log_min_messages = fatal
";

/// Why there is no server.
#[derive(Debug)]
pub enum ClusterError {
    /// Postgres is not installed.
    NotInstalled,
    /// Postgres refuses to run as root, and the system has neither of the users to run it as.
    NoUser,
    /// A program could not be run, or failed; what was tried, and what it said.
    Failed(String),
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => f.write_str(
                "Postgres is not installed: there is no initdb in PATH or in /usr/lib/postgresql/*/bin. \
                 On Debian and Ubuntu: apt-get install postgresql",
            ),
            Self::NoUser => f.write_str(
                "Postgres does not run as root, and /etc/passwd names neither postgres nor nobody to run it as",
            ),
            Self::Failed(what) => write!(f, "the test server of Postgres failed: {what}"),
        }
    }
}

impl core::error::Error for ClusterError {}

/// A running server; stopped and removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    directory: PathBuf,
    user: Option<User>,
    port: u16,
    guard: Child,
}

/// The user and group that the server runs as where the tests run as root.
#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// The one server of this test binary, started by whoever asks first.
    ///
    /// # Panics
    /// When there is no Postgres, saying what to do.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Cluster, ClusterError>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a server of its own, for tests that stop it.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn start() -> Result<Self, ClusterError> {
        Self::start_with("")
    }

    /// As [`Self::start`], with further lines of `postgresql.conf`.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn start_with(settings: &str) -> Result<Self, ClusterError> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let programs = programs()?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("callwarden-postgres-{}-{number}", std::process::id()));
        fs::create_dir(&directory).map_err(failed("creating its directory"))?;
        let user = unprivileged_user(&directory)?;
        let guard = guard(&programs, &directory, user)?;
        let mut cluster = Self { programs, directory, user, port: 0, guard };
        cluster.create()?;
        let mut tried = 0;
        loop {
            cluster.port = free_port()?;
            cluster.configure(settings)?;
            match cluster.restart() {
                Err(ClusterError::Failed(what)) if what.contains(PORT_TAKEN) && tried < PORTS_TRIED_MAX => tried += 1,
                started => return started.map(|()| cluster),
            }
        }
    }

    /// The address of a database of this server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{OWNER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The server's port on loopback; it keeps it over [`Self::restart`].
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database, and gives its address.
    ///
    /// # Errors
    /// [`ClusterError`], among them that it exists.
    pub fn create_database(&self, name: &str) -> Result<String, ClusterError> {
        let port = self.port.to_string();
        let mut command = self.command("createdb");
        command.args(["--host=127.0.0.1", "--no-password", "--port", &port, "--username", OWNER, name]);
        run(&mut command)?;
        Ok(self.url(name))
    }

    /// Stops the server; clients are cut off.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn stop(&self) -> Result<(), ClusterError> {
        run(self.pg_ctl().args(["stop", "--mode=fast"]))
    }

    /// Starts the server, after stopping it if it runs.
    ///
    /// # Errors
    /// [`ClusterError`], with the server's log.
    pub fn restart(&self) -> Result<(), ClusterError> {
        if self.data().join("postmaster.pid").exists() {
            self.stop()?;
        }
        let log = self.directory.join("log");
        run(self.pg_ctl().arg("start").arg("--log").arg(&log)).map_err(|error| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            ClusterError::Failed(format!("{error}; its log: {log}"))
        })
    }

    /// Stops the server's processes where they are, as a machine that thrashes does: connections stand, and nothing
    /// answers. They go on when the returned value is dropped.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn freeze(&self) -> Result<Frozen, ClusterError> {
        let pid_file =
            fs::read_to_string(self.data().join("postmaster.pid")).map_err(failed("reading its process id"))?;
        let postmaster = pid_file.lines().next().unwrap_or_default().to_owned();
        // First the parent, which could start more.
        let mut frozen = Frozen { processes: vec![postmaster.clone()] };
        signal("STOP", &frozen.processes)?;
        frozen.processes.extend(children(&postmaster)?);
        signal("STOP", &frozen.processes)?;
        Ok(frozen)
    }

    fn create(&self) -> Result<(), ClusterError> {
        let mut command = self.command("initdb");
        command.args(["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--username", OWNER, "--pgdata"]);
        run(command.arg(self.data()))
    }

    fn configure(&self, settings: &str) -> Result<(), ClusterError> {
        let text = format!("{SETTINGS}port = {}\n{settings}\n", self.port);
        fs::write(self.data().join("postgresql.conf"), text).map_err(failed("writing its settings"))
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn pg_ctl(&self) -> Command {
        let mut command = self.command("pg_ctl");
        command.args(["--wait", "--silent", "--timeout", WAIT_SECONDS, "--pgdata"]).arg(self.data());
        command
    }

    fn command(&self, program: &str) -> Command {
        command(&self.programs.join(program), &self.directory, self.user)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        if let Err(error) = self.guard.wait() {
            eprintln!("{} may be left: {error}", self.directory.display());
        }
    }
}

/// A server that does not answer until this is dropped.
#[derive(Debug)]
pub struct Frozen {
    processes: Vec<String>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = signal("CONT", &self.processes) {
            eprintln!("{error}");
        }
    }
}

fn signal(name: &str, processes: &[String]) -> Result<(), ClusterError> {
    run(&mut kill(name, processes))
}

/// The processes whose parent this is, as the system lists them.
fn children(parent: &str) -> Result<Vec<String>, ClusterError> {
    let entries = fs::read_dir("/proc").map_err(failed("listing processes"))?;
    let ids = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    // `id (name) state parent …`: a name may hold anything, so what follows it counts from its end.
    let is_child = |id: &String| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1)) == Some(parent)
    };
    Ok(ids.filter(is_child).collect())
}

/// The directory with Postgres's programs: in `PATH`, links followed, or the newest version where Debian installs them.
fn programs() -> Result<PathBuf, ClusterError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let linked = std::env::split_paths(&path).filter_map(|directory| fs::canonicalize(directory.join("initdb")).ok());
    let in_path = linked.filter_map(|initdb| initdb.parent().map(Path::to_owned));
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    versions.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    let versions = versions.into_iter().rev().map(|version| version.join("bin"));
    in_path
        .chain(versions)
        .find(|directory| ["initdb", "pg_ctl", "createdb"].iter().all(|name| directory.join(name).is_file()))
        .ok_or(ClusterError::NotInstalled)
}

/// Whom to run the server as; `None` where the tests do not run as root. Gives the directory away.
fn unprivileged_user(directory: &Path) -> Result<Option<User>, ClusterError> {
    if fs::metadata(directory).map_err(failed("reading its directory"))?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(failed("reading /etc/passwd"))?;
    let user = ["postgres", "nobody"].iter().find_map(|name| find_user(&users, name)).ok_or(ClusterError::NoUser)?;
    chown(directory, Some(user.uid), Some(user.gid)).map_err(failed("giving its directory away"))?;
    Ok(Some(user))
}

fn find_user(users: &str, name: &str) -> Option<User> {
    let mut fields = users
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    Some(User { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// Starts the process that cleans up when its input ends. It has a process group of its own, so that Ctrl-C in the
/// terminal ends the tests and not their guard.
fn guard(programs: &Path, directory: &Path, user: Option<User>) -> Result<Child, ClusterError> {
    let script = r#"read -r _; "$1" stop --mode=immediate --wait --silent --pgdata "$2/data"; rm -rf "$2""#;
    let mut guard = command(Path::new("/bin/sh"), Path::new("/"), user);
    guard.args(["-c", script, "sh"]).arg(programs.join("pg_ctl")).arg(directory);
    guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    guard.spawn().map_err(failed("starting its guard"))
}

/// A command as `user`, in a directory it can enter, and without the caller's settings for Postgres's programs.
fn command(program: &Path, directory: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
        command.env_remove(name);
    }
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn run(command: &mut Command) -> Result<(), ClusterError> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(failed(&program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(ClusterError::Failed(format!("{program}: {}: {}", output.status, said.concat().trim())))
}

fn free_port() -> Result<u16, ClusterError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("finding a port"))?;
    listener.local_addr().map(|address| address.port()).map_err(failed("finding a port"))
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> ClusterError {
    let what = what.to_owned();
    move |error| ClusterError::Failed(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_dropped_server_is_gone_with_its_directory() {
        let cluster = Cluster::start().unwrap();
        let (directory, port) = (cluster.directory.clone(), cluster.port());
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        drop(cluster);
        assert!(!directory.exists());
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    }

    #[test]
    fn a_stopped_server_comes_back_on_its_port_and_is_removed_though_stopped() {
        let cluster = Cluster::start().unwrap();
        cluster.create_database("kept").unwrap();
        cluster.stop().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, cluster.port())).unwrap_err();
        cluster.restart().unwrap();
        cluster.restart().unwrap();
        cluster.create_database("kept").unwrap_err();
        cluster.stop().unwrap();
        let directory = cluster.directory.clone();
        drop(cluster);
        assert!(!directory.exists());
    }

    #[test]
    fn a_wrong_setting_is_reported_with_the_servers_log() {
        let error = Cluster::start_with("no_such_setting = 1").unwrap_err().to_string();
        assert!(error.contains("no_such_setting"), "{error}");
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0::/:/bin/sh\npostgres-old:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/var:/bin/bash\n";
        let user = find_user(users, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(find_user(users, "nobody").is_none());
    }
}
