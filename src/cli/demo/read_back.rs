//! Reading every document of an index back from a search engine, for the comparison.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// Documents of one page of the scroll.
const PAGE: usize = 1_000;

/// All documents behind an alias. `url` may hold user and password.
pub(super) async fn documents(url: &str, alias: &str) -> anyhow::Result<BTreeMap<String, Value>> {
    let client = reqwest::Client::builder().build()?;
    let base = url.trim_end_matches('/');
    let ask = async |path: String, body: Value| -> anyhow::Result<Value> {
        let request = client.post(format!("{base}/{path}")).json(&body);
        // The address may hold a password, so it is not in the message.
        let answer = request.send().await.map_err(reqwest::Error::without_url).context("the sink does not answer")?;
        let status = answer.status();
        if !status.is_success() {
            bail!("the sink answered {status} to {path}");
        }
        Ok(answer.json().await.map_err(reqwest::Error::without_url)?)
    };
    ask(format!("{alias}/_refresh"), json!({})).await?;
    let first = json!({ "size": PAGE, "sort": ["_doc"], "query": { "match_all": {} } });
    let mut page = ask(format!("{alias}/_search?scroll=1m"), first).await?;
    let mut documents = BTreeMap::new();
    loop {
        let hits = page["hits"]["hits"].as_array().map(Vec::as_slice).unwrap_or_default();
        if hits.is_empty() {
            return Ok(documents);
        }
        for hit in hits {
            let Some(id) = hit["_id"].as_str() else { bail!("the sink answered a document without an id") };
            documents.insert(id.to_owned(), hit["_source"].clone());
        }
        let scroll = json!({ "scroll": "1m", "scroll_id": page["_scroll_id"] });
        page = ask("_search/scroll".to_owned(), scroll).await?;
    }
}
