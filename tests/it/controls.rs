//! An operator and a running docmill: pipelines are paused, resumed, added, removed and restarted through the real command and HTTP.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use serde_json::Value;

use super::hostile::failing::moody;
use super::support::command::{Docmill, Shop};
use super::support::opensearch::OpenSearch;
use super::support::postgres::Database;
use super::support::shop::{self, ShopDocuments, await_equal};
use super::support::stand::PATIENCE;
use super::wasm::handmade::harmless;

/// A shop with a server that runs, and the folder of its configuration.
struct Operated {
    database: Database,
    search: OpenSearch,
    shop: Shop,
    docmill: Docmill,
}

/// How a command ended.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Operated {
    async fn start(more: &str) -> Self {
        let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
        shop::create(&database, 40, 10).await;
        let shop = Shop::new(&database, &search, &format!("sink = \"search\"\n{more}"));
        let docmill = shop.run();
        Self { database, search, shop, docmill }
    }

    async fn live(more: &str) -> Self {
        let this = Self::start(more).await;
        this.docmill.await_live(PATIENCE).await;
        this
    }

    /// The command beside the one that runs.
    async fn say(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docmill"));
        command.args(arguments).current_dir(self.shop.path()).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", self.shop.path()).env_remove("STATE_DIRECTORY").env_remove("DOCMILL_TOKEN");
        let output =
            tokio::task::spawn_blocking(move || command.output().expect("the command runs")).await.expect("a thread");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    fn holds(said: &Said, code: i32, parts: &[&str]) {
        assert_eq!(said.code, Some(code), "{}{}", said.stdout, said.stderr);
        for part in parts {
            assert!(
                said.stdout.contains(part) || said.stderr.contains(part),
                "{part:?} is not in {}{}",
                said.stdout,
                said.stderr
            );
        }
    }

    async fn sql(&self, statements: &str) {
        self.database
            .connect()
            .await
            .batch_execute(statements)
            .await
            .unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    async fn until(&self, what: &str, mut reached: impl AsyncFnMut() -> bool) {
        let begin = Instant::now();
        while !reached().await {
            assert!(self.docmill.is_running(), "docmill ended");
            assert!(begin.elapsed() < PATIENCE, "after {PATIENCE:?} it is not so: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn slot_is_active(&self, slot: &str) -> bool {
        let query = "select coalesce(bool_or(active), false) from pg_replication_slots where slot_name = $1";
        self.database.connect().await.query_one(query, &[&slot]).await.expect("slots").get(0)
    }

    fn slot(&self) -> String {
        format!("docmill_{}", self.database.name)
    }

    /// All pipelines as they stand, by `docmill status --json`.
    async fn pipelines(&self) -> Vec<Value> {
        let said = self.say(&["status", "--json"]).await;
        Self::holds(&said, 0, &[]);
        let status: Value = serde_json::from_str(&said.stdout).expect("JSON");
        status["pipelines"].as_array().expect("a list").clone()
    }

    async fn pipeline(&self, name: &str) -> Value {
        let found = self.pipelines().await.into_iter().find(|pipeline| pipeline["pipeline"] == name);
        found.unwrap_or_else(|| panic!("there is no pipeline {name}"))
    }

    async fn until_phase(&self, name: &str, phase: &str) {
        self.until(&format!("{name} is {phase}"), async || self.pipeline(name).await["phase"] == phase).await;
    }

    async fn equal(&self) {
        await_equal(&self.database, &self.search, PATIENCE).await;
    }

    fn write(&self, configuration: &str) {
        std::fs::write(self.shop.path().join("docmill.toml"), configuration).expect("the configuration");
    }

    fn configuration(&self) -> String {
        std::fs::read_to_string(self.shop.path().join("docmill.toml")).expect("the configuration")
    }

    fn url(&self) -> String {
        let text = self.configuration();
        let (_, rest) = text.split_once("listen = \"").expect("an address");
        format!("http://{}", rest.split('"').next().expect("an address"))
    }
}

const LINES: &str = "[sinks.lines]\ntype = \"ndjson\"\npath = \"lines.ndjson\"\n\n\
    [pipelines.lines]\nsink = \"lines\"\nslot = \"own\"\nbuilder = \"shop.wasm\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_pipeline_ends_in_order_keeps_its_place_and_goes_on_when_it_is_resumed() {
    let this = Operated::live("").await;
    this.equal().await;
    let said = this.say(&["pause", "shop"]).await;
    Operated::holds(&said, 0, &["pipeline shop is paused: what it had captured is written and confirmed"]);
    Operated::holds(&this.say(&["pause", "shop"]).await, 0, &["is paused already"]);
    let shop = this.pipeline("shop").await;
    assert_eq!((&shop["phase"], &shop["paused_by"]), (&"paused".into(), &"operator".into()));
    assert_eq!((&shop["waiting_on"], &shop["ready"]), (&"operator".into(), &false.into()));
    assert_eq!(this.docmill.get("/ready").await.expect("an answer").0, 200, "paused on purpose");
    assert_eq!(this.docmill.metrics().await["docmill_paused{pipeline=\"shop\"}"], 1.0);
    assert!(!this.slot_is_active(&this.slot()).await);

    this.sql("update users set name = 'written while it is paused' where id <= 5").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let expected = ShopDocuments::from_sql(&this.database.url).await;
    let found = ShopDocuments::from_opensearch(&this.search).await;
    assert_eq!(expected.differences(&found).total(), 5, "nothing is written meanwhile");
    assert!(this.docmill.is_running());

    Operated::holds(&this.say(&["resume", "shop"]).await, 0, &["pipeline shop starts"]);
    this.equal().await;
    Operated::holds(&this.say(&["resume", "shop"]).await, 0, &["runs already"]);
    let table = this.say(&["status"]).await;
    Operated::holds(&table, 0, &["PIPELINE  PHASE", "shop      "]);
    assert_eq!(this.docmill.metrics().await["docmill_paused{pipeline=\"shop\"}"], 0.0);
    // Every document is made once: it went on where it was.
    let passes = this.docmill.log().matches("documents are assembled again in the background").count();
    assert_eq!(passes, 2, "those of the first start: {}", this.docmill.log());
    Operated::holds(&this.say(&["pause", "shpo"]).await, 2, &["there is no pipeline shpo; known: shop"]);
    // A paused one ends with the process like any other.
    Operated::holds(&this.say(&["pause", "shop"]).await, 0, &[]);
    assert!(this.docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_its_configuration_pauses_waits_through_restarts_until_it_is_resumed() {
    let this = Operated::start("paused = true").await;
    this.until_phase("shop", "paused").await;
    assert_eq!(this.pipeline("shop").await["paused_by"], "configuration");
    assert!(this.search.documents("users").await.is_none(), "it never began");
    Operated::holds(&this.say(&["resume", "shop"]).await, 0, &[]);
    this.equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_come_and_go_with_the_configuration_and_the_others_are_not_touched() {
    let this = Operated::live("").await;
    let alone = this.configuration();
    this.write(&format!("{alone}\n{LINES}"));
    Operated::holds(&this.say(&["reload"]).await, 0, &["added: lines", "unchanged: shop"]);
    this.until_phase("lines", "live").await;
    let lines = || std::fs::read_to_string(this.shop.path().join("lines.ndjson")).unwrap_or_default().lines().count();
    assert_eq!(lines(), 50);
    this.sql("update users set name = 'Ada' where id = 1").await;
    this.equal().await;
    this.until("the change is in both", async || lines() > 50).await;
    assert!(this.docmill.get("/metrics").await.unwrap().1.contains("pipeline=\"lines\""));

    // What runs alike is not touched; another setting is another start; paused stays paused.
    Operated::holds(&this.say(&["pause", "lines"]).await, 0, &[]);
    this.write(&format!(
        "{}\n{LINES}batch = {{ max_changes = 7 }}\n",
        alone.replace("late_window", "queue_capacity = 77\nlate_window")
    ));
    Operated::holds(&this.say(&["reload"]).await, 0, &["restarted: lines, shop"]);
    this.until_phase("shop", "live").await;
    assert_eq!(this.pipeline("lines").await["phase"], "paused");
    Operated::holds(&this.say(&["resume", "lines"]).await, 0, &[]);
    this.until_phase("lines", "live").await;

    // By a signal, too.
    this.write(&alone);
    this.docmill.signal(libc::SIGHUP);
    this.until("lines is gone", async || this.pipelines().await.len() == 1).await;
    this.until_phase("shop", "live").await;
    assert!(!this.slot_is_active(&format!("{}_lines", this.slot())).await);
    assert!(!this.docmill.get("/metrics").await.unwrap().1.contains("pipeline=\"lines\""));
    this.sql("update users set name = 'Eve' where id = 2").await;
    this.equal().await;
    // And back again, on where it was.
    this.write(&format!("{alone}\n{LINES}"));
    Operated::holds(&this.say(&["reload"]).await, 0, &["added: lines"]);
    this.until("the change of meanwhile is there too", async || {
        std::fs::read_to_string(this.shop.path().join("lines.ndjson")).unwrap_or_default().contains("\"Eve\"")
    })
    .await;
    assert!(this.docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_problems_changes_nothing_and_all_of_them_are_said() {
    let this = Operated::live("").await;
    let good = this.configuration();
    this.write(&good.replace("builder =", "bilder =").replace("url =", "ulr ="));
    let said = this.say(&["reload"]).await;
    Operated::holds(&said, 2, &["has problems", "sources.main.ulr: ", "sinks.search.ulr: ", "pipelines.shop.bilder: "]);
    // What only shows when a builder is loaded is a problem of the file, too.
    std::fs::write(this.shop.path().join("bad.wasm"), "text").expect("a file");
    let more = LINES.replace("shop.wasm", "bad.wasm");
    let large = "[pipelines.large]\nsink = \"lines\"\nslot = \"own\"\nbuilder = \"shop.wasm\"\nlimits = { memory = \"2GiB\" }\n";
    this.write(&format!("{}\n{more}\n{large}", good.replace("late_window", "queue_capacity = 77\nlate_window")));
    let said = this.say(&["reload"]).await;
    let room = "limits.memory of pipeline large is 2147483648 bytes, and this process has room for ";
    Operated::holds(
        &said,
        2,
        &["pipeline lines: builder of pipeline lines: its file of 4 bytes is not WebAssembly", room],
    );
    this.docmill.signal(libc::SIGHUP);
    this.until("it is logged", async || this.docmill.log().contains("everything runs on as it was")).await;
    assert_eq!(this.pipelines().await.len(), 1);
    this.sql("update users set name = 'Ada' where id = 1").await;
    this.equal().await;
    assert_eq!(this.docmill.log().matches("live: all passes are done").count(), 1, "it was not started again");
    this.write("this is no TOML [");
    Operated::holds(&this.say(&["reload"]).await, 2, &["this is no TOML"]);
    this.write(&good);
    Operated::holds(&this.say(&["reload"]).await, 0, &["unchanged: shop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_something_needs_the_token_and_no_foreign_page_may_ask() {
    let this = Operated::live("").await;
    let client = super::support::http_client();
    let address = this.url().trim_start_matches("http://").replace(':', "-");
    let file = this.shop.path().join(format!("docmill/token-{address}"));
    assert_eq!(std::fs::metadata(&file).expect("a token").permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).expect("a token").trim().to_owned();
    assert_eq!(token.len(), 64);
    let pause = format!("{}/api/v1/pipelines/shop/pause", this.url());
    for path in
        ["api/v1/pipelines/shop/pause", "api/v1/pipelines/shop/resume", "api/v1/pipelines/none/pause", "api/v1/reload"]
    {
        for authorization in ["", "Bearer", "Bearer x", &format!("Basic {token}"), &format!("Bearer {token}0")] {
            let call = client.post(format!("{}/{path}", this.url())).header(AUTHORIZATION, authorization);
            let answer = call.send().await.expect("an answer");
            assert_eq!(answer.status(), 401, "{path} {authorization}");
            assert_eq!(answer.headers()[WWW_AUTHENTICATE], "Bearer");
        }
    }
    for (host, origin) in
        [("evil.example", None), ("localhost", Some("https://evil.example")), ("localhost", Some("null"))]
    {
        let mut call = client.post(&pause).bearer_auth(&token).header(HOST, host);
        if let Some(origin) = origin {
            call = call.header(ORIGIN, origin);
        }
        assert_eq!(call.send().await.expect("an answer").status(), 403, "{host} {origin:?}");
    }
    assert_eq!(client.get(&pause).bearer_auth(&token).send().await.expect("an answer").status(), 405);
    assert_eq!(this.pipeline("shop").await["phase"], "live");
    for path in ["health", "ready", "metrics", "api/v1/status", "api/v1/pipelines"] {
        assert_eq!(this.docmill.get(&format!("/{path}")).await.expect("an answer").0, 200, "{path}");
    }
    let answer = client.post(&pause).bearer_auth(&token).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(!this.docmill.log().contains(&token));
    // A file that others may read is none to trust: the server runs, and nobody changes anything.
    let Operated { docmill, shop, database, search } = this;
    assert!(docmill.terminate().success());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("the mode");
    let docmill = shop.run();
    let this = Operated { docmill, shop, database, search };
    this.docmill.await_live(PATIENCE).await;
    Operated::holds(&this.say(&["pause", "shop"]).await, 1, &["others may read it (mode 644)"]);
    assert_eq!(client.post(&pause).bearer_auth(&token).send().await.expect("an answer").status(), 401);
    assert!(this.docmill.log().contains("no call can pause, resume or reload"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_the_configuration_is_the_token() {
    let this = Operated::start("").await;
    this.docmill.await_live(PATIENCE).await;
    let Operated { docmill, shop, database, search } = this;
    assert!(docmill.terminate().success());
    shop.configure("[server]\n", "[server]\ntoken = \"0123456789abcdef-of-mine\"\n");
    let docmill = shop.run();
    let this = Operated { docmill, shop, database, search };
    this.docmill.await_live(PATIENCE).await;
    Operated::holds(&this.say(&["pause", "shop"]).await, 0, &[]);
    let call = super::support::http_client().post(format!("{}/api/v1/pipelines/shop/resume", this.url()));
    assert_eq!(call.bearer_auth("0123456789abcdef-of-mine").send().await.expect("an answer").status(), 200);
    this.until_phase("shop", "live").await;
    // Nobody answers there.
    let said = this.say(&["status", "--server", "http://127.0.0.1:9"]).await;
    Operated::holds(&said, 1, &["no docmill answers on http://127.0.0.1:9/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_that_fails_pauses_its_pipeline_alone_until_it_is_resumed_or_another_comes() {
    let this = Operated::live("").await;
    let good = this.configuration();
    this.sql("create table things (id text primary key, name text not null)").await;
    std::fs::write(this.shop.path().join("things.wasm"), moody().wasm()).expect("a builder");
    let moody = "[sinks.lines]\ntype = \"ndjson\"\npath = \"lines.ndjson\"\n\n\
        [pipelines.moody]\nsink = \"lines\"\nslot = \"own\"\nbuilder = \"things.wasm\"\nfailing = { documents = 50 }\n";
    this.write(&format!("{good}\n{moody}"));
    Operated::holds(&this.say(&["reload"]).await, 0, &["added: moody"]);
    this.until_phase("moody", "live").await;
    this.sql("insert into things select 'x' || g, 'thing' from generate_series(1, 300) g").await;
    this.until_phase("moody", "paused").await;
    let paused = this.pipeline("moody").await;
    assert_eq!((&paused["paused_by"], &paused["waiting_on"]), (&"failures".into(), &"operator".into()));
    let why = paused["last_failure"].as_str().expect("why");
    assert!(why.contains("distinct documents of index things") && !why.contains("ada@"), "{why}");
    assert!(this.docmill.log().contains("paused: builder "), "{}", this.docmill.log());
    assert!(!this.docmill.log().contains("it said"), "{}", this.docmill.log());
    assert_eq!(this.docmill.get("/ready").await.expect("an answer").0, 503);
    let metrics = this.docmill.metrics().await;
    assert_eq!(metrics["docmill_paused{pipeline=\"moody\"}"], 1.0);
    assert_eq!(metrics["docmill_waiting{pipeline=\"moody\",on=\"operator\"}"], 1.0);
    // The neighbour goes on.
    this.sql("update users set name = 'Ada' where id = 1").await;
    this.equal().await;
    // Nothing of it has changed, so a reload leaves it alone; resumed it does the same again.
    Operated::holds(&this.say(&["reload"]).await, 0, &["unchanged: moody, shop"]);
    assert_eq!(this.pipeline("moody").await["phase"], "paused");
    Operated::holds(&this.say(&["resume", "moody"]).await, 0, &[]);
    this.until_phase("moody", "paused").await;
    // Another builder in its file.
    std::fs::write(this.shop.path().join("things.wasm"), harmless().wasm()).expect("a builder");
    Operated::holds(&this.say(&["reload"]).await, 0, &["restarted: moody", "unchanged: shop"]);
    this.until_phase("moody", "live").await;
    assert_eq!(this.docmill.get("/ready").await.expect("an answer").0, 200);
}
