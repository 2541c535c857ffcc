//! What a builder asks of the search engine that is not its own: refused before anything is made.

use docmill::edges::{Severity, Sink};
use docmill::model::IndexDeclaration;
use docmill::opensearch::{OpenSearch, OpenSearchOptions};
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::support::opensearch::OpenSearch as Server;
use crate::wasm::handmade::{descriptor, harmless};

fn index(mapping: Value, settings: Value) -> IndexDeclaration {
    IndexDeclaration {
        name: "things".into(),
        mapping,
        settings: Some(settings),
        tables: vec![],
        reads: vec![],
        routing: None,
    }
}

async fn sink(server: &Server, allow: &[&str]) -> Arc<OpenSearch> {
    crate::support::install_crypto();
    let options = OpenSearchOptions {
        url: server.url.clone(),
        index_prefix: server.prefix.clone(),
        allow_settings: allow.iter().map(ToString::to_string).collect(),
        ..OpenSearchOptions::default()
    };
    OpenSearch::connect(options).await.expect("a sink")
}

#[tokio::test]
async fn what_reaches_beyond_an_index_is_refused_and_nothing_is_made() {
    let server = Server::fresh().await;
    let sink = sink(&server, &[]).await;
    let template = |mapping: Value| json!({"dynamic": true, "dynamic_templates": [{"t": {"mapping": mapping}}]});
    for (index, found) in [
        (index(json!({}), json!({"index.default_pipeline": "theirs"})), "may not ask for setting default_pipeline"),
        (index(json!({}), json!({"final_pipeline": "theirs"})), "may not ask for setting final_pipeline"),
        (index(json!({}), json!({"blocks.read_only": true})), "may not ask for setting blocks.read_only"),
        (
            index(json!({}), json!({"routing.allocation.require._name": "n"})),
            "may not ask for setting routing.allocation",
        ),
        (index(json!({}), json!({"number_of_shards": 1024})), "may not ask for setting number_of_shards"),
        (index(json!({}), json!({"refresh_interval": "1ms"})), "may not ask for setting refresh_interval"),
        (
            index(
                json!({}),
                json!({"analysis": {"filter": {"f": {"type": "condition", "filter": [], "script": {"source": "true"}}}}}),
            ),
            "may not ask for setting analysis.filter.f.script.source",
        ),
        (index(json!({}), json!({"analysis.filter.f.synonyms_path": "x"})), "synonyms_path"),
        (index(json!({"runtime": {"r": {"type": "long"}}}), json!({})), "has runtime"),
        (index(json!({"_meta": {"docmill": {}}}), json!({})), "has _meta"),
        (index(json!({"_routing": {"required": true}}), json!({})), "has _routing"),
        (index(json!({"_source": {"enabled": false}}), json!({})), "has _source"),
        (index(template(json!({"type": "{name}"})), json!({})), "placeholder"),
        (index(json!({"properties": {"s": {"type": "semantic_text"}}}), json!({})), "calls out of the search engine"),
    ] {
        let failure = sink.indexes().ensure(std::slice::from_ref(&index)).await.expect_err(found);
        assert_eq!(failure.class, FailureClass::Fatal);
        says(&failure.to_string(), found);
        let findings = sink.check(&[index]).await;
        assert!(
            findings.iter().any(|finding| finding.severity == Severity::Error && finding.found.contains(found)),
            "{findings:?}"
        );
    }
    let many: Vec<_> = (0..9)
        .map(|number| IndexDeclaration {
            name: format!("i{number}"),
            ..index(json!({}), json!({"number_of_shards": 30}))
        })
        .collect();
    let failure = sink.indexes().ensure(&many).await.expect_err("too many shards");
    says(&failure.to_string(), "9 indexes ask for 540 shards");
    let made = server
        .must(Method::GET, &format!("_cat/indices/{}*?format=json&expand_wildcards=all", server.prefix), None)
        .await;
    assert_eq!(made, json!([]));
}

#[tokio::test]
async fn a_template_with_a_placeholder_would_be_what_it_is_refused_for() {
    // The engine puts a field's name in its place: a document would choose what is set of its field, a script for one.
    let server = Server::fresh().await;
    let name = server.index("raw");
    let mapping = json!({"mappings": {"dynamic_templates": [{"t": {"match": "*", "mapping": {"type": "keyword", "{name}": "x"}}}]}});
    server.must(Method::PUT, &name, Some(&mapping)).await;
    server.must(Method::PUT, &format!("{name}/_doc/1"), Some(&json!({"null_value": "a"}))).await;
    let made = server.must(Method::GET, &format!("{name}/_mapping"), None).await;
    assert_eq!(made[&name]["mappings"]["properties"]["null_value"]["null_value"], "x", "{made}");
    server.remove_all().await;
}

