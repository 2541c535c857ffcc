//! The configuration: what its examples mean, and what is said of each thing that is wrong, all at once.

use std::path::Path;

use docmill::config::{GuestSettings, Loaded, Problems, SinkSettings, parse};
use docmill::opensearch::{Auth, OpenSearchOptions};
use docmill::pipeline::OnRejected;
use docmill::postgres::PostgresOptions;
use docmill::wasm::Limits;

fn environment(name: &str) -> Option<String> {
    match name {
        "DATABASE_URL" => Some("postgres://capture:hunter2@db/shop".to_owned()),
        "SHOP_READER_URL" => Some("postgres://reader:hunter3@db/shop".to_owned()),
        "ROWS" => Some("7".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Loaded, Problems> {
    parse(text, Path::new("conf/docmill.toml"), &environment)
}

#[track_caller]
fn loaded(text: &str) -> Loaded {
    read(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is said of a text, without the file's name.
#[track_caller]
fn said(text: &str) -> Vec<String> {
    let problems = read(text).expect_err("problems");
    problems
        .lines()
        .map(|line| line.strip_prefix("conf/docmill.toml").expect("every line names the file").to_owned())
        .collect()
}

/// A whole configuration, to which `more` is added.
fn with(more: &str) -> String {
    format!(
        "[sources.main]\nurl = \"postgres://h/d\"\n[sinks.search]\ntype = \"stdout\"\n\
         [pipelines.shop]\nbuilder = \"shop.wasm\"\n{more}"
    )
}

#[test]
fn the_smallest_example_of_the_readme_is_enough() {
    let readme = include_str!("../../README.md");
    let text = readme
        .split("```toml")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("the README shows a configuration");
    let settings = loaded(text).settings;
    let pipeline = &settings.pipelines[0];
    assert_eq!((pipeline.source.as_str(), pipeline.slot.as_str()), ("main", "docmill"));
    assert_eq!(pipeline.sink, "search");
    assert_eq!(pipeline.builder, Path::new("conf/builders/shop.wasm"));
    assert_eq!((pipeline.schema.as_str(), &pipeline.limits), ("public", &Limits::default()));
    assert_eq!(pipeline.on_rejected.default, OnRejected::Quarantine);
    assert_eq!(settings.server.listen, "127.0.0.1:7878");
}

#[test]
fn the_full_example_says_every_default_as_it_is() {
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "hunter4\n").unwrap();
    let full = include_str!("../../deploy/docmill.example.toml")
        .replace("/etc/docmill/search-password", &password.path().display().to_string());
    let example = loaded(&full).settings;
    let smallest = loaded(&with("")).settings;
    let (shop, default) = (&example.pipelines[1], &smallest.pipelines[0]);
    assert_eq!(shop.name, "shop");
    let with_memory_of_json_rows = Limits { json_memory_bytes: Limits::default().memory_bytes, ..Limits::default() };
    assert_eq!(shop.limits, with_memory_of_json_rows);
    assert_eq!(shop.batch, default.batch);
    assert_eq!(shop.queue_capacity, Some(docmill::pipeline::FlowLimits::default().queue_events_max));
    assert_eq!(shop.queue_bytes, Some(docmill::pipeline::FlowLimits::default().queue_bytes_max));
    assert_eq!((&shop.schema, &shop.index_prefix, shop.skip_backfill), (&default.schema, &default.index_prefix, false));
    assert_eq!(shop.on_rejected.of("products"), OnRejected::Stop);
    assert_eq!(shop.on_rejected.of("users"), OnRejected::Quarantine);
    assert_eq!(shop.max_lag, Some(2 << 30));
    assert_eq!(shop.on_lost_slot, default.on_lost_slot);
    assert_eq!(example.flow_limits(shop).late_window, docmill::pipeline::FlowLimits::default().late_window);
    assert_eq!(shop.config, serde_json::json!({ "currency": "EUR" }));
    assert_eq!(example.server, smallest.server);
    let guests =
        GuestSettings { compiled_cache: Some("/var/cache/docmill/compiled".into()), ..smallest.guests.clone() };
    assert_eq!(example.guests, guests);
    assert_eq!(smallest.guests.compiled_cache, None, "no home is known to this test");
    let (source, default) = (&example.sources["main"], &smallest.sources["main"]);
    assert_eq!(source.url.expose(), "postgres://capture:hunter2@db/shop");
    assert_eq!(
        (&source.slot, &source.publication, source.heartbeat),
        (&default.slot, &default.publication, default.heartbeat)
    );
    let defaults = PostgresOptions {
        url: source.url.expose().to_owned(),
        reader_url: Some("postgres://reader:hunter3@db/shop".to_owned()),
        ..PostgresOptions::default()
    };
    assert!(example.postgres_options(shop) == defaults, "a default of the source is another than the example says");
    let SinkSettings::Search(search) = &example.sinks["search"] else {
        panic!("a search engine");
    };
    let options = search.options("");
    let defaults = OpenSearchOptions {
        url: options.url.clone(),
        auth: Auth::Basic { user: "docmill".to_owned(), password: "hunter4".to_owned() },
        ca_pem: Some("/etc/docmill/ca.pem".into()),
        ..OpenSearchOptions::default()
    };
    assert!(options == defaults, "a default of the sink is another than the example says");
    assert_eq!(example.pipelines[0].slot, "docmill_feed");
    assert!(matches!(&example.sinks["lines"], SinkSettings::Lines(path) if path == Path::new("conf/documents.ndjson")));
}

#[test]
fn all_problems_are_said_at_once_each_with_its_place() {
    let text = r#"
[sources.main]
ulr = "${DATABASE_URL}"
slot = "Docmill-1"
heartbeat = 30

[sinks.search]
type = "opensaerch"
url = "http://localhost:9200"

[sinks.other]
type = "opensearch"
url = "localhost:9200"
username = "me"
api_key = "hunter2"

[pipelines.shop]
source = "mian"
builder = "${BUILDERS}/shop.wasm"
limits = { memory = "64 megs", cpu = "2s", memroy = 1 }
on_rejected = "ignore"
batch = { max_changes = 0, max_delay = "2h" }
schema = ""

[server]
listen = "7878"
"#;
    assert_eq!(
        said(text),
        [
            ":2:1: sources.main: expected a key `url` with a PostgreSQL URL, such as \"${DATABASE_URL}\", found none",
            ":3:1: sources.main.ulr: there is no such key; did you mean `url`?",
            ":4:8: sources.main.slot: expected a slot's name: 1 to 63 lower-case letters, digits and `_`, found \"Docmill-1\"",
            ":5:13: sources.main.heartbeat: expected a duration such as \"200ms\", \"2s\" or \"5m\", found 30",
            ":8:8: sinks.search.type: expected one of opensearch, elasticsearch, ndjson, stdout, found \"opensaerch\"; \
             did you mean \"opensearch\"?",
            ":11:1: sinks.other: expected one of username and password, api_key, token; found several",
            ":13:7: sinks.other.url: expected a URL that begins with http:// or https://",
            ":17:1: pipelines.shop: expected a key `sink` with one of other, search, since there are several; found none",
            ":18:10: pipelines.shop.source: there is no [sources.mian]; did you mean \"main\"?",
            ":19:11: pipelines.shop.builder: the environment variable BUILDERS is not set",
            ":20:21: pipelines.shop.limits.memory: expected a size such as \"64MiB\", \"4MB\" or 65536, found \"64 megs\"",
            ":20:44: pipelines.shop.limits.memroy: there is no such key; did you mean `memory`?",
            ":21:15: pipelines.shop.on_rejected: expected one of stop, skip, quarantine, found \"ignore\"",
            ":22:25: pipelines.shop.batch.max_changes: expected a number from 1 to 4294967295, found 0",
            ":22:40: pipelines.shop.batch.max_delay: expected at most \"1m\", found \"2h\"",
            ":23:10: pipelines.shop.schema: expected a name of 1 to 63 bytes, found \"\"",
            ":26:10: server.listen: expected an address and a port, such as \"127.0.0.1:7878\" or \"[::1]:7878\", \
             found \"7878\"",
        ]
    );
}

#[test]
fn every_mistake_in_the_toml_itself_is_said() {
    let said = said("[sources.main]\nurl = \nslot = \"docmill\n[sinks.search]\ntype = stdout\n[sinks.search]\n");
    assert!(said.len() >= 4, "{said:#?}");
    for (line, start) in said.iter().zip([":2:", ":3:", ":5:", ":6:"]) {
        assert!(line.starts_with(start) && line.contains("this is no TOML: "), "{line}");
    }
}

#[test]
fn an_empty_file_says_what_there_must_be() {
    assert_eq!(
        said(""),
        [
            ": expected at least one table [sources.NAME] that says where changes come from",
            ": expected at least one table [sinks.NAME] that says where documents go",
            ": expected at least one table [pipelines.NAME] that says which builder stands between them",
        ]
    );
}

#[test]
fn a_file_that_is_not_there_is_said_without_a_place() {
    let problems = docmill::config::load(Path::new("/nowhere/docmill.toml")).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "/nowhere/docmill.toml: could not read the configuration: there is no such file; name one with --config"
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let text = r#"
[sources.main]
url = "postgres://me:hunter2@h/d"
[sinks.search]
type = "elasticsearch"
url = "https://me:hunter2@h:9200"
api_key = "hunter2"
[pipelines.shop]
builder = "shop.wasm"
reader = { url = "postgres://reader:hunter2@h/d" }
"#;
    let settings = loaded(text).settings;
    assert!(!format!("{settings:?}").contains("hunter2"));
    // Nor when it is what is wrong.
    let text = text
        .replace("https://me", "ftp://me")
        .replace("url = \"postgres://me:hunter2@h/d\"", "url = [\"hunter2\"]")
        .replace("api_key = \"hunter2\"", "api_key = \"hunter2${NONE}\"");
    let said = said(&text).join("\n");
    assert!(!said.contains("hunter2") && said.lines().count() == 3, "{said}");
}

#[test]
fn what_the_environment_holds_is_never_quoted() {
    let said = said(&with("index_prefix = \"${DATABASE_URL}\"\nlimits = { rows = \"${DATABASE_URL}\" }\n"));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said.iter().all(|line| line.contains("found \"${DATABASE_URL}\"") && !line.contains("hunter2")),
        "{said:?}"
    );
}

#[test]
fn numbers_may_come_from_the_environment() {
    let settings = loaded(&with("limits = { rows = \"${ROWS}\" }\n")).settings;
    assert_eq!(settings.pipelines[0].limits.rows, 7);
    assert!(said(&with("limits = { rows = \"${EMPTY}\" }\n"))[0].contains("the environment variable EMPTY is empty"));
}

#[test]
fn a_secret_may_be_in_a_file_and_a_file_that_is_not_there_is_said() {
    let said = said(
        "[sources.main]\nurl = { file = \"nowhere\" }\n[sinks.search]\ntype = \"stdout\"\n[pipelines.shop]\nbuilder = \"b\"\n",
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with(":2:16: sources.main.url.file: could not read conf/nowhere: "), "{said:?}");
}

#[test]
fn two_pipelines_on_one_source_need_a_slot_each() {
    let second = |slot: &str| with(&format!("[pipelines.other]\nbuilder = \"b.wasm\"\n{slot}"));
    assert_eq!(
        said(&second("")),
        [":5:1: pipelines.shop: pipeline other reads the slot docmill of this database already; \
          say `slot = \"own\"` here, so that it gets one of its own"]
    );
    let slots = |text: &str| -> Vec<String> {
        loaded(text).settings.pipelines.into_iter().map(|pipeline| pipeline.slot).collect()
    };
    assert_eq!(slots(&second("slot = \"own\"")), ["docmill_other", "docmill"]);
    assert_eq!(slots(&second("slot = \"mine\"")), ["mine", "docmill"]);
    assert_eq!(said(&second("slot = \"docmill\"")).len(), 1);
    assert!(said(&second("slot = \"Not one\""))[0].contains("expected a slot's name"));
}

#[test]
fn what_no_pipeline_uses_is_a_warning_and_so_is_what_is_not_enforced() {
    let loaded = loaded(&with("sink = \"search\"\nmax_lag = \"2GiB\"\n[sinks.spare]\ntype = \"stdout\"\n"));
    assert_eq!(
        loaded.warnings,
        [
            "conf/docmill.toml: sinks.spare: no pipeline uses it",
            "conf/docmill.toml:8:11: pipelines.shop.max_lag: this docmill reads and checks it, \
             but does not detach a pipeline that is behind yet",
        ]
    );
}

#[test]
fn names_are_what_slots_metrics_and_states_can_hold() {
    let said = said(&with("[pipelines.\"Größe 1\"]\nbuilder = \"b\"\nslot = \"own\"\n"));
    assert!(
        said.iter().any(|line| line.starts_with(":7:12: pipelines.\"Größe 1\": expected a name of lower-case")),
        "{said:?}"
    );
}

#[test]
fn passes_leave_half_of_the_read_connections_to_live_changes() {
    for (connections, workers) in [(3, 1), (4, 2), (6, 3), (20, 3)] {
        let text = with("").replace("[sinks", &format!("read_connections = {connections}\n[sinks"));
        let settings = loaded(&text).settings;
        assert_eq!(settings.flow_limits(&settings.pipelines[0]).pass_workers, workers, "of {connections}");
    }
    let settings = loaded(&with("")).settings;
    let workers = settings.flow_limits(&settings.pipelines[0]).pass_workers;
    assert!(workers * 2 <= PostgresOptions::default().read_connections_max);
}

#[test]
fn a_full_batch_whose_changes_lead_to_ten_documents_each_is_no_pass() {
    let settings = loaded(&with("")).settings;
    let pipeline = &settings.pipelines[0];
    assert!(settings.flow_limits(pipeline).fanout_ids_max >= 10 * pipeline.batch.max_changes);
}
