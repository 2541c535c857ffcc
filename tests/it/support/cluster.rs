//! Clusters that a test does more to than read and write: other majors, standbys, promotion, copies of the data directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use docmill::embedded::{EmbeddedPostgres, Options, StopMode};
use tokio_postgres::Client;

use super::postgres::{Database, blocking, connect, private_with};

/// A cluster, perhaps with a directory that goes with it.
#[derive(Debug)]
pub struct Cluster {
    /// `None` while it is being replaced; before the directory, so that the server is gone when its files go.
    server: Option<EmbeddedPostgres>,
    /// Of a standby or a copy.
    directory: Option<tempfile::TempDir>,
    options: Options,
}

impl Cluster {
    /// A new cluster of whatever PostgreSQL the tests run on.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(None, settings).await
    }

    /// A new cluster of that major, fetched when it is not in the cache.
    pub async fn of_major(major: u32, settings: &[(&str, &str)]) -> Self {
        Self::start_with(Some(binaries(major).await), settings).await
    }

    async fn start_with(binaries: Option<PathBuf>, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let options = Options { fsync: false, binaries, settings, ..Options::default() };
        Self { server: Some(private_with(options.clone()).await), directory: None, options }
    }

    pub fn server(&self) -> &EmbeddedPostgres {
        self.server.as_ref().expect("the cluster runs")
    }

    pub fn port(&self) -> u16 {
        self.server().port()
    }

    /// Its database `postgres`.
    pub fn database(&self) -> Database {
        Database { name: "postgres".to_owned(), url: self.server().url() }
    }

    pub async fn connect(&self) -> Client {
        connect(&self.server().url()).await
    }

    /// Runs statements; panics when they fail.
    pub async fn run(&self, sql: &str) {
        self.connect().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// One value as text.
    pub async fn ask(&self, sql: &str) -> String {
        let row = self.connect().await.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// Sets `synchronous_standby_names`, and waits until every session goes by it: `nobody` holds every commit back that is
    /// not `local`, the empty name lets them go.
    pub async fn set_standby(&self, names: &str) {
        let client = self.connect().await;
        client.batch_execute(&format!("alter system set synchronous_standby_names = '{names}'")).await.expect("set");
        client.batch_execute("select pg_reload_conf()").await.expect("reload");
        // A new session has the setting of the postmaster, which has read the file when one sees the new value.
        while self.ask("show synchronous_standby_names").await != names {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        // The checkpointer tells the rest whether anybody has to wait at all; sessions look between statements.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }

    /// Stops and starts it on the same port.
    pub async fn restart(&mut self, mode: StopMode) {
        let server = self.server.take().expect("the cluster runs");
        self.server = Some(blocking(move || server.restart(mode).map(|()| server).expect("it restarts")).await);
    }

    /// Every process of it killed, as by the loss of its machine.
    pub fn kill(&self) {
        self.server().kill();
    }

    pub async fn stop(&mut self, mode: StopMode) {
        let server = self.server.take().expect("the cluster is there");
        self.server = Some(blocking(move || server.stop(mode).map(|()| server).expect("it stops")).await);
    }

    pub async fn resume(&mut self) {
        let server = self.server.take().expect("the cluster is there");
        self.server = Some(blocking(move || server.resume().map(|()| server).expect("it starts")).await);
    }

    /// A copy of its data directory as it is now, taken while it stands still.
    pub async fn backup(&mut self) -> Backup {
        self.stop(StopMode::Fast).await;
        let backup = Backup::of(self.server()).await;
        self.resume().await;
        backup
    }

    /// Puts `backup` in place of its data directory: the server of before, on the same port.
    pub async fn restore(&mut self, backup: &Backup) {
        self.stop(StopMode::Fast).await;
        let data = self.server().data();
        let from = backup.directory.path().join("data");
        blocking(move || {
            std::fs::remove_dir_all(&data).expect("the old files go");
            copy(&from, &data);
        })
        .await;
        self.resume().await;
    }

    /// Runs `pg_resetwal` on it while it stands still. Panics where this PostgreSQL came without it.
    pub async fn reset_wal(&mut self, arguments: &[&str]) {
        // What is on the PATH may be a link to the server alone.
        let postgres = std::fs::canonicalize(self.server().command("postgres").get_program()).expect("a server");
        let program = postgres.with_file_name("pg_resetwal");
        assert!(
            program.is_file(),
            "there is no {}: install PostgreSQL's own packages (postgresql), or let DOCMILL_PG_BIN name a directory that has it",
            program.display()
        );
        self.stop(StopMode::Fast).await;
        let mut command = self.server().command(program.to_str().expect("a path"));
        command.args(arguments).arg("-D").arg(self.server().data());
        let status = blocking(move || command.status()).await.expect("pg_resetwal runs");
        assert!(status.success());
        self.resume().await;
    }

    /// A streaming standby of it, with further settings; the primary stands still for a moment.
    pub async fn standby(&mut self, settings: &[(&str, &str)]) -> Cluster {
        let Backup { directory } = self.backup().await;
        let data = directory.path().join("data");
        // A base backup leaves slots out, too.
        for slot in std::fs::read_dir(data.join("pg_replslot")).expect("slots").flatten() {
            std::fs::remove_dir_all(slot.path()).expect("a slot's files go");
        }
        std::fs::write(data.join("standby.signal"), "").expect("a signal file");
        let mut lines = format!("primary_conninfo = '{} application_name=standby'\n", conninfo(self.server()));
        for (name, value) in settings {
            lines.push_str(&format!("{name} = '{value}'\n"));
        }
        let file = data.join("postgresql.auto.conf");
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, before + &lines).expect("settings");
        let options = Options { directory: Some(directory.path().to_owned()), ..self.options.clone() };
        own(&data, self.server());
        Cluster { server: Some(private_with(options.clone()).await), directory: Some(directory), options }
    }

    /// Ends its life as a standby.
    pub async fn promote(&self) {
        assert_eq!(self.ask("select pg_promote()::text").await, "true");
    }

    /// Waits until it has replayed what `primary` has written so far.
    pub async fn caught_up_with(&self, primary: &Cluster) {
        let end = primary.ask("select pg_current_wal_flush_lsn()::text").await;
        let sql = format!("select (pg_last_wal_replay_lsn() >= '{end}')::text");
        while self.ask(&sql).await != "true" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// A copy of a data directory.
#[derive(Debug)]
pub struct Backup {
    directory: tempfile::TempDir,
}

impl Backup {
    async fn of(server: &EmbeddedPostgres) -> Self {
        let home = server.data().parent().expect("the cluster's directory").to_owned();
        // Beside the original, which the server's user can reach.
        let above = home.parent().expect("a directory of servers").to_owned();
        let directory = tempfile::Builder::new().prefix("copy-").tempdir_in(above).expect("a directory");
        let into = directory.path().to_owned();
        blocking(move || {
            copy(&home.join("data"), &into.join("data"));
            copy(&home.join("password"), &into.join("password"));
        })
        .await;
        own(directory.path(), server);
        Self { directory }
    }
}

/// The directory of that major's programs.
pub async fn binaries(major: u32) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/postgres/fetch");
    let output = blocking(move || Command::new(script).arg(major.to_string()).output()).await.expect("fetch runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

fn conninfo(server: &EmbeddedPostgres) -> String {
    let url = server.url();
    let (user, rest) = url.trim_start_matches("postgres://").split_once(':').expect("a user");
    let (password, _) = rest.split_once('@').expect("a password");
    format!("host=127.0.0.1 port={} user={user} password={password} dbname=postgres", server.port())
}

/// With owners and modes, which PostgreSQL insists on.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success(), "{} could not be copied", from.display());
}

/// Gives what root made here to the server's user.
fn own(path: &Path, server: &EmbeddedPostgres) {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(server.data()).expect("a data directory");
    let to = format!("{}:{}", owner.uid(), owner.gid());
    let status = Command::new("chown").arg("-R").arg(to).arg(path).status().expect("chown runs");
    assert!(status.success());
}