#[tokio::test]
async fn what_an_operator_allows_is_made() {
    let server = Server::fresh().await;
    let wide = index(
        json!({"properties": {}}),
        json!({"mapping.total_fields.limit": 2_000, "number_of_replicas": 0, "number_of_shards": 1}),
    );
    let failure = sink(&server, &[]).await.indexes().ensure(std::slice::from_ref(&wide)).await.expect_err("refused");
    says(&failure.to_string(), "allow_settings = [\"mapping.total_fields.limit\"]");
    let allowed = sink(&server, &["mapping.total_fields.limit"]).await;
    let made = loop {
        match allowed.indexes().ensure(std::slice::from_ref(&wide)).await {
            Err(failure) if failure.class == FailureClass::Transient => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await
            }
            made => break made.expect("an index").remove(0),
        }
    };
    let settings = server.must(Method::GET, &format!("{}/_settings", made.name), None).await;
    assert_eq!(settings[&made.name]["settings"]["index"]["mapping"]["total_fields"]["limit"], "2000");
    server.remove_all().await;
}

/// A component that declares one index of that name.
fn component(name: &str, settings: Value) -> Vec<u8> {
    let mut guest = harmless();
    let mut described = descriptor();
    described["indexes"][0]["name"] = json!(name);
    described["indexes"][0]["tables"][0]["table"] = json!("items");
    described["queries"]["things"] = json!("select id from items where id = any($1)");
    described["indexes"][0]["settings"] = settings;
    guest.descriptor = described.to_string();
    guest.wasm()
}

/// Two pipelines into one search engine, named by two sinks, with these prefixes and index names.
async fn two(walled: &Walled, server: &Server, one: (&str, &str), other: (&str, &str)) -> Said {
    let sinks = ["one", "other"]
        .map(|name| format!("[sinks.{name}]\ntype = \"opensearch\"\nurl = \"{}\"\n", server.url))
        .concat();
    let pipeline = |name: &str, prefix: &str| {
        format!(
            "[pipelines.{name}]\nbuilder = \"{name}.wasm\"\nsink = \"{name}\"\nslot = \"own\"\nindex_prefix = \"{prefix}\"\n"
        )
    };
    let config = format!(
        "[sources.main]\nurl = \"{}\"\nslot = \"docmill_{}\"\n{sinks}{}{}",
        walled.database.url,
        walled.database.name,
        pipeline("one", one.0),
        pipeline("other", other.0)
    );
    let files = vec![
        ("one.wasm".to_owned(), component(one.1, json!({}))),
        ("other.wasm".to_owned(), component(other.1, json!({}))),
    ];
    docmill("check", config, files).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_builder_names_an_index_where_another_pipelines_names_are() {
    let (walled, server) = (Walled::fresh().await, Server::fresh().await);
    let inner = server.prefix.as_str();
    let bare = inner.trim_end_matches('-');
    // Without a prefix, these are the neighbour's state, its quarantine, an index of its own.
    for name in ["docmill-state", "docmill-quarantine", "things", ""] {
        let name = format!("{inner}{name}");
        let said = two(&walled, &server, ("", &name), (inner, "things")).await;
        assert_eq!(said.code, Some(3), "{name}: {}", said.text);
        says(
            &said.text,
            &format!(
                "pipeline one: its index {name} lies among the names of pipeline other, whose index_prefix is \"{inner}\""
            ),
        );
    }
    // A name whose generations would be there.
    let said = two(&walled, &server, ("", bare), (&format!("{bare}."), "01234567-1")).await;
    says(&said.text, "lies among the names of pipeline other");
    // Two that are called the same, by two sinks.
    let said = two(&walled, &server, (inner, "things"), (inner, "things")).await;
    says(&said.text, &format!("would both write index {inner}things"));
    // Prefixes that begin with one another are no configuration.
    for (one, other) in [("t", "t1-"), ("", "docmill-"), ("shop-", "shop-eu-")] {
        let said = two(&walled, &server, (one, "things"), (other, "things")).await;
        assert_eq!(said.code, Some(2), "{}", said.text);
        says(&said.text, &format!("its index_prefix \"{other}\" begins with \"{one}\", the one of pipeline one"));
    }
    // What is ordinary: the same prefix and other names, none at all, and prefixes that are told apart.
    for (one, other) in [
        ((inner, "things"), (inner, "others")),
        (("", &*format!("x{bare}")), ("", &*format!("y{bare}"))),
        ((&*format!("{bare}1-"), "things"), (&*format!("{bare}10-"), "things")),
        (("", &*format!("x{bare}")), (inner, "things")),
    ] {
        let said = two(&walled, &server, one, other).await;
        assert_eq!(said.code, Some(0), "{one:?} {other:?}: {}", said.text);
    }
    let made = server.must(Method::GET, &format!("_cat/indices/*{bare}*?format=json&expand_wildcards=all"), None).await;
    assert_eq!(made, json!([]), "nothing was made");
}
