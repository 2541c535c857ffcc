//! What `docmill check` asks of the sink, without writing.

use reqwest::Method;

use super::Engine;
use super::generations::{Behind, Wanted};
use super::mapping::Difference;
use super::names::check_names;
use super::quarantine::Quarantine;
use super::settings::check_shards;
use super::sink::OpenSearch;
use crate::edges::Finding;
use crate::model::IndexDeclaration;

impl OpenSearch {
    /// Looks at everything that writing these indexes needs; changes nothing.
    pub async fn check(&self, indexes: &[IndexDeclaration]) -> Vec<Finding> {
        let name = match self.engine {
            Engine::OpenSearch => "OpenSearch",
            Engine::Elasticsearch => "Elasticsearch",
        };
        // That it answered at all says that the credentials are good.
        let mut findings = vec![Finding::ok(format!("sink {}", self.client.shown), format!("{name} {}", self.version))];
        findings.push(self.check_health().await);
        for own in [self.state_index(), Quarantine::index(&self.options.index_prefix)] {
            findings.extend(self.check_own(&own).await);
        }
        if let Err(failure) = check_names(indexes) {
            findings.push(Finding::error("names of indexes", failure.to_string()));
            return findings;
        }
        // Settings that one index may not have are said of that index.
        let fit = indexes.iter().all(|index| Wanted::of(index, &self.options.allow_settings).is_ok());
        if let (true, Err(failure)) = (fit, check_shards(indexes, &self.options.allow_settings)) {
            let finding = Finding::error("shards", failure.message());
            findings.push(match failure.advice() {
                Some(advice) => finding.with_remedy(advice),
                None => finding,
            });
        }
        for index in indexes {
            findings.push(self.check_index(index).await);
        }
        findings
    }

    async fn check_health(&self) -> Finding {
        let subject = "cluster health";
        match self.client.must(Method::GET, "_cluster/health", None, "ask for the cluster's health").await {
            Ok(body) => match body["status"].as_str() {
                Some("red") => Finding::warning(subject, "red: writes to some shards will wait")
                    .with_remedy("see GET _cluster/allocation/explain"),
                Some(status) => Finding::ok(subject, status),
                None => Finding::warning(subject, "an answer that names none"),
            },
            // Monitoring is a privilege that writing does not need.
            Err(failure) => Finding::warning(subject, failure.chain()),
        }
    }

    /// Nothing to say where it is not there yet.
    async fn check_own(&self, index: &str) -> Option<Finding> {
        let subject = format!("index {index}");
        let what = format!("read index {index}");
        let path = format!("{index}/_search?size=0");
        match self.client.call(Method::GET, &path, None, &what).await {
            Err(failure) => Some(Finding::error(subject, failure.chain())),
            Ok(answer) if answer.not_found() => None,
            Ok(answer) if answer.succeeded() => Some(Finding::ok(subject, "can be read")),
            Ok(answer) => {
                let failure = self.client.refused(&what, &answer);
                let finding = Finding::error(subject, failure.message());
                Some(match failure.advice() {
                    Some(advice) => finding.with_remedy(advice),
                    None => finding,
                })
            }
        }
    }

    async fn check_index(&self, index: &IndexDeclaration) -> Finding {
        let alias = self.alias(&index.name);
        let subject = format!("index {}", index.name);
        let wanted = match Wanted::of(index, &self.options.allow_settings) {
            Ok(wanted) => wanted,
            Err(failure) => return Finding::error(subject, failure.to_string()),
        };
        let there = match self.behind(&alias).await {
            Err(failure) => return Finding::error(subject, failure.chain()),
            Ok(Behind::Nothing) => return Finding::ok(subject, format!("{alias} is free and will be made and filled")),
            Ok(Behind::Foreign(found)) => {
                return Finding::error(subject, format!("the name {alias} is taken by {found}"))
                    .with_remedy("use an index_prefix, or remove what has the name");
            }
            Ok(Behind::Ours(there)) => there,
        };
        let name = &there.name;
        if let Some(refused) = there.loses_writes() {
            let finding = Finding::error(subject, refused.message());
            return match refused.advice() {
                Some(advice) => finding.with_remedy(advice),
                None => finding,
            };
        }
        match there.compare(&wanted) {
            Difference::None => Finding::ok(subject, format!("{name}, its mapping fits")),
            Difference::Added => Finding::ok(subject, format!("{name}, what is new in its declaration will be added")),
            Difference::Changed(what) => {
                Finding::error(subject, format!("{name} was made with another {what}, which needs a new index"))
                    .with_remedy(format!("delete index {name} (it is filled anew then), or use another index_prefix"))
            }
        }
    }
}
